import { Button, Group, NumberInput, Paper, SegmentedControl, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { ConnectionForm } from '~/parts/ConnectionForm';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { asked, ScheduleInput, type Timing, timingOf } from '~/parts/ScheduleInput';
import { count } from '~/words/numbers';
import { usePipeline, usePipelineName } from '../here';

/** When a pipeline runs, how urgent it is, and when people are told about it. */
export function Component() {
  const { data: pipeline } = usePipeline();
  const may = useMay();
  if (!pipeline) return null;
  const editable = may('pipelines.edit');
  return (
    <Stack gap="md" maw={760}>
      {!editable && <Text c="dimmed">Your roles let you see these settings, not change them.</Text>}
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
  const client = useQueryClient();
  const [timing, setTiming] = useState<Timing>(() => timingOf(saved));
  const save = useMutation({
    mutationFn: () =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/schedule', {
          params: { path: { pipeline } },
          body: asked(timing),
        }),
      ),
    onSuccess: () => done('The schedule is saved'),
    onSettled: () => client.invalidateQueries({ queryKey: ['pipelines'] }),
  });
  return (
    <Part title="Schedule" told="When it reads what is new at the source.">
      <Stack>
        <ScheduleInput value={timing} change={setTiming} />
        <ErrorNote error={save.error} />
        <Group>
          <Button loading={save.isPending} onClick={() => save.mutate()}>
            Save schedule
          </Button>
        </Group>
      </Stack>
    </Part>
  );
}

function Priority() {
  const pipeline = usePipelineName();
  const client = useQueryClient();
  const stands = useQuery({
    queryKey: ['pipelines', 'glance', pipeline],
    queryFn: async () => {
      const found = await body(
        api.GET('/api/millrace/v1/overview', { params: { query: { search: pipeline, limit: 100 } } }),
      );
      return found.items.find((one) => one.name === pipeline) ?? null;
    },
  });
  const save = useMutation({
    mutationFn: (priority: 'NORMAL' | 'HIGH') =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/priority', {
          params: { path: { pipeline } },
          body: { priority },
        }),
      ),
    onSuccess: ({ priority }) =>
      done(priority === 'HIGH' ? 'It goes first now' : 'It stands with the others now'),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['pipelines'] }),
  });
  return (
    <Part
      title="Priority"
      told="High: it goes before others and runs as often as its source allows, whatever its schedule says."
    >
      <SegmentedControl
        aria-label="Priority"
        value={stands.data?.priority ?? 'NORMAL'}
        disabled={!stands.data || save.isPending}
        onChange={(value) => save.mutate(value as 'NORMAL' | 'HIGH')}
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
  const save = useMutation({
    mutationFn: () =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/lateness', {
          params,
          body: { minutes: minutes === '' ? null : Number(minutes) },
        }),
      ),
    onSuccess: (now) => {
      client.setQueryData(queryKey, now);
      type(null);
      done(now.minutes === null ? 'Nobody is told when it is late' : 'Saved');
    },
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
          onClick={() => save.mutate()}
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

const DONE: Record<Beyond, string> = {
  tell: 'The pipeline goes on.',
  pause: 'Nothing is read until somebody resumes the pipeline.',
  sideline: 'Rows are read, and wait on the stage until the next day.',
};

// A month: who gives more has no limit.
const MOST_GRACE = 31 * 24;

function Limit() {
  const pipeline = usePipelineName();
  const client = useQueryClient();
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
  const settled = () => {
    setRows(null);
    setBeyond(null);
    setGrace(null);
    return client.invalidateQueries({ queryKey: ['usage'] });
  };
  const save = useMutation({
    mutationFn: () =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/limit', {
          params: { path: { pipeline } },
          body: {
            rows: Number(rows),
            pause: beyond === 'pause',
            sideline: beyond === 'sideline',
            grace_hours: Number(grace),
          },
        }),
      ),
    onSuccess: () => {
      done('The limit is set');
      return settled();
    },
  });
  const lift = useMutation({
    mutationFn: () =>
      body(api.DELETE('/api/millrace/v1/pipelines/{pipeline}/limit', { params: { path: { pipeline } } })),
    onSuccess: () => {
      done('There is no limit now');
      return settled();
    },
    onError: failed,
  });
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
            disabled={rows === '' || grace === '' || (typed === null && picked === null && hours === null)}
            loading={save.isPending}
            onClick={() => save.mutate()}
          >
            Set limit
          </Button>
          {kept && (
            <Button variant="subtle" color="gray" loading={lift.isPending} onClick={() => lift.mutate()}>
              No limit
            </Button>
          )}
        </Group>
      </Stack>
    </Part>
  );
}
