import { ActionIcon, Button, Group, Menu, SegmentedControl, Text, TextInput } from '@mantine/core';
import { IconDots, IconRefresh, IconSearch, IconTable } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useCallback, useMemo, useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { Confirm } from '~/parts/Confirm';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { done, failed } from '~/parts/notices';
import { paged } from '~/parts/paged';
import { isQueried } from '~/parts/QueryMode';
import { StatusBadge } from '~/parts/StatusBadge';
import { mode } from '~/words/loading';
import { share, some } from '~/words/numbers';
import { usePipeline, usePipelineName } from '../here';
import { Change, type What } from './Change';

type Row = Schemas['Object'];
type Action = Schemas['ObjectsActBody']['action'];

const VERBS: Record<Action, string> = {
  run_now: 'Run now',
  pause: 'Pause',
  resume: 'Resume',
  skip: 'Skip',
  include: 'Include',
  restart: 'Read again from its beginning',
  restart_historical: 'Read its history again',
};
/** What takes an action back. What is included is read at once, so nothing takes that back. */
const OPPOSITE: Partial<Record<Action, Action>> = { pause: 'resume', resume: 'pause', skip: 'include' };
/** What is asked about in a dialog. */
const CHANGES: Record<What, string> = {
  position: 'Change its position',
  mode: 'Change how it is queried',
  schedule: 'Give it a schedule',
};
/** What makes rows come twice where there is no key, or leaves them out, is asked about. */
const WORDS: Partial<Record<Action, string>> = {
  skip: 'It is no part of the pipeline any more. What was read is loaded first; loaded rows stay.',
  restart: 'All of it is read again. Rows merge by their key; in a table without one they are there twice.',
  restart_historical: 'Its history is read again; where it follows what is new stays as it is.',
};
const ALLOWED: Record<Row['state'], readonly Action[]> = {
  ACTIVE: ['run_now', 'pause', 'skip', 'restart', 'restart_historical'],
  PAUSED: ['resume', 'skip'],
  SKIPPED: ['include'],
};

/** The objects of a pipeline: how far each is, and what can be done with it. */
export function Component() {
  const pipeline = usePipelineName();
  const may = useMay();
  const queried = isQueried(usePipeline().data?.source_type ?? '');
  const client = useQueryClient();
  const [asked, set] = useAddress();
  const [text, type, search] = useSought();
  const [selected, select] = useState<Record<string, true>>({});
  const [changing, change] = useState<{ what: What; object: Row } | null>(null);
  const [asking, confirm] = useState<{ action: Action; names: string[] } | null>(null);
  const category = (asked.get('which') ?? 'ALL') as 'ALL';
  const objects = useInfiniteQuery({
    queryKey: ['objects', pipeline, { category, search }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/objects', {
          params: {
            path: { pipeline },
            query: { category, search: search || null, after: pageParam, limit: 200 },
          },
        }),
      ),
    getNextPageParam: (page) => page.next,
    refetchInterval: 15_000,
  });
  const act = useMutation({
    mutationFn: ({ action, names }: { action: Action; names: string[] }) =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/object-actions', {
          params: { path: { pipeline } },
          body: { action, objects: names },
        }),
      ),
    onSuccess: (outcomes, { action }) => {
      const refused = outcomes.filter((one) => one.problem !== null);
      const names = outcomes.filter((one) => one.problem === null).map((one) => one.object);
      // What was paused before it was skipped would be read once it is included.
      const paused = objects.data?.pages.some((page) =>
        page.items.some((one) => one.state === 'PAUSED' && names.includes(one.name)),
      );
      const back = action === 'skip' && paused ? undefined : OPPOSITE[action];
      if (names.length > 0) {
        done(
          `${VERBS[action]}: ${some(names.length, 'object')}`,
          back && (() => act.mutate({ action: back, names })),
        );
      }
      const first = refused[0]?.problem;
      if (first) failed(new Problem(0, { ...first, message: `${refused[0]?.object}: ${first.message}` }));
      select({});
    },
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['objects', pipeline] }),
  });
  const refresh = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/refresh-objects', { params: { path: { pipeline } } }),
      ),
    onSuccess: (found) => done(`The source has ${some(found.length, 'object')}`),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['objects', pipeline] }),
  });
  const editable = may('pipelines.edit');
  const { mutate } = act;
  const begin = useCallback(
    (action: Action, names: string[]) =>
      WORDS[action] ? confirm({ action, names }) : mutate({ action, names }),
    [mutate],
  );
  const columns = useMemo<Column<Row>[]>(
    () => [
      {
        id: 'name',
        header: 'Object',
        cell: (row) => (
          <div>
            <Text fw={500} size="sm">
              {row.name}
            </Text>
            {row.key.length > 0 && (
              <Text size="xs" c="dimmed">
                key: <span className="mono">{row.key.join(', ')}</span>
              </Text>
            )}
          </div>
        ),
      },
      { id: 'status', header: 'Status', width: 190, cell: (row) => <StatusBadge name={row.status} /> },
      {
        id: 'history',
        header: 'History',
        width: 90,
        hide: 'phone',
        cell: (row) =>
          !row.historical ? 'none' : typeof row.history === 'number' ? share(row.history) : '–',
      },
      { id: 'mode', header: 'Rows are', width: 100, hide: 'tablet', cell: (row) => mode(row.load_mode) },
      {
        id: 'at',
        header: 'Last read',
        width: 120,
        hide: 'phone',
        cell: (row) => <Ago at={row.last_ingested_at} none="not yet" />,
      },
      ...(editable
        ? [
            {
              id: 'do',
              header: '',
              width: 48,
              cell: (row: Row) => (
                <Menu>
                  <Menu.Target>
                    <ActionIcon aria-label={`Actions of ${row.name}`}>
                      <IconDots size={16} />
                    </ActionIcon>
                  </Menu.Target>
                  <Menu.Dropdown>
                    {ALLOWED[row.state].map((action) => (
                      <Menu.Item key={action} onClick={() => begin(action, [row.name])}>
                        {VERBS[action]}
                      </Menu.Item>
                    ))}
                    {row.state !== 'SKIPPED' && (
                      <>
                        <Menu.Divider />
                        {(Object.keys(CHANGES) as What[])
                          .filter((what) => what !== 'mode' || queried)
                          .map((what) => (
                            <Menu.Item key={what} onClick={() => change({ what, object: row })}>
                              {CHANGES[what]}
                            </Menu.Item>
                          ))}
                      </>
                    )}
                  </Menu.Dropdown>
                </Menu>
              ),
            },
          ]
        : []),
    ],
    [editable, queried, begin],
  );
  const names = Object.keys(selected);
  return (
    <>
      <Group mb="sm" gap="xs">
        <TextInput
          leftSection={<IconSearch size={16} />}
          placeholder="Search objects"
          aria-label="Search objects"
          data-search
          value={text}
          onChange={(event) => type(event.currentTarget.value)}
        />
        <SegmentedControl
          size="xs"
          aria-label="Which objects"
          value={category}
          onChange={(value) => set({ which: value === 'ALL' ? null : value })}
          data={[
            { value: 'ALL', label: 'All' },
            { value: 'ACTIVE', label: 'Active' },
            { value: 'PAUSED', label: 'Paused' },
            { value: 'FAILED', label: 'Failed' },
            { value: 'SKIPPED', label: 'Skipped' },
          ]}
        />
        {editable && (
          <Button
            ml="auto"
            variant="default"
            leftSection={<IconRefresh size={16} />}
            loading={refresh.isPending}
            onClick={() => refresh.mutate()}
          >
            Ask the source again
          </Button>
        )}
      </Group>
      {names.length > 0 && (
        <Group className="card" px="md" py={8} mb="sm" gap="xs">
          <Text fw={500} mr="sm">
            {some(names.length, 'object')} chosen
          </Text>
          {(['run_now', 'pause', 'resume', 'skip', 'include', 'restart'] as const).map((action) => (
            <Button
              key={action}
              size="xs"
              variant="default"
              loading={act.isPending && act.variables.action === action}
              disabled={act.isPending}
              onClick={() => begin(action, names)}
            >
              {VERBS[action]}
            </Button>
          ))}
        </Group>
      )}
      <div className="card">
        <DataTable
          label="Objects"
          columns={columns}
          {...paged(objects)}
          id={(row) => row.name}
          selected={selected}
          select={editable ? select : undefined}
          rowHeight={57}
          empty={
            <Empty icon={IconTable} title="No such objects">
              Objects are what the source offers, such as events of a name or tables. They are known once the
              pipeline ran, or when you ask the source.
            </Empty>
          }
        />
      </div>
      {changing && (
        <Change
          what={changing.what}
          pipeline={pipeline}
          object={changing.object}
          close={() => change(null)}
        />
      )}
      {asking && (
        <Confirm
          title={`${VERBS[asking.action]}: ${asking.names.length === 1 ? asking.names[0] : some(asking.names.length, 'object')}?`}
          verb={VERBS[asking.action]}
          harmless
          act={() => act.mutateAsync(asking)}
          close={() => confirm(null)}
        >
          {WORDS[asking.action]}
        </Confirm>
      )}
    </>
  );
}
