import { Group, Loader, Radio, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconSearch, IconTable } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { some } from '~/words/numbers';
import { chosenOf, draftQuery, kept, type Step } from './draft';
import { Steps } from './Steps';

interface Props {
  draft: Schemas['Draft'];
  go: (to: Step) => void;
}

const COLUMNS: readonly Column<Schemas['Offer']>[] = [
  { id: 'name', header: 'Object', cell: (row) => row.name },
  {
    id: 'key',
    header: 'Key',
    hide: 'phone',
    cell: (row) => <span className="mono">{row.key.join(', ') || '–'}</span>,
  },
  {
    id: 'history',
    header: 'History',
    width: 120,
    cell: (row) => (row.historical ? 'Is read first' : 'From now on'),
  },
];

/** Which of the source's objects are read. */
export function Objects({ draft, go }: Props) {
  const client = useQueryClient();
  const saved = chosenOf(draft).objects;
  const [all, setAll] = useState(saved === null);
  const [search, setSearch] = useState('');
  const [picked, pick] = useState<Record<string, true>>(() =>
    Object.fromEntries((saved ?? []).map((one) => [one, true])),
  );
  const offers = useQuery({
    queryKey: ['drafts', draft.number, 'objects'],
    queryFn: () =>
      body(
        api.POST('/api/millrace/v1/drafts/{draft}/objects', { params: { path: { draft: draft.number } } }),
      ),
    staleTime: 300_000,
  });
  const shown = useMemo(
    () => offers.data?.filter((one) => one.name.toLowerCase().includes(search.toLowerCase())),
    [offers.data, search],
  );
  const names = Object.keys(picked);
  const next = useMutation({
    mutationFn: () => kept(draft, { step: 'destination', objects: all ? null : names }),
    onSuccess: (saved) => {
      client.setQueryData(draftQuery(saved.number).queryKey, saved);
      go('destination');
    },
  });
  return (
    <Stack gap="md">
      <Title order={2}>What shall be read?</Title>
      <ErrorNote error={offers.error ?? next.error} again={() => void offers.refetch()} />
      <Radio.Group value={all ? 'all' : 'some'} onChange={(value) => setAll(value === 'all')}>
        <Stack gap="xs">
          <Radio
            value="all"
            label={
              offers.data
                ? `All (${some(offers.data.length, 'object')} now), and those to come`
                : 'All, and those to come'
            }
          />
          <Radio value="some" label="Only those that I choose" />
        </Stack>
      </Radio.Group>
      {offers.isPending && (
        <Group>
          <Loader size="sm" />
          <Text c="dimmed">Asking the source what it has</Text>
        </Group>
      )}
      {offers.data && (
        <>
          {!all && (
            <TextInput
              leftSection={<IconSearch size={16} />}
              placeholder="Search objects"
              aria-label="Search objects"
              w={260}
              value={search}
              onChange={(event) => setSearch(event.currentTarget.value)}
            />
          )}
          <div className="card">
            <DataTable
              label="Objects of the source"
              columns={COLUMNS}
              rows={shown}
              id={(row) => row.name}
              selected={picked}
              select={all ? undefined : pick}
              rowHeight={41}
              empty={
                <Empty
                  icon={IconTable}
                  title={search ? 'No object has that name' : 'The source has no objects yet'}
                />
              }
            />
          </div>
        </>
      )}
      <Steps
        back={() => go('source')}
        next={() => next.mutate()}
        busy={next.isPending}
        may={all || names.length > 0}
        verb={all ? 'Go on with all' : `Go on with ${some(names.length, 'object')}`}
      />
    </Stack>
  );
}
