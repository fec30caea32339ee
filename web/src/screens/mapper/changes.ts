/** The changes that somebody has in mind for one mapping. Together they become one version. */
import type { Schemas } from '~/api/client';

/** As the server takes them. */
export type Asked = Omit<Schemas['MappingsChangeBody'], 'dry_run' | 'reason'>;

/** Changes of fields that are not made yet. */
export interface Edits {
  rename: Record<string, string>;
  types: Record<string, string>;
  free: string[];
  ignore: string[];
  unignore: string[];
  key: string[] | null;
}

export const NOTHING: Edits = { rename: {}, types: {}, free: [], ignore: [], unignore: [], key: null };

export const changes = (edits: Edits): number =>
  Object.keys(edits.rename).length +
  new Set([...Object.keys(edits.types), ...edits.free]).size +
  edits.ignore.length +
  edits.unignore.length +
  (edits.key ? 1 : 0);

const without = (all: Record<string, string>, name: string) =>
  Object.fromEntries(Object.entries(all).filter(([one]) => one !== name));

/** Without anything that was asked for a field, but the key. */
export const undone = (edits: Edits, field: string): Edits => ({
  ...edits,
  rename: without(edits.rename, field),
  types: without(edits.types, field),
  free: edits.free.filter((one) => one !== field),
  ignore: edits.ignore.filter((one) => one !== field),
  unignore: edits.unignore.filter((one) => one !== field),
});

export const isChanged = (edits: Edits, field: string): boolean =>
  field in edits.rename ||
  field in edits.types ||
  edits.free.includes(field) ||
  edits.ignore.includes(field) ||
  edits.unignore.includes(field);

export const renamed = (edits: Edits, field: string, from: string | null, to: string): Edits => ({
  ...edits,
  rename: to === from ? without(edits.rename, field) : { ...edits.rename, [field]: to },
});

export const typed = (edits: Edits, field: string, from: string | null, to: string): Edits => ({
  ...edits,
  free: edits.free.filter((one) => one !== field),
  types: to === from ? without(edits.types, field) : { ...edits.types, [field]: to },
});

export const ignored = (edits: Edits, field: string): Edits => ({
  ...undone(edits, field),
  ignore: [...edits.ignore.filter((one) => one !== field), field],
});

export const unignored = (edits: Edits, field: string): Edits => ({
  ...edits,
  unignore: [...edits.unignore.filter((one) => one !== field), field],
});

/** A field without a column gets one of the type that its values have, which follows them. */
export const placed = (
  edits: Edits,
  { field, type, reason }: { field: string; type: string | null; reason: string | null },
): Edits =>
  type === null && reason === 'IGNORED'
    ? unignored(edits, field)
    : {
        ...undone(edits, field),
        types: { ...edits.types, [field]: type ?? 'VARCHAR' },
        free: [...edits.free.filter((one) => one !== field), field],
      };

export const freed = (edits: Edits, field: string): Edits => ({
  ...edits,
  types: without(edits.types, field),
  free: [...edits.free.filter((one) => one !== field), field],
});

/** The key with the field in it, or without it; what Millrace itself added tells nothing then. */
export const keyed = (edits: Edits, keys: readonly string[], field: string): Edits => ({
  ...edits,
  key: keys.includes(field)
    ? keys.filter((one) => one !== field)
    : [...keys.filter((one) => !one.startsWith('__')), field],
});

/** The type that the values of a field have, by the words of its warning; null where it says none. */
export const bringsOf = (message: string): string | null =>
  / brings (.+?); of those /.exec(message)?.[1] ?? null;
