import { Button, Group, SegmentedControl, Text } from '@mantine/core';
import { IconBellCheck } from '@tabler/icons-react';
import { type InfiniteData, useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link, Outlet, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { done, failed } from '~/parts/notices';
import { paged } from '~/parts/paged';
import { useReversible, useSeen } from '~/parts/reversible';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';

type Alert = Schemas['Alert'];
type Page = Schemas['PageAlert'];
interface Looked {
  alert: number;
  state: 'OPEN' | 'ACKNOWLEDGED';
}

const STATES = [
  { value: 'OPEN', label: 'Open' },
  { value: 'ACKNOWLEDGED', label: 'Acknowledged' },
  { value: 'RESOLVED', label: 'Resolved' },
  { value: 'NOTED', label: 'Noted' },
  { value: 'all', label: 'All' },
];

// What is true of an alert that somebody looks after, or no more; it may be over meanwhile.
const LOOKED: Record<Alert['state'], string> = {
  OPEN: 'Nobody looks after it: it is told again while it goes on',
  ACKNOWLEDGED: 'You look after it: it is told again only if it gets worse',
  RESOLVED: 'It is over already',
  NOTED: 'It is only noted',
};

const matter = ({ alert }: { alert: number }): string => `alert ${alert}`;

/** What is wrong now, and what was. */
export function Component() {
  const may = useMay();
  const client = useQueryClient();
  const seen = useSeen();
  const [search, setSearch] = useSearchParams();
  const state = search.get('state') ?? 'OPEN';
  const alerts = useInfiniteQuery({
    queryKey: ['alerts', state],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/alerts', {
          params: {
            query: { state: state === 'all' ? null : (state as Alert['state']), after: pageParam, limit: 50 },
          },
        }),
      ),
    getNextPageParam: (page) => page.next,
    refetchInterval: 60_000,
  });
  // Somebody looks after it, or nobody any more.
  const look = useReversible<Looked, Alert>({
    ask: ({ alert, state }) => {
      const params = { path: { alert } };
      return body(
        state === 'ACKNOWLEDGED'
          ? api.POST('/api/millrace/v1/alerts/{alert}/acknowledge', { params })
          : api.POST('/api/millrace/v1/alerts/{alert}/reopen', { params }),
      );
    },
    said: ({ state }) => LOOKED[state],
    came: (now, to) => now.state === to.state,
    matter,
    seen: (to) =>
      seen<InfiniteData<Page>>(['alerts', state], (kept) => ({
        ...kept,
        pages: kept.pages.map((page) => ({
          ...page,
          items: page.items.map((one) => (one.id === to.alert ? { ...one, state: to.state } : one)),
        })),
      })),
    stale: ['alerts'],
  });
  const resolve = useMutation({
    mutationFn: (alert: number) =>
      body(api.POST('/api/millrace/v1/alerts/{alert}/resolve', { params: { path: { alert } } })),
    onSuccess: (_, alert) =>
      done('It is over, and whoever was told of it hears so', false, matter({ alert })),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['alerts'] }),
  });
  const { mutate: lookAfter } = look;
  const { mutate: end } = resolve;
  const editable = may('pipelines.edit');
  const columns = useMemo<Column<Alert>[]>(
    () => [
      { id: 'severity', header: 'How bad', width: 110, cell: (row) => <StatusBadge name={row.severity} /> },
      {
        id: 'title',
        header: 'What',
        cell: (row) => (
          <div>
            <Text fw={500} size="sm">
              {row.title}
            </Text>
            <Text size="xs" c="dimmed" lineClamp={2}>
              <Told text={row.body} />
            </Text>
          </div>
        ),
      },
      {
        id: 'about',
        header: 'About',
        hide: 'phone',
        cell: (row) =>
          row.entity.type === 'pipeline' ? (
            <Link to={at.pipeline(row.entity.name)}>{row.entity.name}</Link>
          ) : (
            row.entity.name
          ),
      },
      {
        id: 'at',
        header: 'Last seen',
        width: 120,
        cell: (row) => (
          <div>
            <Ago at={row.last_at} />
            {row.count > 1 && (
              <Text size="xs" c="dimmed">
                {row.count} times
              </Text>
            )}
          </div>
        ),
      },
      {
        id: 'state',
        header: 'State',
        width: 130,
        hide: 'phone',
        cell: (row) => (
          <div>
            <StatusBadge name={row.state} />
            <Link to={at.deliveries(row.id)} aria-label={`Who was told: ${row.title}`}>
              <Text size="xs">Who was told</Text>
            </Link>
          </div>
        ),
      },
      ...(editable
        ? [
            {
              id: 'do',
              header: '',
              width: 200,
              hide: 'phone' as const,
              cell: (row: Alert) => (
                <Group gap={4} justify="flex-end" wrap="nowrap">
                  {row.state === 'OPEN' && (
                    <Button
                      size="compact-sm"
                      variant="default"
                      onClick={() =>
                        lookAfter(
                          {
                            to: { alert: row.id, state: 'ACKNOWLEDGED' },
                            from: { alert: row.id, state: 'OPEN' },
                          },
                          { onError: failed },
                        )
                      }
                    >
                      Acknowledge
                    </Button>
                  )}
                  {(row.state === 'OPEN' || row.state === 'ACKNOWLEDGED') && (
                    <Button size="compact-sm" variant="subtle" onClick={() => end(row.id)}>
                      Resolve
                    </Button>
                  )}
                </Group>
              ),
            },
          ]
        : []),
    ],
    [editable, lookAfter, end],
  );
  return (
    <>
      <SegmentedControl
        mb="sm"
        size="xs"
        aria-label="Which alerts"
        value={state}
        onChange={(value) => setSearch(value === 'OPEN' ? {} : { state: value }, { replace: true })}
        data={STATES}
      />
      <div className="card">
        <DataTable
          label="Alerts"
          columns={columns}
          {...paged(alerts)}
          id={(row) => String(row.id)}
          empty={
            <Empty icon={IconBellCheck} title={state === 'OPEN' ? 'Nothing is wrong' : 'No such alerts'}>
              When a pipeline fails, is late, or its failed events pile up, it stands here, and goes to the
              channels that you choose.
            </Empty>
          }
        />
      </div>
      <Outlet />
    </>
  );
}
