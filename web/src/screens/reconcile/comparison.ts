import { count } from '~/words/numbers';

/** As the API gives it for an errand. */
export interface Compared {
  name: string;
  day: string;
  source_rows: number;
  table_rows: number;
  causes: { code: string; rows: number; message: string }[];
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

/** Names that cannot be read, gathered by the reason. */
export function byReason(unreadable: Record<string, string>): [why: string, names: string[]][] {
  const found = new Map<string, string[]>();
  for (const [name, why] of Object.entries(unreadable)) found.set(why, [...(found.get(why) ?? []), name]);
  return [...found];
}
