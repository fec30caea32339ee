import '~/parts/panes.css';
import { Button, Group, Select, Skeleton, Text } from '@mantine/core';
import { useLocalStorage } from '@mantine/hooks';
import { IconDownload, IconPlayerPlay, IconTable } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { lazy, Suspense, useMemo, useRef, useState } from 'react';
import { useParams, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { exactly } from '~/api/exact';
import { DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { some } from '~/words/numbers';
import { duration } from '~/words/times';
import { csv, save } from './csv';
import { useTables } from './tables';

const Code = lazy(() => import('~/parts/Code'));

/** Questions in SQL to a destination; nothing can be changed with them. */
export function Component() {
  const destination = useParams().destination ?? '';
  const [search] = useSearchParams();
  const tables = useTables(destination);
  const [kept, keep] = useLocalStorage({ key: `millrace-sql-${destination}`, defaultValue: '' });
  const asked = search.get('table');
  const first = tables.data?.[0]?.table;
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
  const names = useMemo(
    () => Object.fromEntries((tables.data ?? []).map((one) => [one.table, [] as string[]])),
    [tables.data],
  );
  const found = query.data;
  const run = () => sql.trim() && query.mutate();
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
          <DataTable
            label="Result"
            columns={found.columns.map((column, index) => ({
              id: String(index),
              header: <span title={column.type}>{column.name}</span>,
              align: /^(u?int|float|double|decimal)/.test(column.type) ? ('right' as const) : undefined,
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
