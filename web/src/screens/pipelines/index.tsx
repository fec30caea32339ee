import { Box, Button, Group, Select, TextInput } from '@mantine/core';
import { IconFilterOff, IconPlus, IconRipple, IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { useAddress, useSought } from '~/parts/address';
import { Counts } from '~/parts/Counts';
import { typesQuery, useTitle } from '~/parts/connectors';
import { DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { PageHead } from '~/parts/PageHead';
import { paged } from '~/parts/paged';
import { Bulk } from './Bulk';
import { columns } from './columns';
import { Drafts } from './Drafts';

type Health = Schemas['Glance']['health'];

const ORDERS = [
  { value: 'name', label: 'By name' },
  { value: 'last_run', label: 'Last run first' },
  { value: 'failed', label: 'Most failed first' },
  { value: 'new', label: 'Newest first' },
];
// What needs somebody stands first.
const HEALTHS: readonly Health[] = ['FAILING', 'LOOK', 'WORKING', 'WELL', 'NEW', 'PAUSED', 'DELETING'];
const PAGE = 100;

/** Is my data on time, is it whole, what needs me: pipeline by pipeline. */
export function Component() {
  const navigate = useNavigate();
  const may = useMay();
  const [asked, set] = useAddress();
  const [, ask] = useSearchParams();
  const [selected, select] = useState<Record<string, true>>({});
  const [text, type, sought] = useSought();
  const filter = {
    search: sought || null,
    health: asked.getAll('health') as Health[],
    destination: asked.get('destination'),
    source_type: asked.get('source'),
    order: (asked.get('order') ?? 'name') as 'name',
  };
  const narrowed = Boolean(filter.search || filter.health.length || filter.destination || filter.source_type);
  const list = useInfiniteQuery({
    queryKey: ['pipelines', 'overview', filter],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/overview', {
          params: { query: { ...filter, after: pageParam, limit: PAGE } },
        }),
      ),
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });
  const destinations = useQuery({
    queryKey: ['destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations')),
  });
  const types = useQuery(typesQuery('source'));
  const title = useTitle('source');
  const shown = useMemo(() => columns(title), [title]);
  const create = may('pipelines.create') && (
    <Button component={Link} to={at.newPipeline} leftSection={<IconPlus size={16} />}>
      Create pipeline
    </Button>
  );
  const clear = () => ask({}, { replace: true });
  return (
    <div className="content">
      <PageHead
        title="Pipelines"
        told={
          list.data?.pages[0] && (
            <Box mt={4}>
              <Counts
                counts={list.data.pages[0].counts}
                order={HEALTHS}
                chosen={filter.health}
                choose={(health) => set({ health })}
              />
            </Box>
          )
        }
        actions={create}
      />
      <Drafts />
      <Group mb="sm" gap="xs">
        <TextInput
          leftSection={<IconSearch size={16} />}
          placeholder="Name, source or #number"
          aria-label="Search pipelines"
          data-search
          value={text}
          onChange={(event) => type(event.currentTarget.value)}
          w={{ base: '100%', xs: 240 }}
        />
        <Select
          placeholder="Every source"
          aria-label="Type of source"
          clearable
          w={160}
          data={types.data?.map(({ type, title }) => ({ value: type, label: title })) ?? []}
          value={filter.source_type}
          onChange={(value) => set({ source: value })}
        />
        <Select
          placeholder="Every destination"
          aria-label="Destination"
          clearable
          searchable
          w={180}
          data={destinations.data?.map((one) => one.name) ?? []}
          value={filter.destination}
          onChange={(value) => set({ destination: value })}
        />
        <Select
          aria-label="Order"
          w={160}
          data={ORDERS}
          value={filter.order}
          allowDeselect={false}
          onChange={(value) => set({ order: value === 'name' ? null : value })}
        />
        {narrowed && (
          <Button
            variant="subtle"
            size="compact-sm"
            leftSection={<IconFilterOff size={16} />}
            onClick={clear}
          >
            Show all
          </Button>
        )}
      </Group>
      {may('pipelines.edit') && <Bulk chosen={selected} choose={select} />}
      <div className="card">
        <DataTable
          label="Pipelines"
          columns={shown}
          {...paged(list)}
          id={(row) => row.name}
          open={(row) => navigate(at.pipeline(row.name))}
          selected={selected}
          select={may('pipelines.edit') ? select : undefined}
          rowHeight={57}
          empty={
            narrowed ? (
              <Empty
                icon={IconSearch}
                title="No pipeline is like that"
                action={
                  <Button variant="default" onClick={clear}>
                    Show all
                  </Button>
                }
              />
            ) : (
              <Empty icon={IconRipple} title="No pipelines yet" action={create}>
                A pipeline brings rows from a source into tables of a destination, and keeps them up to date.
              </Empty>
            )
          }
        />
      </div>
    </div>
  );
}
