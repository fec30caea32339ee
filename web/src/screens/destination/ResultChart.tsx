import { Group, MultiSelect, SegmentedControl, Select, Text } from '@mantine/core';
import { useMemo, useState } from 'react';
import type { Schemas } from '~/api/client';
import { Chart } from '~/parts/Chart';
import { count } from '~/words/numbers';
import { charted, isNumber } from './series';

const COLOURS = ['ingested', 'loaded', 'failed', 'fourth', 'fifth'] as const;

/** The rows of a result as bars or a line: one column along, up to five columns of numbers up. */
export default function ResultChart({ columns, rows }: Pick<Schemas['Rows'], 'columns' | 'rows'>) {
  const names = columns.map((one) => one.name);
  const numbers = columns.filter(isNumber).map((one) => one.name);
  const first = columns.find((one) => !isNumber(one))?.name ?? names[0] ?? '';
  const [chosen, along] = useState(first);
  const [wanted, up] = useState(() => numbers.filter((one) => one !== first).slice(0, 1));
  const [kind, setKind] = useState<'bar' | 'line'>('bar');
  // Another statement may have other columns.
  const x = names.includes(chosen) ? chosen : first;
  const y = useMemo(() => wanted.filter((one) => names.includes(one)), [wanted, names]);
  const { categories, values, left } = useMemo(() => charted(names, rows, x, y), [names, rows, x, y]);
  const series = useMemo(
    () =>
      y.map((name, index) => ({
        name,
        colour: COLOURS[index] ?? 'fifth',
        values: values[index] ?? [],
      })),
    [y, values],
  );
  return (
    <div style={{ padding: 16 }}>
      <Group mb="md" align="flex-end">
        <Select
          size="xs"
          label="Along"
          allowDeselect={false}
          data={names}
          value={x}
          onChange={(value) => value && along(value)}
        />
        <MultiSelect
          size="xs"
          label="Up"
          miw={200}
          placeholder={y.length ? undefined : 'Columns of numbers'}
          maxValues={COLOURS.length}
          data={numbers}
          value={y}
          onChange={up}
        />
        <SegmentedControl
          size="xs"
          aria-label="Kind of chart"
          value={kind}
          onChange={(value) => setKind(value as 'bar' | 'line')}
          data={[
            { value: 'bar', label: 'Bars' },
            { value: 'line', label: 'Line' },
          ]}
        />
      </Group>
      {series.length > 0 ? (
        <Chart
          label={`${y.join(', ')} by ${x}, ${count(categories.length)} values`}
          categories={categories}
          series={series}
          kind={kind}
          height={320}
        />
      ) : (
        <Text c="dimmed">
          {numbers.length ? 'Choose what goes up.' : 'A chart needs a column of numbers, such as count(*).'}
        </Text>
      )}
      {left > 0 && (
        <Text size="sm" c="dimmed" mt="xs">
          The first {count(categories.length)} rows are drawn; {count(left)} more are in the table.
        </Text>
      )}
    </div>
  );
}
