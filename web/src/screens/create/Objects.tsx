import { Button, Group, Loader, Modal, Radio, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconSearch, IconTable } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import {
  isQueried,
  isWhole,
  modeTold,
  type QueryModeConfig,
  QueryModeInput,
  queryModeOf,
} from '~/parts/QueryMode';
import { some } from '~/words/numbers';
import { chosenOf, draftQuery, kept, type Step } from './draft';
import { Steps } from './Steps';

interface Props {
  draft: Schemas['Draft'];
  go: (to: Step) => void;
}

type Offer = Schemas['Offer'];

/** `leaves`: what was there before is not read, as the settings of the source have it. */
const columnsOf = (leaves: boolean): readonly Column<Offer>[] => [
  { id: 'name', header: 'Object', cell: (row) => (row.extra ? `${row.name} (if chosen)` : row.name) },
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
    cell: (row) => (row.historical ? 'Is read first' : leaves ? 'From now on' : 'With the rest'),
  },
];

/** Which of the source's objects are read. */
export function Objects({ draft, go }: Props) {
  const client = useQueryClient();
  const saved = chosenOf(draft).objects;
  const [all, setAll] = useState(saved === null);
  const [search, setSearch] = useState('');
  const [modes, setModes] = useState(() => chosenOf(draft).query_modes);
  const [choosing, choose] = useState<string | null>(null);
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
  const queried = isQueried(draft.source_type);
  const leaves = draft.config.load_historical_data === false;
  const columns = useMemo<readonly Column<Offer>[]>(
    () =>
      queried
        ? [
            ...columnsOf(leaves),
            {
              id: 'mode',
              header: 'Query mode',
              cell: (row) => (
                <Button
                  size="compact-sm"
                  variant="subtle"
                  aria-label={`Query mode of ${row.name}`}
                  onClick={() => choose(row.name)}
                >
                  {modeTold(modes[row.name] ?? queryModeOf(null))}
                </Button>
              ),
            },
          ]
        : columnsOf(leaves),
    [queried, leaves, modes],
  );
  const next = useMutation({
    mutationFn: () => kept(draft, { step: 'destination', objects: all ? null : names, query_modes: modes }),
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
                ? `All (${some(offers.data.filter((one) => !one.extra).length, 'object')} now), and those to come`
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
              columns={columns}
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
      {choosing !== null && (
        <Mode
          object={choosing}
          kept={modes[choosing]}
          close={() => choose(null)}
          chosen={(mode) => {
            setModes({ ...modes, [choosing]: mode });
            choose(null);
          }}
        />
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

interface ModeProps {
  object: string;
  kept: QueryModeConfig | undefined;
  close: () => void;
  chosen: (mode: QueryModeConfig) => void;
}

/** How one object is asked for what is new. */
function Mode({ object, kept, close, chosen }: ModeProps) {
  const [config, setConfig] = useState(() => queryModeOf(kept));
  return (
    <Modal
      opened
      onClose={close}
      title={<Text fw={600}>How {object} is queried</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isWhole(config)) chosen(config);
        }}
      >
        <Stack gap="md">
          <QueryModeInput value={config} change={setConfig} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep it as it is
            </Button>
            <Button type="submit" disabled={!isWhole(config)}>
              Query it so
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
