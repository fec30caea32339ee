import { Button, TextInput } from '@mantine/core';
import { IconSearch, IconTable, IconTerminal2 } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { Link, useParams } from 'react-router';
import type { Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useSought } from '~/parts/address';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { paged } from '~/parts/paged';
import { Waiting } from '~/parts/Waiting';
import { count } from '~/words/numbers';
import { tablesQuery } from './tables';

type Table = Schemas['Filled'];

/** What is in the destination, and how fresh it is. */
export function Component() {
  const destination = useParams().destination ?? '';
  const may = useMay();
  const [text, type, search] = useSought();
  const tables = useInfiniteQuery({
    ...tablesQuery(destination, search),
    placeholderData: keepPreviousData,
    refetchInterval: 30_000,
  });
  const columns: Column<Table>[] = [
    { id: 'table', header: 'Table', cell: (one) => <span className="mono">{one.table}</span> },
    {
      id: 'from',
      header: 'From',
      cell: (one) => (
        <Link
          to={at.pipeline(one.pipeline, `mapper/${encodeURIComponent(one.event_type)}`)}
          className="plain"
        >
          {one.pipeline} · {one.event_type}
        </Link>
      ),
      hide: 'phone',
    },
    { id: 'loaded', header: 'Last load', cell: (one) => <Ago at={one.last_loaded_at} /> },
    { id: 'rows', header: 'Rows loaded', align: 'right', cell: (one) => count(one.rows_loaded) },
    {
      id: 'waiting',
      header: 'Waiting',
      align: 'right',
      hide: 'phone',
      cell: (one) => <Waiting rows={one.waiting_rows} />,
    },
    {
      id: 'look',
      header: '',
      align: 'right',
      width: 120,
      hide: 'phone',
      cell: (one) =>
        may('destinations.edit') && (
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
    <>
      <TextInput
        mb="sm"
        size="xs"
        w={240}
        aria-label="Search tables"
        placeholder="Table or pipeline"
        leftSection={<IconSearch size={14} />}
        value={text}
        onChange={(event) => type(event.currentTarget.value)}
      />
      <div className="card">
        <DataTable
          label="Tables"
          columns={columns}
          {...paged(tables)}
          id={(one) => `${one.pipeline} ${one.table}`}
          rowHeight={41}
          empty={
            search ? (
              <Empty icon={IconTable} title="No table is called so" />
            ) : (
              <Empty icon={IconTable} title="No tables yet">
                The first load of a pipeline makes its tables here.
              </Empty>
            )
          }
        />
      </div>
    </>
  );
}
