/** What a script may ask of events, dates and values, for the editor (docs/guides/transformations-python.md). */
import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { ensureSyntaxTree, syntaxTree } from '@codemirror/language';

const PATIENCE_MS = 500;

type Line = readonly [name: string, detail: string, info: string];

const EVENT: readonly Line[] = [
  ['getEventName', '() → text', 'The event type.'],
  ['rename', '(name)', 'Another event type, and so another table.'],
  ['getProperties', '() → dict', 'The fields, live: what is changed in this dict is changed in the event.'],
  ['setProperties', '(properties)', 'Other fields in place of all.'],
  ['getPrimaryKeys', '() → list', 'The fields that identify the event.'],
  ['setPrimaryKeys', '(names)', 'Other fields that identify it; each must be there.'],
  ['getSourceModifiedAt', '() → datetime', 'When the source created or changed it, or None.'],
  [
    'getType',
    '(field) → text',
    'varchar(12), boolean, int, long, decimal(10,2), double, timestamp, date, json …',
  ],
  ...['String', 'Number', 'Boolean', 'Date', 'Time', 'Timestamp'].map(
    (kind): Line => [`is${kind}`, '(field) → bool', 'False for a field that is not there.'],
  ),
];

const UTILS: readonly Line[] = [
  ['getType', '(value) → text', 'The name of the type of a value.'],
  ['isDict', '(value) → bool', ''],
  ['isList', '(value) → bool', ''],
  ['jsonStringToDict', '(text) → dict', 'Reads the text of an object; fails where it is none.'],
  ['dictToJsonString', '(dict) → text', ''],
  ['flattenJson', '(dict, separator="_", depth=None)', 'Nested objects in one level.'],
];

const TIMES: readonly Line[] = [
  ['convertDateStringToFormat', '(text, from, to)', 'A date as text in another format.'],
  [
    'convertDatetimeStringToFormat',
    '(text, from, to)',
    'A moment as text in another format; without a zone it is in UTC.',
  ],
  ['convertDateToFormat', '(date, to)', 'A date or moment as text.'],
  ['convertEpochToDate', '(epoch)', 'From 10^11 on an epoch is in milliseconds, else in seconds.'],
  ['convertEpochToDatetime', '(epoch)', 'In UTC.'],
  ['convertEpochToTime', '(epoch)', ''],
  ['convertEpochToFormat', '(epoch, to)', 'As text, for example "yyyy-MM-dd".'],
  ['getTimeDifference', '(start, end, unit="milliseconds")', 'A number.'],
  ['parseDateStringToDate', '(text, format)', ''],
  ['parseDateStringToDatetime', '(text, format)', 'In UTC.'],
  ['parseDateStringToTime', '(text, format)', ''],
];

const DICT: readonly Line[] = [
  ['get', '(field, default=None)', 'A value, or the default where the field is not there.'],
  ['pop', '(field, default=None)', 'A value, which is taken away.'],
  ['setdefault', '(field, value)', 'A value, which is set first where the field is not there.'],
  ['update', '(dict)', 'The values of another dict in place of these.'],
  ['keys', '() → list', 'The names of the fields.'],
  ['values', '() → list', ''],
  ['items', '() → list', 'Pairs of name and value; fields may be taken away meanwhile.'],
];

const WORDS: readonly Completion[] = [
  { label: 'event', type: 'variable', detail: 'the event', info: 'What transform(event) is given.' },
  {
    label: 'Event',
    type: 'class',
    detail: '(name, properties)',
    info: 'A new event, with a copy of the properties.',
  },
  { label: 'Utils', type: 'namespace', info: 'Types and JSON.' },
  { label: 'TimeUtils', type: 'namespace', info: 'Dates, moments and their formats.' },
  { label: 'EVENT_TYPES', type: 'constant', info: 'Events of other types pass at once.' },
  ...[
    'def',
    'return',
    'if',
    'elif',
    'else',
    'for',
    'in',
    'not',
    'and',
    'or',
    'None',
    'True',
    'False',
    'try',
    'except',
    'import',
    'from',
    'lambda',
    'while',
    'with',
    'as',
    'is',
    'del',
    'raise',
    'pass',
    'len',
    'str',
    'int',
    'float',
    'dict',
    'list',
    'round',
    'sorted',
    'enumerate',
    'isinstance',
    'print',
    'json',
    're',
    'datetime',
    'decimal',
    'hashlib',
  ].map((label): Completion => ({ label, type: 'keyword', boost: -1 })),
];

const options = (lines: readonly Line[]): Completion[] =>
  lines.map(([label, detail, info]) => ({
    label,
    detail,
    info: info || undefined,
    type: 'method',
    apply: detail.startsWith('()') ? `${label}()` : label,
  }));

const METHODS = options(EVENT);
const AFTER: Record<string, Completion[]> = {
  event: METHODS,
  Utils: options([...UTILS, ...EVENT.filter(([name]) => name.startsWith('is'))]),
  TimeUtils: options(TIMES),
};
const OF_DICT = options(DICT);

/** What stands after the dot of a name: of an event, where the script does not say what else it is. */
function members(owner: string, script: string): Completion[] {
  const known = AFTER[owner];
  if (known) return known;
  const is = (what: string) => new RegExp(`\\b${owner}\\s*=\\s*${what}`).test(script);
  if (new RegExp(`\\bimport\\b[^\\n]*\\b${owner}\\b`).test(script)) return [];
  if (is('[\\w.]*\\.getProperties\\(') || is('\\{')) return OF_DICT;
  return METHODS;
}

/** A source of completions that knows the fields of the samples too: within quotes it offers their names. */
export function completing(fields: readonly string[]) {
  return (context: CompletionContext): CompletionResult | null => {
    // On a busy machine the script may not have been read as far as here yet.
    const tree = ensureSyntaxTree(context.state, context.pos, PATIENCE_MS) ?? syntaxTree(context.state);
    const inside = tree.resolveInner(context.pos, -1).name;
    if (inside === 'Comment') return null;
    const quoted = context.matchBefore(/["'][\w .$-]*$/);
    // Behind a text that has ended stands a name.
    if (quoted && !/Name$/.test(inside)) {
      return { from: quoted.from + 1, options: fields.map((label) => ({ label, type: 'property' })) };
    }
    const called = context.matchBefore(/\.getProperties\(\)\.\w*$/);
    const member = called ?? context.matchBefore(/\b[a-zA-Z_]\w*\.\w*$/);
    if (member) {
      const [owner = ''] = member.text.split('.');
      const found = called ? OF_DICT : members(owner, context.state.doc.toString());
      if (found.length === 0) return null;
      return { from: member.from + member.text.lastIndexOf('.') + 1, options: found, validFor: /^\w*$/ };
    }
    const word = context.matchBefore(/\w+$/);
    if (!word && !context.explicit) return null;
    return { from: word?.from ?? context.pos, options: WORDS, validFor: /^\w*$/ };
  };
}
