import '~/parts/panes.css';
import { Button, Group, SegmentedControl, Select, Skeleton, Text } from '@mantine/core';
import { useDebouncedValue, useLocalStorage } from '@mantine/hooks';
import { IconDownload, IconLock, IconPlayerPlay, IconTable } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQueries } from '@tanstack/react-query';
import { lazy, Suspense, useMemo, useRef, useState } from 'react';
import { useParams, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { exactly } from '~/api/exact';
import { useMay } from '~/api/session';
import { DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { save } from '~/parts/save';
import { some } from '~/words/numbers';
import { duration } from '~/words/times';
import { csv } from './csv';
import { isNumber } from './series';
import { columnsQuery, tablesQuery } from './tables';

const Code = lazy(() => import('~/parts/Code'));
const ResultChart = lazy(() => import('./ResultChart'));

/** Columns are completed of so many tables that a statement names. */
const COMPLETED = 5;

/** Questions in SQL to a destination; nothing can be changed with them. */
export function Component() {
  const destination = useParams().destination ?? '';
  const may = useMay();
  if (!may('destinations.edit')) {
    return (
      <Empty icon={IconLock} title="Your roles do not let you ask this destination">
        Rows of a destination are seen by those who may change it.
      </Empty>
    );
  }
  return <Workbench key={destination} destination={destination} />;
}

function Workbench({ destination }: { destination: string }) {
  const [search, setSearch] = useSearchParams();
  const tables = useInfiniteQuery(tablesQuery(destination));
  const known = useMemo(() => tables.data?.pages.flatMap((page) => page.items) ?? [], [tables.data]);
  const [kept, keep] = useLocalStorage({ key: `millrace-sql-${destination}`, defaultValue: '' });
  const asked = search.get('table');
  const first = known[0]?.table;
  const [text, setText] = useState<string | null>(asked ? example(asked) : null);
  const sql = text ?? (kept || (first ? example(first) : ''));
  const [limit, setLimit] = useState('1000');
  const begun = useRef(0);
  const query = useMutation({
    mutationFn: async () => {
      keep(sql);
      begun.current = performance.now();
      const answer = await body(
        api.POST('/api/millrace/v1/query', {
          body: { destination, sql, limit: Number(limit) },
          parseAs: 'text',
        }),
      );
      const rows = exactly<Schemas['Rows']>(answer as unknown as string);
      return { ...rows, ms: performance.now() - begun.current };
    },
  });
  const [still] = useDebouncedValue(sql, 400);
  const mentioned = useMemo(
    () =>
      [...new Set(known.map((one) => one.table))].filter((one) => still.includes(one)).slice(0, COMPLETED),
    [known, still],
  );
  const columns = useQueries({ queries: mentioned.map((one) => columnsQuery(destination, one)) });
  const answers = columns.map((one) => one.dataUpdatedAt).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list of answers is a new one each time
  const names = useMemo(() => {
    const all = Object.fromEntries(known.map((one) => [one.table, [] as string[]]));
    for (const one of columns) {
      if (one.data) all[one.data.table] = one.data.columns.map((column) => column.name);
    }
    return all;
  }, [known, answers]);
  const view = search.get('view') ?? 'table';
  const found = query.data;
  const run = () => sql.trim() && !query.isPending && query.mutate();
  return (
    <>
      <section className="card" style={{ overflow: 'hidden', marginBottom: 16 }} aria-label="SQL">
        <Suspense fallback={<Skeleton height={180} />}>
          <Code
            label="SQL"
            language="sql"
            value={sql}
            change={setText}
            run={run}
            tables={names}
            height="180px"
          />
        </Suspense>
        <Group className="pane-foot" gap="xs">
          <Button
            size="xs"
            leftSection={<IconPlayerPlay size={14} />}
            loading={query.isPending}
            onClick={run}
          >
            Run
          </Button>
          <Select
            size="xs"
            w={140}
            aria-label="Rows at most"
            allowDeselect={false}
            value={limit}
            onChange={(value) => value && setLimit(value)}
            data={[
              { value: '100', label: '100 rows' },
              { value: '1000', label: '1,000 rows' },
              { value: '10000', label: '10,000 rows' },
            ]}
          />
          <Text size="sm" c="dimmed" flex={1}>
            {found
              ? `${some(found.rows.length, 'row')} in ${duration(found.ms)}${found.rows.length >= Number(limit) ? '; there may be more' : ''}`
              : 'Ctrl-Enter runs it. It can only read.'}
          </Text>
          {found && found.rows.length > 0 && (
            <SegmentedControl
              size="xs"
              aria-label="Shown as"
              value={view}
              onChange={(value) =>
                setSearch(
                  (now) => {
                    if (value === 'table') now.delete('view');
                    else now.set('view', value);
                    return now;
                  },
                  { replace: true },
                )
              }
              data={[
                { value: 'table', label: 'Table' },
                { value: 'chart', label: 'Chart' },
              ]}
            />
          )}
          {found && found.rows.length > 0 && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconDownload size={14} />}
              onClick={() =>
                save(
                  `${destination}.csv`,
                  csv(
                    found.columns.map((one) => one.name),
                    found.rows,
                  ),
                  'text/csv',
                )
              }
            >
              CSV
            </Button>
          )}
        </Group>
      </section>
      <ErrorNote error={query.error} />
      {found && !query.error && (
        <div className="card">
          {view === 'chart' && found.rows.length > 0 ? (
            <Suspense fallback={<Skeleton height={320} />}>
              <ResultChart columns={found.columns} rows={found.rows} />
            </Suspense>
          ) : (
            <DataTable
              label="Result"
              columns={found.columns.map((column, index) => ({
                id: String(index),
                header: <span title={column.type}>{column.name}</span>,
                align: isNumber(column) ? ('right' as const) : undefined,
                cell: (row: Numbered) => <Value of={row.values[index]} />,
              }))}
              rows={found.rows.map((values, number) => ({ number, values }))}
              id={(row) => String(row.number)}
              rowHeight={41}
              empty={
                <Empty icon={IconTable} title="No rows">
                  The statement is right, and found nothing.
                </Empty>
              }
            />
          )}
        </div>
      )}
    </>
  );
}

interface Numbered {
  number: number;
  values: unknown[];
}

function Value({ of }: { of: unknown }) {
  if (of === null) {
    return (
      <Text span size="xs" c="dimmed">
        null
      </Text>
    );
  }
  return <span className="cell">{typeof of === 'string' ? of : JSON.stringify(of)}</span>;
}

const example = (table: string) =>
  `SELECT *\nFROM ${/^[a-z_][a-z0-9_]*$/.test(table) ? table : `"${table}"`}\nLIMIT 100`;
