import { Select, TextInput } from '@mantine/core';

/** How an object of a database is asked for what is new, as the API keeps it. */
export interface QueryModeConfig {
  mode: string;
  timestamp_column_name?: string;
  incrementing_column_name?: string;
}

type Column = Exclude<keyof QueryModeConfig, 'mode'>;

/** The modes, and which columns each asks for. */
const MODES: readonly { value: string; label: string; columns: readonly Column[] }[] = [
  { value: 'auto', label: 'The best that its table allows', columns: [] },
  { value: 'full_load', label: 'The whole table each time', columns: [] },
  { value: 'delta', label: 'By the time of the last change', columns: ['timestamp_column_name'] },
  {
    value: 'increment_append_only',
    label: 'By a number that grows (rows never change)',
    columns: ['incrementing_column_name'],
  },
  {
    value: 'change_data_capture',
    label: 'By time and number',
    columns: ['timestamp_column_name', 'incrementing_column_name'],
  },
];

/** Modes that nobody chooses here, and the names that other faces have for those above. */
const OTHERS: Record<string, string> = {
  xmin: 'By the transaction that wrote it',
  change_tracking: 'By change tracking',
};
const SAME: Record<string, string> = {
  'full load': 'full_load',
  timestamp: 'delta',
  incrementing: 'increment_append_only',
  unique_incrementing: 'increment_append_only',
  'timestamp+incrementing': 'change_data_capture',
};

/** Ways by which objects are looked for. */
export const MODE_CHOICES = [
  ...MODES.map(({ value, label }) => ({ value, label })),
  ...Object.entries(OTHERS).map(([value, label]) => ({ value, label })),
];

const LABELS: Record<Column, string> = {
  timestamp_column_name: 'Column with the time',
  incrementing_column_name: 'Column with the number',
};

/** Whether objects of a type of source are read by queries, each in a mode of its own. */
export const isQueried = (type: string): boolean => ['postgres', 'mysql', 'mongodb'].includes(type);

/** What is kept of an object, as something to change. */
export function queryModeOf(kept: unknown): QueryModeConfig {
  const known = (kept ?? {}) as Partial<QueryModeConfig>;
  const mode = typeof known.mode === 'string' ? known.mode : 'auto';
  return { ...known, mode: SAME[mode] ?? mode };
}

const needs = (mode: string) => MODES.find(({ value }) => value === mode)?.columns ?? [];

/** Whether all columns are named that the mode asks for. */
export const isWhole = (config: QueryModeConfig): boolean =>
  needs(config.mode).every((column) => config[column]?.trim());

/** As the server takes it: the mode, and the columns that it asks for alone. */
export const askedMode = (config: QueryModeConfig): Record<string, string> => ({
  mode: config.mode,
  ...Object.fromEntries(needs(config.mode).map((column) => [column, config[column]?.trim() ?? ''])),
});

/** In the words of people: "By the time of the last change (updated_at)". */
export function modeTold(config: QueryModeConfig): string {
  const label = MODES.find(({ value }) => value === config.mode)?.label ?? OTHERS[config.mode] ?? config.mode;
  const columns = needs(config.mode).flatMap((column) => config[column] ?? []);
  return columns.length > 0 ? `${label} (${columns.join(', ')})` : label;
}

interface Props {
  value: QueryModeConfig;
  change: (value: QueryModeConfig) => void;
}

/** The mode, and fields for the columns that it asks for. */
export function QueryModeInput({ value, change }: Props) {
  const known = MODES.some((one) => one.value === value.mode);
  return (
    <>
      <Select
        label="Query mode"
        allowDeselect={false}
        value={value.mode}
        onChange={(mode) => mode && change({ ...value, mode })}
        data={[
          ...(known ? [] : [{ value: value.mode, label: modeTold(value) }]),
          ...MODES.map((one) => ({ value: one.value, label: one.label })),
        ]}
      />
      {needs(value.mode).map((column) => (
        <TextInput
          key={column}
          label={LABELS[column]}
          required
          value={value[column] ?? ''}
          onChange={(event) => change({ ...value, [column]: event.currentTarget.value })}
        />
      ))}
    </>
  );
}
