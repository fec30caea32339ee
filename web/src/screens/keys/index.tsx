import { Button, Modal, MultiSelect, Select, Stack, Text, TextInput } from '@mantine/core';
import { IconKey, IconPlus } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { type Who, whoQuery } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { Confirm } from '~/parts/Confirm';
import { Copyable } from '~/parts/Copy';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { paged } from '~/parts/paged';

type Key = Schemas['Key'];

const DAY_MS = 86_400_000;
const ENDS = [
  { value: '', label: 'Never' },
  { value: '30', label: 'In 30 days' },
  { value: '90', label: 'In 90 days' },
  { value: '365', label: 'In a year' },
];

/** Keys with which programs ask in somebody's name. */
export function Component() {
  const client = useQueryClient();
  const { data: who } = useQuery(whoQuery);
  const [making, make] = useState(false);
  const [made, setMade] = useState<Schemas['NewKey'] | null>(null);
  const [removing, remove] = useState<Key | null>(null);
  const keys = useInfiniteQuery({
    queryKey: ['keys'],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(api.GET('/api/millrace/v1/keys', { params: { query: { after: pageParam } } })),
    getNextPageParam: (page) => page.next,
  });
  const columns = useMemo<Column<Key>[]>(
    () => [
      {
        id: 'name',
        header: 'Key',
        cell: (row) => (
          <div>
            <Text fw={500} size="sm">
              {row.name || 'Without a name'}
            </Text>
            <span className="mono anywhere">{row.key}</span>
            <Text size="xs" c="dimmed" hiddenFrom="sm">
              {row.used_at ? (
                <>
                  Used <Ago at={row.used_at} />
                </>
              ) : (
                'Never used'
              )}
            </Text>
          </div>
        ),
      },
      { id: 'email', header: 'In the name of', hide: 'phone', cell: (row) => row.email },
      {
        id: 'scope',
        header: 'May',
        hide: 'tablet',
        cell: (row) => (row.scope === null ? 'all that they may' : row.scope.join(', ')),
      },
      { id: 'used', header: 'Last used', width: 110, hide: 'phone', cell: (row) => <Ago at={row.used_at} /> },
      {
        id: 'ends',
        header: 'Ends',
        width: 110,
        hide: 'tablet',
        cell: (row) => <Ago at={row.expires_at} none="never" />,
      },
      {
        id: 'do',
        header: '',
        width: 100,
        cell: (row) => (
          <Button size="compact-sm" variant="subtle" color="red" onClick={() => remove(row)}>
            Remove
          </Button>
        ),
      },
    ],
    [],
  );
  return (
    <div className="content">
      <PageHead
        title="API keys"
        told="Programs ask with them in your name, and may do what you may."
        actions={
          <Button leftSection={<IconPlus size={16} />} onClick={() => make(true)}>
            Make a key
          </Button>
        }
      />
      <div className="card">
        <DataTable
          label="API keys"
          columns={columns}
          {...paged(keys)}
          id={(row) => row.id}
          empty={
            <Empty icon={IconKey} title="No keys yet">
              With one, the command line, Airflow or a script can do what you do here.
            </Empty>
          }
        />
      </div>
      {making && who && (
        <NewKey
          who={who}
          close={() => make(false)}
          made={(key) => {
            make(false);
            setMade(key);
            void client.invalidateQueries({ queryKey: ['keys'] });
          }}
        />
      )}
      {made && (
        <Modal
          opened
          onClose={() => setMade(null)}
          closeOnClickOutside={false}
          title={<Text fw={600}>Keep the secret now</Text>}
          closeButtonProps={{ 'aria-label': 'Close' }}
        >
          <Stack>
            <Text>It is shown this once. Send both as user and password by HTTP basic authentication.</Text>
            <Copyable text={`${made.key}:${made.secret}`} label="key and secret" />
          </Stack>
        </Modal>
      )}
      {removing && (
        <Confirm
          title={`Remove the key ${removing.name || removing.key}`}
          verb="Remove"
          close={() => remove(null)}
          act={async () => {
            await body(
              api.DELETE('/api/millrace/v1/keys/{key}', { params: { path: { key: removing.key } } }),
            );
            done('The key is gone');
            await client.invalidateQueries({ queryKey: ['keys'] });
          }}
        >
          Programs that use it are refused from now on.
        </Confirm>
      )}
    </div>
  );
}

function NewKey({
  who,
  close,
  made,
}: {
  who: Who;
  close: () => void;
  made: (key: Schemas['NewKey']) => void;
}) {
  const [name, setName] = useState('');
  const [scope, setScope] = useState<string[]>([]);
  const [days, setDays] = useState('');
  const create = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/keys', {
          body: {
            email: who.user.email,
            name,
            scope: scope.length > 0 ? scope : null,
            expires_at: days === '' ? null : new Date(Date.now() + Number(days) * DAY_MS).toISOString(),
          },
        }),
      ),
    onSuccess: made,
  });
  return (
    <Modal
      opened
      onClose={close}
      title={<Text fw={600}>Make a key</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate();
        }}
      >
        <Stack>
          <TextInput
            label="Name"
            description="What it is for, so that you know later"
            data-autofocus
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <MultiSelect
            label="May"
            description="Permissions that it is held to; none chosen: all that you have, now and later"
            searchable
            data={[...who.permissions].sort()}
            value={scope}
            onChange={setScope}
          />
          <Select
            label="Ends"
            data={ENDS}
            allowDeselect={false}
            value={days}
            onChange={(value) => setDays(value ?? '')}
          />
          <ErrorNote error={create.error} />
          <Button type="submit" loading={create.isPending}>
            Make key
          </Button>
        </Stack>
      </form>
    </Modal>
  );
}
