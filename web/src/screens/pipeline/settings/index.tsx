import { Button, Group, NumberInput, Paper, SegmentedControl, Stack, Text, Title } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { ConnectionForm } from '~/parts/ConnectionForm';
import { ErrorNote } from '~/parts/ErrorNote';
import { failed } from '~/parts/notices';
import { useReversible, useSeen } from '~/parts/reversible';
import { asked, ScheduleInput, type Timing, timingOf } from '~/parts/ScheduleInput';
import { count, some } from '~/words/numbers';
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
          <Schedule key={JSON.stringify(pipeline.schedule)} saved={pipeline.schedule} />
          <Priority />
          <Lateness />
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
    stale: ['pipelines'],
  });
  return (
    <Part title="Schedule" told="When it reads what is new at the source.">
      <Stack>
        <ScheduleInput value={timing} change={setTiming} />
        <ErrorNote error={save.error} />
        <Group>
          <Button loading={save.isPending} onClick={() => save.mutate({ to: timing, from: timingOf(saved) })}>
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

type Beyond = 'tell' | 'pause' | 'sideline';

const BEYOND: { value: Beyond; label: string }[] = [
  { value: 'tell', label: 'Tell people' },
  { value: 'pause', label: 'Pause too' },
  { value: 'sideline', label: 'Hold back loads too' },
];

type Wanted = Schemas['UsageLimitPipelineBody'];

const DONE: Record<Beyond, string> = {
  tell: 'The pipeline goes on.',
  pause: 'Nothing is read until somebody resumes the pipeline.',
  sideline: 'Rows are read, and wait on the stage until the next day.',
};

// A month: who gives more has no limit.
const MOST_GRACE = 31 * 24;

function Limit() {
  const pipeline = usePipelineName();
  const usual = useQuery({
    queryKey: ['usage', 'usual', pipeline],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/pipelines/{pipeline}/usual', { params: { path: { pipeline } } })),
  });
  const kept = usual.data?.limit;
  // What somebody has in mind; null: nothing yet.
  const [typed, setRows] = useState<number | string | null>(null);
  const [picked, setBeyond] = useState<Beyond | null>(null);
  const [hours, setGrace] = useState<number | string | null>(null);
  const rows = typed ?? kept?.rows ?? '';
  const beyond = picked ?? (kept?.pause ? 'pause' : kept?.sideline ? 'sideline' : 'tell');
  const grace = hours ?? kept?.grace_hours ?? 0;
  const params = { path: { pipeline } };
  const save = useReversible<Wanted | null, unknown>({
    ask: (to): Promise<unknown> =>
      to === null
        ? api.DELETE('/api/millrace/v1/pipelines/{pipeline}/limit', {
            params: { ...params, query: { period: 'day' } },
          })
        : api.PUT('/api/millrace/v1/pipelines/{pipeline}/limit', { params, body: to }),
    said: (_, to) => (to === null ? `${pipeline} has no limit now` : `The limit of ${pipeline} is set`),
    after: () => {
      setRows(null);
      setBeyond(null);
      setGrace(null);
    },
    stale: ['usage'],
  });
  const before = kept
    ? {
        rows: kept.rows,
        pause: kept.pause,
        sideline: kept.sideline,
        grace_hours: kept.grace_hours,
      }
    : null;
  return (
    <Part
      title="Rows a day"
      told={
        usual.data?.suggested
          ? `A sudden flood of rows raises an alert. By what it moved lately, ${usual.data.suggested.toLocaleString('en')} would be a good limit.`
          : 'A sudden flood of rows raises an alert.'
      }
    >
      <Stack>
        {kept && (
          <Text size="sm">
            Today {count(kept.used)} of {count(kept.rows)} so far
            {kept.used <= kept.rows && kept.forecast > kept.rows && '; at this pace it goes beyond'}.
          </Text>
        )}
        <NumberInput
          label="At most"
          min={1}
          value={rows}
          onChange={setRows}
          w={220}
          thousandSeparator=","
          allowDecimal={false}
          placeholder={usual.data?.suggested?.toLocaleString('en')}
        />
        <Stack gap={4}>
          <SegmentedControl
            aria-label="Beyond the limit"
            value={beyond}
            onChange={(value) => setBeyond(value as Beyond)}
            data={BEYOND}
            w="fit-content"
          />
          <Text size="sm" c="dimmed">
            {DONE[beyond]}
          </Text>
        </Stack>
        {beyond !== 'tell' && (
          <NumberInput
            label="Hours of grace"
            description="How long it goes on after the hour in which the limit was passed"
            min={0}
            max={MOST_GRACE}
            value={grace}
            onChange={setGrace}
            w={220}
            allowDecimal={false}
          />
        )}
        <ErrorNote error={save.error} />
        <Group>
          <Button
            variant="default"
            disabled={rows === '' || grace === '' || [typed, picked, hours].every((one) => one === null)}
            loading={save.isPending && save.variables.to !== null}
            onClick={() =>
              save.mutate({
                to: {
                  rows: Number(rows),
                  pause: beyond === 'pause',
                  sideline: beyond === 'sideline',
                  grace_hours: Number(grace),
                },
                from: before,
              })
            }
          >
            Set limit
          </Button>
          {kept && (
            <Button
              variant="subtle"
              color="gray"
              loading={save.isPending && save.variables.to === null}
              onClick={() => save.mutate({ to: null, from: before })}
            >
              No limit
            </Button>
          )}
        </Group>
      </Stack>
    </Part>
  );
}
