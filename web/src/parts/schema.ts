/** JSON Schemas of connectors, as fields of a form. */

export type Settings = Record<string, unknown>;

export interface Field {
  key: string;
  label: string;
  told: string;
  kind: 'text' | 'secret' | 'choice' | 'switch' | 'number' | 'list' | 'file' | 'json';
  required: boolean;
  /** Shown before the rest is unfolded. */
  first: boolean;
  /** Asked for only where the values of these other fields match. */
  when: [string, RegExp][];
  choices: unknown[];
  default?: string | undefined;
  example?: string | undefined;
  /** What may be said, among others. */
  known: string[];
  least?: number | undefined;
  most?: number | undefined;
  whole?: boolean | undefined;
  /** It names a file of names, of which the server says what becomes of each; where the values of these other fields match, the system is asked for names too. */
  names: [string, RegExp][];
}

interface Schema {
  type?: string;
  title?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  examples?: unknown[];
  format?: string;
  minimum?: number;
  maximum?: number;
  'x-first'?: boolean;
  'x-when'?: Record<string, string>;
  'x-names'?: Record<string, string>;
  anyOf?: Schema[];
  items?: Schema;
  $ref?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  $defs?: Record<string, Schema>;
}

/** `uploads`: files that settings name are sent to the server. The fields of the settings: those that must be said first, then files, then the others, each as in the schema. */
export function fieldsOf(
  schema: Record<string, unknown>,
  secrets: readonly string[],
  uploads: boolean,
): Field[] {
  const root = schema as Schema;
  const required = new Set(root.required ?? []);
  const found = Object.entries(root.properties ?? {}).map(([key, raw]): Field => {
    const one = plain(raw, root);
    const kind = secrets.includes(key) ? 'secret' : kindOf(one, raw, uploads);
    // What a connector has no setting for says nothing.
    const likes = (said: Record<string, string> = {}) =>
      Object.entries(said)
        .filter(([other]) => other in (root.properties ?? {}))
        .map(([other, like]): [string, RegExp] => [other, new RegExp(like, 'i')]);
    const when = likes(raw['x-when']);
    return {
      key,
      label: labelOf(key),
      told: raw.description ?? one.description ?? '',
      kind,
      required: required.has(key),
      first:
        required.has(key) ||
        kind === 'file' ||
        kind === 'secret' ||
        when.length > 0 ||
        raw['x-first'] === true,
      when,
      choices: kind === 'choice' ? (one.enum ?? [true, false]) : [],
      default: raw.default === undefined || raw.default === null ? undefined : String(raw.default),
      example: raw.examples?.[0] === undefined ? undefined : String(raw.examples[0]),
      known: raw.examples && raw.examples.length > 1 ? raw.examples.map(String) : [],
      least: one.minimum,
      most: one.maximum,
      whole: one.type === 'integer',
      names: likes(raw['x-names']),
    };
  });
  return found.sort((a, b) => Number(b.required) - Number(a.required));
}

/** Whether a field is asked for, given the others; one that says something already stays in sight. */
export const isAsked = ({ key, when }: Field, value: Settings): boolean =>
  value[key] !== undefined || matches(when, value);

export const matches = (likes: [string, RegExp][], value: Settings): boolean =>
  likes.every(([other, like]) => like.test(String(value[other] ?? '')));

/** The one schema that is not null, behind its references. */
function plain(schema: Schema, root: Schema): Schema {
  if (schema.$ref) return plain(root.$defs?.[schema.$ref.split('/').at(-1) ?? ''] ?? {}, root);
  const real = schema.anyOf?.filter((one) => one.type !== 'null');
  return real?.length === 1 && real[0]
    ? plain({ ...real[0], format: real[0].format ?? schema.format } as Schema, root)
    : schema;
}

function kindOf(schema: Schema, raw: Schema, uploads: boolean): Field['kind'] {
  if (schema.enum) return 'choice';
  // What may be left out is on, off, or neither.
  if (schema.type === 'boolean') return raw.anyOf ? 'choice' : 'switch';
  if (schema.type === 'integer' || schema.type === 'number') return 'number';
  if (schema.type === 'array' && (schema.items?.type ?? 'string') === 'string') return 'list';
  if (schema.type === 'object' || schema.type === 'array') return 'json';
  if (uploads && (raw.format ?? schema.format) === 'path') return 'file';
  return 'text';
}

/** project_id → Project ID */
export function labelOf(key: string): string {
  const words = key
    .split('_')
    .map((word) =>
      ['id', 'url', 'ssl', 'sql', 'ssh', 'tls', 'api', 'csv', 'uri', 'sas'].includes(word)
        ? word.toUpperCase()
        : word,
    );
  const text = words.join(' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}
