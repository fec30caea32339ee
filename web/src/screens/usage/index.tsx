import { Button, Group, Paper, SegmentedControl, Select, SimpleGrid, Skeleton, Text } from '@mantine/core';
import { IconChartBar, IconDownload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense } from 'react';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { useAddress } from '~/parts/address';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { save } from '~/parts/save';
import { csv } from '~/screens/destination/csv';
import { kind } from '~/words/jobs';
import { count } from '~/words/numbers';
import { monthOf, offered, told } from './months';
import { TeamLimit } from './TeamLimit';

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
    id: 'historical',
    header: 'Of history',
    align: 'right',
    cell: (row) => count(row.historical),
    hide: 'tablet',
  },
  {
    id: 'billable',
    header: 'Billable elsewhere',
    align: 'right',
    cell: (row) => count(row.billable),
    hide: 'phone',
  },
];

/** The lines as they are shown, for elsewhere. */
function written(by: By, lines: readonly Line[]): string {
  const about =
    by === 'kind'
      ? (['kind'] as const)
      : by === 'pipeline'
        ? (['pipeline'] as const)
        : (['pipeline', by] as const);
  const names = [...about, 'ingested', 'loaded', 'historical', 'billable'] as const;
  return csv(
    names,
    lines.map((line) => names.map((name) => line[name])),
  );
}

/** How many rows moved in a month, and by what. */
export function Component() {
  const [search, set] = useAddress();
  const by = (search.get('by') ?? 'pipeline') as By;
  const now = monthOf(null, new Date());
  const month = monthOf(search.get('month'), new Date());
  const within = { since: month.since.toISOString(), until: month.until.toISOString() };
  const usage = useQuery({
    queryKey: ['usage', 'report', by, month.name],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/usage', { params: { query: { by, ...within, limit: 500 } } })),
  });
  const days = useQuery({
    queryKey: ['usage', 'report', 'day', month.name],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/usage', { params: { query: { by: 'day', ...within, limit: 100 } } })),
  });
  const all = usage.data;
  return (
    <div className="content">
      <PageHead
        title="Usage"
        told="Rows of a month, UTC. They cost nothing here; the last column says what services of this kind would count."
        actions={
          <Select
            aria-label="Month"
            w={170}
            allowDeselect={false}
            data={offered(month, new Date()).map((name) => ({ value: name, label: told(name) }))}
            value={month.name}
            onChange={(name) => set({ month: name === now.name ? null : name })}
          />
        }
      />
      <ErrorNote error={days.error} again={() => void days.refetch()} />
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
          <Chart lines={days.data?.lines ?? []} month={month} />
        </Suspense>
      </Paper>
      <Group mb="sm">
        <SegmentedControl
          size="xs"
          aria-label="By what"
          value={by}
          onChange={(value) => set({ by: value === 'pipeline' ? null : value })}
          data={BY}
        />
        {all && all.lines.length > 0 && (
          <Button
            ml="auto"
            size="xs"
            variant="default"
            leftSection={<IconDownload size={14} />}
            onClick={() => save(`usage of ${month.name} by ${by}.csv`, written(by, all.lines), 'text/csv')}
          >
            As CSV
          </Button>
        )}
      </Group>
      <div className="card">
        <DataTable
          label="Usage"
          columns={columns(by)}
          rows={all?.lines}
          id={(row) => [row.pipeline, row.object, row.table, row.kind].join('/')}
          error={usage.error}
          again={() => void usage.refetch()}
          empty={
            month.name === now.name ? (
              <Empty icon={IconChartBar} title="Nothing moved this month yet">
                As soon as a pipeline loads rows, they are counted here.
              </Empty>
            ) : (
              <Empty icon={IconChartBar} title="Nothing moved in that month" />
            )
          }
        />
      </div>
      {month.name === now.name && <TeamLimit />}
    </div>
  );
}
