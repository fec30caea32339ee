/** How rows are loaded, and what becomes of what is new, in the words of people. */

export const MODES = [
  { value: 'merge', label: 'Merge: one row for each key, the newest', short: 'Merged' },
  { value: 'append', label: 'Append: every row that was read', short: 'Appended' },
  { value: 'history', label: 'History: every version of a key, and when it was valid', short: 'As history' },
] as const;

/** "Merged": the mode in short. */
export const mode = (name: string): string => MODES.find(({ value }) => value === name)?.short ?? name;

export const PRESETS: readonly { value: string; label: string; told: string }[] = [
  {
    value: 'ALLOW_ALL',
    label: 'Take in everything',
    told: 'Tables, columns and wider types come by themselves.',
  },
  {
    value: 'ALLOW_COLUMN_LEVEL',
    label: 'Take in columns, no tables',
    told: 'New columns and wider types come by themselves; rows of event types without a table are left out.',
  },
  {
    value: 'BLOCK_ALL',
    label: 'Take in nothing',
    told: 'New fields are not loaded, and rows that do not fit wait as failed events.',
  },
];

export const ACTIONS: readonly { value: string; label: string }[] = [
  { value: 'evolve', label: 'make the place for it' },
  { value: 'freeze', label: 'let the row wait as a failed event' },
  { value: 'discard_value', label: 'load the row without it' },
  { value: 'discard_row', label: 'leave the row out' },
];

export const PARTS = [
  { part: 'tables', label: 'An event type without a table' },
  { part: 'columns', label: 'A field without a column' },
  { part: 'types', label: 'A value that its column cannot hold' },
] as const;

/** The words of a policy that is no preset: `tables=evolve columns=freeze types=evolve`. */
export const wordsOf = (policy: string): Record<string, string> =>
  Object.fromEntries(
    [...policy.matchAll(/(\w+)=(\w+)/g)].map(([, part = '', action = '']) => [part, action]),
  );

/** "take in everything", or what becomes of each part that does not just get its place. */
export function policy(name: string): string {
  const preset = PRESETS.find(({ value }) => value === name);
  if (preset) return preset.label.toLowerCase();
  const own = wordsOf(name);
  const said = PARTS.filter(({ part }) => part in own && own[part] !== 'evolve').map(
    ({ part, label }) =>
      `${label.toLowerCase()}: ${ACTIONS.find(({ value }) => value === own[part])?.label ?? own[part]}`,
  );
  return said.length > 0 ? said.join('; ') : name;
}
