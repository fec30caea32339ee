import { Group, Paper, SegmentedControl, SimpleGrid, Skeleton, Text } from '@mantine/core';
import { IconChartBar } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { Link, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { kind } from '~/words/jobs';
import { count } from '~/words/numbers';

const Chart = lazy(() => import('./DayChart'));

type Line = Schemas['UsageLine'];
type By = 'pipeline' | 'object' | 'table' | 'kind';

const BY: { value: By; label: string }[] = [
  { value: 'pipeline', label: 'Pipeline' },
  { value: 'object', label: 'Object' },
  { value: 'table', label: 'Table' },
  { value: 'kind', label: 'Kind' },
];

const columns = (by: By): Column<Line>[] => [
  ...(by === 'kind'
    ? [{ id: 'kind', header: 'Kind', cell: (row: Line) => (row.kind ? kind(row.kind) : '–') }]
    : [
        {
          id: 'pipeline',
          header: 'Pipeline',
          cell: (row: Line) =>
            row.pipeline ? <Link to={at.pipeline(row.pipeline)}>{row.pipeline}</Link> : '–',
        },
      ]),
  ...(by === 'object' ? [{ id: 'object', header: 'Object', cell: (row: Line) => row.object ?? '–' }] : []),
  ...(by === 'table' ? [{ id: 'table', header: 'Table', cell: (row: Line) => row.table ?? '–' }] : []),
  { id: 'ingested', header: 'Ingested', align: 'right', cell: (row) => count(row.ingested), hide: 'phone' },
  { id: 'loaded', header: 'Loaded', align: 'right', cell: (row) => count(row.loaded) },
  {
    id: 'billable',
    header: 'Billable elsewhere',
    align: 'right',
    cell: (row) => count(row.billable),
    hide: 'phone',
  },
];

/** How many rows moved this month, and by what. */
export function Component() {
  const [search, setSearch] = useSearchParams();
  const by = (search.get('by') ?? 'pipeline') as By;
  const usage = useQuery({
    queryKey: ['usage', 'report', by],
    queryFn: () => body(api.GET('/api/millrace/v1/usage', { params: { query: { by, limit: 500 } } })),
  });
  const days = useQuery({
    queryKey: ['usage', 'report', 'day'],
    queryFn: () => body(api.GET('/api/millrace/v1/usage', { params: { query: { by: 'day', limit: 100 } } })),
  });
  const all = usage.data;
  return (
    <div className="content">
      <PageHead
        title="Usage"
        told="Rows of this month, UTC. They cost nothing here; the last column says what services of this kind would count."
      />
      <ErrorNote error={usage.error ?? days.error} again={() => void usage.refetch()} />
      <SimpleGrid cols={{ base: 1, xs: 3 }} mb="md">
        {(
          [
            ['Ingested', all?.ingested],
            ['Loaded', all?.loaded],
            ['Billable elsewhere', all?.billable],
          ] as const
        ).map(([label, rows]) => (
          <Paper key={label} className="card" p="md">
            <Text size="sm" c="dimmed">
              {label}
            </Text>
            <Text size="xl" fw={600} className="figures">
              {rows === undefined ? '–' : count(rows)}
            </Text>
          </Paper>
        ))}
      </SimpleGrid>
      <Paper className="card" p="md" mb="md">
        <Text fw={600} mb="xs">
          Day by day
        </Text>
        <Suspense fallback={<Skeleton height={220} />}>
          <Chart lines={days.data?.lines ?? []} />
        </Suspense>
      </Paper>
      <Group mb="sm">
        <SegmentedControl
          size="xs"
          aria-label="By what"
          value={by}
          onChange={(value) => setSearch(value === 'pipeline' ? {} : { by: value }, { replace: true })}
          data={BY}
        />
      </Group>
      <div className="card">
        <DataTable
          label="Usage"
          columns={columns(by)}
          rows={all?.lines}
          id={(row) => [row.pipeline, row.object, row.table, row.kind].join('/')}
          empty={
            <Empty icon={IconChartBar} title="Nothing moved this month yet">
              As soon as a pipeline loads rows, they are counted here.
            </Empty>
          }
        />
      </div>
    </div>
  );
}
