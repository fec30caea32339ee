import { count, some } from '~/words/numbers';

/** As the API gives it for an errand. */
export interface Compared {
  name: string;
  day: string;
  source_rows: number;
  table_rows: number;
  causes: { code: string; rows: number; message: string }[];
}

/** Rows of one range, from the key `first` to `last`, that are not alike on both sides. */
export interface Unlike {
  name: string;
  kind: 'other' | 'missing' | 'extra';
  rows: number;
  first: string;
  last: string;
  /** In how many of these rows each column differs. */
  columns: Record<string, number>;
}

export interface Values {
  /** So many were compared. */
  rows: number;
  unlike: Unlike[];
  /** Why none were compared. */
  why_not: string;
  /** So many were read once more because of this comparison. */
  read_again: number;
  /** Why rows cannot be read once more by their keys. */
  why_whole: string;
  /** How many rows were compared of each table of items of the object's arrays. */
  items: Record<string, number>;
  /** Such tables that were not compared, each with the reason. */
  left_out: Record<string, string>;
}

export interface Reconciliation {
  pipeline: string;
  stream: string;
  table: string;
  timezone: string;
  compared: Compared[];
  unreadable: Record<string, string>;
  rejected: Record<string, number>;
  again: unknown[];
  /** Ranges of a key are compared, as they are now, and no days. */
  ranges: boolean;
  /** Null where only counts were compared. */
  values: Values | null;
}

/** A day as an address has it, 2024-02-29; nothing where it is none. */
export function dayOf(text: string | null): string {
  const at = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(at.valueOf()) && at.toISOString().slice(0, 10) === text ? text : '';
}

/** What is counted: "days in Asia/Kolkata", or ranges. */
export const scope = (one: Reconciliation): string =>
  one.ranges ? 'ranges of the key, as they are now' : `days in ${one.timezone}`;

/** Rows of the difference that no cause accounts for. */
export const unexplained = (one: Compared): number =>
  one.source_rows - one.table_rows - one.causes.reduce((sum, cause) => sum + cause.rows, 0);

/** The answer in one line. */
export function explained(one: Reconciliation): string {
  const sum = (of: (row: Compared) => number) => one.compared.reduce((all, row) => all + of(row), 0);
  const [source, table] = [sum((row) => row.source_rows), sum((row) => row.table_rows)];
  const open = sum((row) => Math.abs(unexplained(row)));
  const counts = `${count(source)} at the source, ${count(table)} in the table`;
  if (open > 0) return `${counts}: ${count(open)} not explained`;
  return source === table ? `${counts}: nothing is missing` : `${counts}: every difference is explained`;
}

export const KINDS: Record<Unlike['kind'], string> = {
  other: 'Other values',
  missing: 'Not in the table',
  extra: 'Not at the source',
};

/** What the comparison of values found, in one line. */
export function alike(values: Values): string {
  if (values.why_not) return `Values were not compared: ${values.why_not}.`;
  const differ = values.unlike.reduce((sum, one) => sum + one.rows, 0);
  const again = values.read_again > 0 ? ` ${some(values.read_again, 'row')} read once more.` : '';
  const found = differ > 0 ? `${some(differ, 'row')} not alike` : 'all alike';
  const items = Object.entries(values.items).map(([table, rows]) => `${table} ${count(rows)}`);
  const beside = items.length > 0 ? ` Rows of items of arrays: ${items.join(', ')}.` : '';
  const without = Object.values(values.left_out)
    .map((why) => ` Not compared: ${why}.`)
    .join('');
  return `${some(values.rows, 'row')} compared value by value: ${found}.${beside}${again}${without}`;
}

/** Rows that differ can be read once more by their keys, and were not. */
export function byKeys(values: Values | null): boolean {
  const readable = values?.unlike.some((one) => one.kind !== 'extra') ?? false;
  return readable && !values?.why_whole && !values?.read_again;
}

/** What else there is to do where rows are not alike; nothing where they can be read once more. */
export function remedy(values: Values): string {
  if (values.unlike.length === 0 || byKeys(values)) return '';
  if (values.why_whole)
    return `Rows cannot be read once more by their keys: ${values.why_whole}. Read the object again.`;
  const why =
    values.read_again > 0 ? 'Rows differ though they were read once more' : 'Rows are in the table alone';
  return `${why}. Read the object again into a fresh table.`;
}

/** Names that cannot be read, gathered by the reason. */
export function byReason(unreadable: Record<string, string>): [why: string, names: string[]][] {
  const found = new Map<string, string[]>();
  for (const [name, why] of Object.entries(unreadable)) found.set(why, [...(found.get(why) ?? []), name]);
  return [...found];
}
