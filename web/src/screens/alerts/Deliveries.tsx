import { Anchor, Button, Group, SegmentedControl, Text } from '@mantine/core';
import { IconMailForward } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useAddress } from '~/parts/address';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { done, failed } from '~/parts/notices';
import { paged } from '~/parts/paged';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { some } from '~/words/numbers';

type Delivery = Schemas['Delivery'];

const STATES = [
  { value: 'all', label: 'All' },
  { value: 'waiting', label: 'Waiting' },
  { value: 'sent', label: 'Arrived' },
  { value: 'failed', label: 'Failed' },
];

const COLUMNS: Column<Delivery>[] = [
  { id: 'state', header: 'State', width: 100, cell: (row) => <StatusBadge name={row.state} /> },
  {
    id: 'what',
    header: 'What',
    cell: (row) => (
      <div>
        <Text fw={500} size="sm">
          {row.title}
        </Text>
        <Text size="xs" hiddenFrom="sm" style={{ overflowWrap: 'anywhere' }}>
          To {row.recipient || row.channel}, <When of={row} />
        </Text>
        {row.occasion === 'recovered' && (
          <Text size="xs" c="dimmed">
            That it is over
          </Text>
        )}
        {row.error && (
          <Text size="xs" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
            <Told text={row.error} />
          </Text>
        )}
      </div>
    ),
  },
  {
    id: 'to',
    header: 'To',
    hide: 'phone',
    cell: (row) => (
      <div>
        {row.channel}
        {row.recipient && (
          <Text size="xs" c="dimmed">
            {row.recipient}
          </Text>
        )}
      </div>
    ),
  },
  { id: 'tries', header: 'Tries', align: 'right', width: 80, hide: 'phone', cell: (row) => row.attempts },
  {
    id: 'at',
    header: 'When',
    width: 104,
    hide: 'phone',
    cell: (row) => (
      <>
        {row.state === 'waiting' && row.attempts > 0 && (
          <Text size="xs" c="dimmed">
            Next try
          </Text>
        )}
        <When of={row} />
      </>
    ),
  },
];

/** When it ended; of one that waits, when it is tried. */
function When({ of }: { of: Delivery }) {
  return <Ago at={of.state === 'waiting' ? of.due_at : (of.ended_at ?? of.created_at)} />;
}

/** What was sent, and whether it arrived. */
export function Component() {
  const [asked, set] = useAddress();
  const state = asked.get('state') ?? 'all';
  const alert = asked.get('alert');
  const sent = useInfiniteQuery({
    queryKey: ['alert-deliveries', state, alert],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/alert-deliveries', {
          params: {
            query: {
              state: state === 'all' ? null : (state as Delivery['state']),
              // What is no number is refused in the words of the API.
              alert: alert as number | null,
              after: pageParam,
              limit: 50,
            },
          },
        }),
      ),
    getNextPageParam: (page) => page.next,
    refetchInterval: 60_000,
  });
  const client = useQueryClient();
  const { mutate } = useMutation({
    mutationFn: (of: number) =>
      body(api.POST('/api/millrace/v1/alerts/{alert}/resend', { params: { path: { alert: of } } })),
    onSuccess: (again) => done(`${some(again.length, 'message')} of the alert will be sent again.`),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['alert-deliveries'] }),
  });
  const editable = useMay()('settings.edit');
  const columns = useMemo<Column<Delivery>[]>(
    () => [
      ...COLUMNS,
      ...(editable
        ? [
            {
              id: 'do',
              header: '',
              width: 120,
              cell: (row: Delivery) =>
                row.again && (
                  <Button
                    size="compact-sm"
                    variant="default"
                    aria-label={`Send again: ${row.title}`}
                    onClick={() => mutate(row.alert)}
                  >
                    Send again
                  </Button>
                ),
            },
          ]
        : []),
    ],
    [editable, mutate],
  );
  const narrowed = state !== 'all' || alert !== null;
  return (
    <>
      <Group mb="sm" gap="sm">
        <SegmentedControl
          size="xs"
          aria-label="Which deliveries"
          value={state}
          onChange={(value) => set({ state: value === 'all' ? null : value })}
          data={STATES}
        />
        {alert !== null && (
          <Text size="sm" component="div">
            About alert {alert}.{' '}
            <Anchor component="button" size="sm" onClick={() => set({ alert: null })}>
              Show all
            </Anchor>
          </Text>
        )}
      </Group>
      <div className="card">
        <DataTable
          label="Deliveries"
          columns={columns}
          {...paged(sent)}
          id={(row) => String(row.id)}
          empty={
            <Empty
              icon={IconMailForward}
              title={narrowed ? 'No such deliveries' : 'Nothing was sent yet'}
              action={!narrowed && <Link to={at.told()}>See who is told</Link>}
            >
              Each message about an alert stands here: where it went, whether it arrived, and why not.
            </Empty>
          }
        />
      </div>
    </>
  );
}
