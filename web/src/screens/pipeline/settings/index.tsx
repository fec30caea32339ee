import {
  Button,
  Group,
  NumberInput,
  Paper,
  SegmentedControl,
  Stack,
  Switch,
  Text,
  Title,
} from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { ConnectionForm } from '~/parts/ConnectionForm';
import { ErrorNote } from '~/parts/ErrorNote';
import { LimitForm } from '~/parts/LimitForm';
import { NameForm } from '~/parts/NameForm';
import { failed } from '~/parts/notices';
import { useReversible, useSeen } from '~/parts/reversible';
import { asked, ScheduleInput, type Timing, timingOf } from '~/parts/ScheduleInput';
import { count, some } from '~/words/numbers';
import { AutoMapping } from '../AutoMapping';
import { isPushed, usePipeline, usePipelineName } from '../here';
import { Address } from './Address';

/** When a pipeline runs, how urgent it is, and when people are told about it. */
export function Component() {
  const { data: pipeline } = usePipeline();
  const may = useMay();
  if (!pipeline) return null;
  const editable = may('pipelines.edit');
  return (
    <Stack gap="md" maw={760}>
      {!editable && <Text c="dimmed">Your roles let you see these settings, not change them.</Text>}
      {isPushed(pipeline.source_type) && (
        <Part title="Address" told="Where other systems send what it loads, seconds after it came.">
          <Address key={pipeline.name} pipeline={pipeline.name} edits={editable} />
        </Part>
      )}
      <fieldset disabled={!editable} className="plain">
        <Stack gap="md">
          <Part
            title="Name"
            told="All else stays, and what runs goes on. A YAML file that names it must say the new name, or it makes another pipeline."
          >
            <NameForm
              key={pipeline.name}
              name={pipeline.name}
              ask={async (from, to) =>
                (
                  await body(
                    api.POST('/api/millrace/v1/pipelines/{pipeline}/rename', {
                      params: { path: { pipeline: from } },
                      body: { to },
                    }),
                  )
                ).pipeline
              }
              address={at.pipeline}
              stale={['pipelines', 'jobs', 'alerts', 'activity', 'usage']}
            />
          </Part>
          <Schedule key={JSON.stringify(pipeline.schedule)} saved={pipeline.schedule} />
          <Priority />
          <Part
            title="Auto mapping"
            told="Tables and columns for what is new are made by themselves. Off: rows of new event types wait as failed events until somebody maps them, and new fields wait for a column. It holds from the next run on; event types with a choice of their own keep it."
          >
            <AutoMapping pipeline={pipeline.name} />
          </Part>
          <Lateness />
          <Unusual />
          <Limit />
        </Stack>
      </fieldset>
      <Part
        title="Source"
        told={`How ${pipeline.source} is reached. Changes hold from the next run on, for each pipeline that reads it.`}
      >
        <ConnectionForm kind="source" name={pipeline.source} edits={editable} />
      </Part>
    </Stack>
  );
}

function Part({ title, told, children }: { title: string; told: ReactNode; children: ReactNode }) {
  return (
    <Paper className="card" p="lg">
      <Title order={2}>{title}</Title>
      <Text c="dimmed" mb="md">
        {told}
      </Text>
      {children}
    </Paper>
  );
}

function Schedule({ saved }: { saved: unknown }) {
  const pipeline = usePipelineName();
  const [timing, setTiming] = useState<Timing>(() => timingOf(saved));
  const save = useReversible<Timing, unknown>({
    ask: (to) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/schedule', {
          params: { path: { pipeline } },
          body: asked(to),
        }),
      ),
    said: () => `The schedule of ${pipeline} is saved`,
    // Taken back before the answer came, what is saved is what it was, and tells the form of nothing new.
    after: (_, { to }) => setTiming(to),
    stale: ['pipelines'],
  });
  return (
    <Part title="Schedule" told="When it reads what is new at the source.">
      <Stack>
        <ScheduleInput value={timing} change={setTiming} />
        <ErrorNote error={save.error} />
        <Group>
          <Button
            loading={save.isPending}
            disabled={JSON.stringify(asked(timing)) === JSON.stringify(asked(timingOf(saved)))}
            onClick={() => save.mutate({ to: timing, from: timingOf(saved) })}
          >
            Save schedule
          </Button>
        </Group>
      </Stack>
    </Part>
  );
}

type Urgency = Schemas['Glance']['priority'];

function Priority() {
  const pipeline = usePipelineName();
  const seen = useSeen();
  const queryKey = ['pipelines', 'glance', pipeline];
  const stands = useQuery({
    queryKey,
    queryFn: async () => {
      const found = await body(
        api.GET('/api/millrace/v1/overview', { params: { query: { search: pipeline, limit: 100 } } }),
      );
      return found.items.find((one) => one.name === pipeline) ?? null;
    },
  });
  const save = useReversible<Urgency, unknown>({
    ask: (priority) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/priority', {
          params: { path: { pipeline } },
          body: { priority },
        }),
      ),
    said: (_, to) => `${pipeline} ${to === 'HIGH' ? 'goes first' : 'stands with the others'} now`,
    seen: (priority) => seen<Schemas['Glance'] | null>(queryKey, (kept) => kept && { ...kept, priority }),
    stale: ['pipelines'],
  });
  const stand = stands.data?.priority ?? 'NORMAL';
  return (
    <Part
      title="Priority"
      told="High: it goes before others and runs as often as its source allows, whatever its schedule says."
    >
      <SegmentedControl
        aria-label="Priority"
        value={stand}
        disabled={!stands.data || save.isPending}
        onChange={(to) => save.mutate({ to: to as Urgency, from: stand }, { onError: failed })}
        data={[
          { value: 'NORMAL', label: 'Normal' },
          { value: 'HIGH', label: 'High' },
        ]}
      />
    </Part>
  );
}

function Lateness() {
  const pipeline = usePipelineName();
  const client = useQueryClient();
  const params = { path: { pipeline } };
  const queryKey = ['pipelines', 'one', pipeline, 'lateness'];
  const late = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines/{pipeline}/lateness', { params })),
  });
  // What somebody typed; null: nothing yet.
  const [typed, type] = useState<number | string | null>(null);
  const minutes = typed ?? late.data?.minutes ?? '';
  const save = useReversible<number | null, Schemas['Lateness']>({
    ask: (minutes) =>
      body(api.PUT('/api/millrace/v1/pipelines/{pipeline}/lateness', { params, body: { minutes } })),
    said: ({ minutes }) =>
      minutes === null
        ? `Nobody is told when ${pipeline} is late`
        : `People are told when ${pipeline} is ${some(minutes, 'minute')} late`,
    after: (now) => {
      client.setQueryData(queryKey, now);
      type(null);
    },
    stale: [],
  });
  return (
    <Part
      title="Lateness"
      told="An alert is raised when its last good run is longer ago than that. Empty: it may be as late as it likes."
    >
      <Group align="flex-end">
        <NumberInput
          label="Minutes"
          min={1}
          max={44_640}
          value={minutes}
          onChange={type}
          w={160}
          allowDecimal={false}
        />
        <Button
          variant="default"
          disabled={typed === null}
          loading={save.isPending}
          onClick={() =>
            save.mutate({ to: minutes === '' ? null : Number(minutes), from: late.data?.minutes ?? null })
          }
        >
          Save
        </Button>
      </Group>
      <ErrorNote error={save.error ?? late.error} />
    </Part>
  );
}

type Odd = Schemas['Unusual'];

/** What is not as it usually is, so that people are told. */
function Unusual() {
  const pipeline = usePipelineName();
  const client = useQueryClient();
  const params = { path: { pipeline } };
  const queryKey = ['pipelines', 'one', pipeline, 'unusual'];
  const odd = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines/{pipeline}/unusual', { params })),
  });
  // What somebody has in mind; null: nothing yet.
  const [wanted, want] = useState<Partial<Odd> | null>(null);
  const now: Partial<Odd> = { ...odd.data, ...wanted };
  const save = useReversible<Odd, Odd>({
    ask: ({ times, ...rest }) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/unusual', {
          params,
          body: { times: typeof times === 'number' ? times : null, ...rest },
        }),
      ),
    said: ({ times, intervals }) =>
      times === null && intervals === null
        ? `Nobody is told what is unusual for ${pipeline}`
        : `People are told what is unusual for ${pipeline}`,
    after: (found) => {
      client.setQueryData(queryKey, found);
      want(null);
    },
    stale: [],
  });
  const number = (value: number | string) => (value === '' ? null : Number(value));
  const whole = (one: Partial<Odd>): Odd => ({
    times: one.times ?? null,
    intervals: one.intervals ?? null,
    pause: one.pause ?? false,
  });
  return (
    <Part
      title="Unusual"
      told="An alert is raised when a day brings many more rows than that day of the week does, or when loads bring nothing any more. Empty: nobody is told."
    >
      <Stack>
        <Group align="flex-end">
          <NumberInput
            label="Times the usual rows of a day"
            min={1}
            value={typeof now.times === 'number' ? now.times : ''}
            onChange={(value) => want({ ...wanted, times: number(value) })}
            w={240}
          />
          <NumberInput
            label="Intervals without any row"
            min={1}
            value={now.intervals ?? ''}
            onChange={(value) => want({ ...wanted, intervals: number(value) })}
            w={240}
            allowDecimal={false}
          />
        </Group>
        <Switch
          label="Pause it too when a day brings too many"
          disabled={now.times == null}
          checked={now.pause ?? false}
          onChange={(event) => want({ ...wanted, pause: event.currentTarget.checked })}
        />
        <ErrorNote error={save.error ?? odd.error} />
        <Group>
          <Button
            variant="default"
            disabled={wanted === null || !odd.data}
            loading={save.isPending}
            onClick={() => odd.data && save.mutate({ to: whole(now), from: whole(odd.data) })}
          >
            Save what is unusual
          </Button>
        </Group>
      </Stack>
    </Part>
  );
}

/** A limit of a day, and what it is measured by. */
function Limit() {
  const pipeline = usePipelineName();
  const usual = useQuery({
    queryKey: ['usage', 'usual', pipeline],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/pipelines/{pipeline}/usual', { params: { path: { pipeline } } })),
  });
  const params = { path: { pipeline } };
  const suggested = usual.data?.suggested;
  return (
    <Part
      title="Rows a day"
      told={
        suggested
          ? `A sudden flood of rows raises an alert. By what it moved lately, ${count(suggested)} would be a good limit.`
          : 'A sudden flood of rows raises an alert.'
      }
    >
      <Stack>
        {usual.data && (
          <Text size="sm">
            Loaded in the last{' '}
            {usual.data.lately.map(({ days, loaded }) => `${days} days: ${count(loaded)}`).join(' · ')}
          </Text>
        )}
        <LimitForm
          of={pipeline}
          kept={usual.data?.limit ?? null}
          period="day"
          suggested={suggested ?? null}
          ask={(to): Promise<unknown> =>
            to === null
              ? api.DELETE('/api/millrace/v1/pipelines/{pipeline}/limit', {
                  params: { ...params, query: { period: 'day' } },
                })
              : api.PUT('/api/millrace/v1/pipelines/{pipeline}/limit', { params, body: to })
          }
        />
      </Stack>
    </Part>
  );
}
