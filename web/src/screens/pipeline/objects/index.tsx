import { Button, Group, SegmentedControl, Select, Text, TextInput, Tooltip } from '@mantine/core';
import { IconRefresh, IconSearch, IconTable } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useMemo, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { Confirm } from '~/parts/Confirm';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { type Outcome, without } from '~/parts/each';
import { done, failed } from '~/parts/notices';
import { paged } from '~/parts/paged';
import { isQueried, MODE_CHOICES, modeTold, queryModeOf } from '~/parts/QueryMode';
import { Refused } from '~/parts/Refused';
import { Share } from '~/parts/Share';
import { Sparkline } from '~/parts/Sparkline';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { mode } from '~/words/loading';
import { count, some } from '~/words/numbers';
import { usePipeline, usePipelineName } from '../here';
import { Actions } from './Actions';
import { Change, Mode, Since, type What } from './Change';
import { useFailedOf } from './failed';
import { Log } from './Log';
import { type Action, OPPOSITE, type Row, VERBS, WORDS } from './verbs';

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
  const [moding, changeModes] = useState(false);
  const [timing, setBack] = useState(false);
  const [givingUp, giveUp] = useState<string[] | null>(null);
  const [told, tell] = useState<{ verb: string; outcome: Outcome } | null>(null);
  const settled = (verb: string, outcome: Outcome) => {
    tell({ verb, outcome });
    // Those that refused stay chosen.
    select((now) => without(now, outcome.ok));
  };
  // What else becomes of failed events is asked about the same objects.
  const rejected = useFailedOf(pipeline, (verb, outcome) =>
    outcome.refused.length > 0 ? settled(verb, outcome) : tell(null),
  );
  const queryMode = queried ? (asked.get('queried') as 'auto' | null) : null;
  const category = (asked.get('which') ?? 'ALL') as 'ALL';
  const lately = useQuery({
    queryKey: ['objects', pipeline, 'lately'],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/objects-lately', { params: { path: { pipeline } } }),
      ),
    refetchInterval: 60_000,
  });
  const recent = useMemo(() => new Map(lately.data?.map((one) => [one.object, one])), [lately.data]);
  const objects = useInfiniteQuery({
    queryKey: ['objects', pipeline, { category, queryMode, search }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/objects', {
          params: {
            path: { pipeline },
            query: { category, query_mode: queryMode, search: search || null, after: pageParam, limit: 200 },
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
    onMutate: () => tell(null),
    onSuccess: (outcomes, { action }) => {
      const refused = outcomes.flatMap(({ object, problem }) => (problem ? [{ name: object, problem }] : []));
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
      settled(VERBS[action], { ok: names, refused });
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
  const { mutate: goAgain } = rejected.replay;
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
      {
        id: 'status',
        header: 'Status',
        width: 220,
        cell: (row) => (
          <div>
            <StatusBadge name={row.status} />
            <Why of={row} />
          </div>
        ),
      },
      {
        id: 'lately',
        header: 'Ingested, 24 h',
        width: 150,
        hide: 'tablet',
        cell: (row) => <Lately of={recent.get(row.name)} />,
      },
      {
        id: 'history',
        header: 'History',
        width: 130,
        hide: 'phone',
        cell: (row) =>
          !row.historical ? 'none' : typeof row.history === 'number' ? <Share of={row.history} /> : '–',
      },
      ...(queried
        ? [
            {
              id: 'queried',
              header: 'Queried',
              width: 220,
              hide: 'tablet' as const,
              cell: (row: Row) => (
                <Text size="sm" lineClamp={2}>
                  {modeTold(queryModeOf(row.query_mode))}
                </Text>
              ),
            },
          ]
        : []),
      { id: 'mode', header: 'Rows are', width: 100, hide: 'tablet', cell: (row) => mode(row.load_mode) },
      {
        id: 'at',
        header: 'Last read',
        width: 120,
        hide: 'phone',
        cell: (row) => <Ago at={row.last_ingested_at} none="not yet" />,
      },
      {
        id: 'do',
        header: '',
        width: 48,
        cell: (row) => (
          <Actions
            pipeline={pipeline}
            object={row}
            queried={queried}
            edits={editable}
            act={(action) => begin(action, [row.name])}
            change={(what) => change({ what, object: row })}
            replay={() => goAgain([row.name])}
            giveUp={() => giveUp([row.name])}
          />
        ),
      },
    ],
    [pipeline, editable, queried, begin, goAgain, recent],
  );
  const names = Object.keys(selected);
  // Those whose changes come from a log have no position of their own.
  const timed = objects.data?.pages.some((page) =>
    page.items.some((one) => selected[one.name] && 'incremental' in one.positions),
  );
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
        {queried && (
          <Select
            w={300}
            maw="100%"
            aria-label="How they are queried"
            placeholder="Queried in any way"
            clearable
            value={queryMode}
            onChange={(value) => set({ queried: value })}
            data={MODE_CHOICES}
          />
        )}
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
      {queried && <Log pipeline={pipeline} edits={editable} />}
      {told && <Refused verb={told.verb} noun="object" outcome={told.outcome} close={() => tell(null)} />}
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
          {timed && (
            <Button size="xs" variant="default" onClick={() => setBack(true)}>
              Read from a time on
            </Button>
          )}
          {queried && (
            <Button size="xs" variant="default" onClick={() => changeModes(true)}>
              Change how they are queried
            </Button>
          )}
          <Button
            size="xs"
            variant="default"
            loading={rejected.replay.isPending}
            onClick={() => goAgain(names)}
          >
            Replay failed events
          </Button>
          <Button size="xs" variant="subtle" color="red" onClick={() => giveUp(names)}>
            Give up failed events
          </Button>
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
      {timing && (
        <Since
          pipeline={pipeline}
          names={names}
          settled={(outcome) => settled('Read from a time on', outcome)}
          close={() => setBack(false)}
        />
      )}
      {moding && (
        <Mode
          pipeline={pipeline}
          names={names}
          kept={null}
          settled={(outcome) => settled('Change how they are queried', outcome)}
          close={() => changeModes(false)}
        />
      )}
      {givingUp && (
        <Confirm
          title="Give failed events up?"
          verb="Give up"
          act={() => rejected.giveUp(givingUp)}
          close={() => giveUp(null)}
        >
          All failed events of {givingUp.length === 1 ? givingUp[0] : some(givingUp.length, 'object')} will
          not reach its tables and cannot be replayed. Loaded rows stay.
        </Confirm>
      )}
    </>
  );
}

/** Why it failed, or until when it waits. */
function Why({ of: { last_error: error, held_until: until } }: { of: Row }) {
  const told = (error as { message?: string } | null)?.message;
  if (told) {
    return (
      <Text size="xs" c="var(--failed)" lineClamp={1} title={told}>
        <Told text={told} />
      </Text>
    );
  }
  return until && new Date(until) > new Date() ? (
    <Text size="xs" c="dimmed" component="div">
      goes on <Ago at={until} />
    </Text>
  ) : null;
}

/** How many rows were ingested in the last 24 hours, and when; what was loaded then where somebody rests on it. */
function Lately({ of }: { of: Schemas['ObjectLately'] | undefined }) {
  if (!of) {
    return (
      <Text span c="dimmed" inherit>
        0
      </Text>
    );
  }
  const rows = of.recent.reduce((sum, one) => sum + one, 0);
  const loaded = `${count(of.loaded)} loaded: ${count(of.historical)} of history, ${count(of.billable)} billable elsewhere`;
  return (
    <Tooltip label={loaded} events={{ hover: true, focus: true, touch: true }}>
      <Group gap="xs" wrap="nowrap" w="max-content" tabIndex={0}>
        <span className="figures">{count(rows)}</span>
        <Sparkline
          values={of.recent}
          label={`${some(rows, 'row')} ingested in the last 24 hours; ${loaded}`}
          width={56}
        />
      </Group>
    </Tooltip>
  );
}
