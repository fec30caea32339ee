import { Button, Text } from '@mantine/core';
import { IconTable, IconTerminal2 } from '@tabler/icons-react';
import { Link, useParams } from 'react-router';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { count } from '~/words/numbers';
import { type Table, useTables } from './tables';

/** What is in the destination, and how fresh it is. */
export function Component() {
  const destination = useParams().destination ?? '';
  const tables = useTables(destination);
  const columns: Column<Table>[] = [
    { id: 'table', header: 'Table', cell: (one) => <span className="mono">{one.table}</span> },
    {
      id: 'from',
      header: 'From',
      cell: (one) => (
        <Link to={at.pipeline(one.pipeline, `mapper/${encodeURIComponent(one.stream)}`)} className="plain">
          {one.pipeline} · {one.stream}
        </Link>
      ),
      hide: 'phone',
    },
    { id: 'loaded', header: 'Last load', cell: (one) => <Ago at={one.loadedAt} /> },
    { id: 'rows', header: 'Rows loaded', align: 'right', cell: (one) => count(one.rows) },
    {
      id: 'waiting',
      header: 'Waiting',
      align: 'right',
      cell: (one) =>
        one.waiting ? (
          <Text span c="var(--look)" fw={500} size="sm">
            {count(one.waiting)}
          </Text>
        ) : (
          '0'
        ),
    },
    {
      id: 'look',
      header: '',
      align: 'right',
      width: 120,
      hide: 'phone',
      cell: (one) => (
        <Button
          component={Link}
          to={`${at.destination(destination)}/workbench?${new URLSearchParams({ table: one.table })}`}
          size="compact-sm"
          variant="subtle"
          leftSection={<IconTerminal2 size={14} />}
        >
          Query
        </Button>
      ),
    },
  ];
  return (
    <div className="card">
      <DataTable
        label="Tables"
        columns={columns}
        rows={tables.data}
        id={(one) => `${one.pipeline} ${one.table}`}
        error={tables.error}
        again={() => void tables.refetch()}
        rowHeight={41}
        empty={
          <Empty icon={IconTable} title="No tables yet">
            The first load of a pipeline makes its tables here.
          </Empty>
        }
      />
    </div>
  );
}
