import {
  Button,
  Checkbox,
  Group,
  JsonInput,
  Modal,
  SegmentedControl,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { exactly } from '~/api/exact';
import { Ago } from '~/parts/Ago';
import { ErrorNote } from '~/parts/ErrorNote';
import { each, type Outcome } from '~/parts/each';
import { done } from '~/parts/notices';
import { askedMode, isWhole, QueryModeInput, queryModeOf } from '~/parts/QueryMode';
import { useReversible } from '~/parts/reversible';
import { asked, ScheduleInput, type Timing, timingOf } from '~/parts/ScheduleInput';
import { some } from '~/words/numbers';
import type { Row } from './verbs';

export type What = 'position' | 'since' | 'mode' | 'schedule';

/** What is asked about in a dialog. */
export const CHANGES: Record<What, string> = {
  position: 'Change its position',
  since: 'Read it from a time on',
  mode: 'Change how it is queried',
  schedule: 'Give it a schedule',
};

interface Props {
  pipeline: string;
  object: Row;
  close: () => void;
}

/** What is changed of one object, beside pausing and the like. */
export function Change({ what, object, ...props }: Props & { what: What }) {
  switch (what) {
    case 'position':
      return <Position object={object} {...props} />;
    case 'since':
      return <Since names={[object.name]} {...props} />;
    case 'mode':
      return <Mode names={[object.name]} kept={object.query_mode} {...props} />;
    case 'schedule':
      return <Own object={object} {...props} />;
  }
}

interface AskProps {
  title: string;
  verb: string;
  busy: boolean;
  may?: boolean;
  error: Error | null;
  submit: () => void;
  close: () => void;
  children: ReactNode;
}

function Ask({ title, verb, busy, may = true, error, submit, close, children }: AskProps) {
  return (
    <Modal
      opened
      onClose={close}
      size={620}
      title={<Text fw={600}>{title}</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (may && !busy) submit();
        }}
      >
        <Stack gap="md">
          {children}
          <ErrorNote error={error} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep it as it is
            </Button>
            <Button type="submit" loading={busy} disabled={!may}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

const WOULD_DOUBLE = 'WOULD_DOUBLE';

interface AppendAgainProps {
  error: Error | null;
  value: boolean;
  change: (value: boolean) => void;
}

/** Asked where rows that come again would stand twice in a table that is appended to. */
export function AppendAgain({ error, value, change }: AppendAgainProps) {
  if (!value && !(error instanceof Problem && error.code === WOULD_DOUBLE)) return null;
  return (
    <Checkbox
      label="Rows that come again may stand there twice"
      checked={value}
      onChange={(event) => change(event.currentTarget.checked)}
    />
  );
}

/** What is known of the objects of a pipeline is asked for anew. */
function useStale(pipeline: string) {
  const client = useQueryClient();
  return () => {
    for (const noun of ['objects', 'jobs', 'pipelines']) void client.invalidateQueries({ queryKey: [noun] });
    void client.invalidateQueries({ queryKey: ['positions', pipeline] });
  };
}

const pretty = (value: unknown): string => (value === null ? '' : JSON.stringify(value, null, 2));

function parsed(text: string): { value: unknown } | null {
  if (text.trim() === '') return { value: null };
  try {
    return { value: exactly(text) };
  } catch {
    return null;
  }
}

/** Where reading goes on from: an earlier position, or one that is written. */
function Position({ pipeline, object, close }: Props) {
  const lanes = Object.keys(object.positions);
  const [lane, setLane] = useState<'incremental' | 'historical'>(
    lanes.length === 0 || lanes.includes('incremental') ? 'incremental' : 'historical',
  );
  const [written, setText] = useState<string | null>(null);
  const [again, setAgain] = useState(false);
  const path = { pipeline, object: object.name };
  const stale = useStale(pipeline);
  const earlier = useQuery({
    queryKey: ['positions', pipeline, object.name, lane],
    // Positions may be numbers with more digits than JavaScript's keep.
    queryFn: async () => {
      const answer = await body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/objects/{object}/positions', {
          params: { path, query: { lane } },
          parseAs: 'text',
        }),
      );
      return exactly<Schemas['Position'][]>(answer as unknown as string);
    },
  });
  const text = written ?? pretty(earlier.data?.[0]?.cursor ?? null);
  const save = useMutation({
    mutationFn: (position: unknown) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/objects/{object}/position', {
          params: { path },
          body: { position, lane, append_again: again },
        }),
      ),
    onSuccess: () => {
      close();
      done(`${object.name} is read from there on.`);
    },
    onSettled: stale,
  });
  const wanted = parsed(text);
  return (
    <Ask
      title={`Where ${object.name} is read from`}
      verb="Read from there on"
      busy={save.isPending}
      may={wanted !== null && earlier.isSuccess}
      error={save.error ?? earlier.error}
      submit={() => save.mutate(wanted?.value ?? null)}
      close={close}
    >
      <Text size="sm">What is read twice is merged where its table has a key.</Text>
      {lanes.length > 1 && (
        <SegmentedControl
          size="xs"
          aria-label="Which reading"
          value={lane}
          onChange={(value) => {
            setLane(value as typeof lane);
            setText(null);
          }}
          data={[
            { value: 'incremental', label: 'What is new' },
            { value: 'historical', label: 'History' },
          ]}
        />
      )}
      <JsonInput
        label="Position"
        description="As the source gave it. Empty: from the beginning"
        autosize
        minRows={3}
        maxRows={12}
        classNames={{ input: 'mono' }}
        value={text}
        error={wanted ? null : 'This is no JSON yet.'}
        onChange={setText}
      />
      {earlier.data && earlier.data.length > 0 && (
        <section className="card" aria-label="Earlier positions">
          {earlier.data.slice(0, 8).map((one, index) => (
            <button key={index} type="button" className="choice" onClick={() => setText(pretty(one.cursor))}>
              <Text size="sm" flex={1} truncate className="mono">
                {one.cursor === null ? 'the beginning' : JSON.stringify(one.cursor)}
              </Text>
              <Text size="xs" c="dimmed" component="span">
                {one.run === null ? 'set by hand' : `job #${one.run}`} · <Ago at={one.committed_at} />
              </Text>
            </button>
          ))}
        </section>
      )}
      <AppendAgain error={save.error} value={again} change={setAgain} />
    </Ask>
  );
}

interface SinceProps {
  pipeline: string;
  names: readonly string[];
  /** What came of it, where it was asked of several. */
  settled?: (outcome: Outcome) => void;
  close: () => void;
}

/** Objects are read from where they were at a moment. */
export function Since({ pipeline, names, settled: told, close }: SinceProps) {
  const [written, write] = useState('');
  const [again, setAgain] = useState(false);
  const stale = useStale(pipeline);
  const moment = new Date(`${written}Z`);
  const known = !Number.isNaN(moment.getTime());
  const save = useMutation({
    mutationFn: async () => {
      const found = await body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/positions/at', {
          params: { path: { pipeline } },
          body: { time: moment.toISOString(), objects: [...names], append_again: again },
        }),
      );
      const refused = found.flatMap(({ object, problem }) => (problem ? [{ name: object, problem }] : []));
      const problems = refused.map(({ problem }) => new Problem(0, problem));
      const doubled = problems.find(({ code }) => code === WOULD_DOUBLE);
      if (refused.length === names.length) throw doubled ?? problems[0];
      return { ok: found.filter((one) => !one.problem).map((one) => one.object), refused, doubled };
    },
    onSuccess: ({ doubled, ...outcome }) => {
      // Those that refused are still chosen: of them it is asked on.
      if (!doubled) close();
      done(
        `${outcome.ok.length === 1 ? `${outcome.ok[0]} is` : `${some(outcome.ok.length, 'object')} are`} read from there on.`,
      );
      told?.(outcome);
    },
    onSettled: stale,
  });
  const refusal = save.error ?? save.data?.doubled ?? null;
  return (
    <Ask
      title={`Read ${names.length === 1 ? names[0] : some(names.length, 'object')} from a time on`}
      verb="Read from there on"
      busy={save.isPending}
      may={known}
      error={refusal}
      submit={() => save.mutate()}
      close={close}
    >
      <Text size="sm">
        What was read since then comes again, and merges by its key. Where nothing had been read by then, all
        is read from its beginning. An object whose rows are appended is refused where they would be doubled.
      </Text>
      <TextInput
        type="datetime-local"
        step="any"
        label="Time, in UTC"
        required
        data-autofocus
        w={240}
        value={written}
        onChange={(event) => write(event.currentTarget.value)}
      />
      {known && (
        <Text size="sm" c="dimmed" component="div">
          <Ago at={moment.toISOString()} />
        </Text>
      )}
      <AppendAgain error={refusal} value={again} change={setAgain} />
    </Ask>
  );
}

interface ModeProps {
  pipeline: string;
  names: readonly string[];
  /** What is kept of the one object. */
  kept: unknown;
  /** What came of it, where it was asked of several. */
  settled?: (outcome: Outcome) => void;
  close: () => void;
}

/** How objects of a database are asked for what is new. */
export function Mode({ pipeline, names, kept, settled: told, close }: ModeProps) {
  const [config, setConfig] = useState(() => queryModeOf(kept));
  const stale = useStale(pipeline);
  const called = (those: readonly string[]) =>
    those.length === 1 ? `${those[0]} is` : `${some(those.length, 'object')} are`;
  const ask = (object: string) =>
    body(
      api.PUT('/api/millrace/v1/pipelines/{pipeline}/objects/{object}/query-mode', {
        params: { path: { pipeline, object } },
        body: { config: askedMode(config) },
      }),
    );
  const save = useMutation({
    mutationFn: async () => {
      const outcome = await each(names, ask);
      const [first] = outcome.refused;
      // Where none takes it, what is wrong is said beside what was typed.
      if (outcome.ok.length === 0 && first?.error) throw first.error;
      return outcome;
    },
    onSuccess: (outcome) => {
      close();
      done(`${called(outcome.ok)} queried so from the next run on.`);
      told?.(outcome);
    },
    onSettled: stale,
  });
  return (
    <Ask
      title={`How ${called(names)} queried`}
      verb="Query it so"
      busy={save.isPending}
      may={isWhole(config)}
      error={save.error}
      submit={() => save.mutate()}
      close={close}
    >
      <QueryModeInput value={config} change={setConfig} />
    </Ask>
  );
}

/** An object is read with its pipeline, or by a schedule of its own. */
function Own({ pipeline, object, close }: Props) {
  const [timing, setTiming] = useState<Timing>(() => timingOf(object.schedule));
  const save = useReversible<Timing, unknown>({
    ask: (to) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/objects/{object}/schedule', {
          params: { path: { pipeline, object: object.name } },
          body: asked(to),
        }),
      ),
    said: (_, to) =>
      to.how === 'demand'
        ? `${object.name} is read with its pipeline.`
        : `${object.name} has a schedule of its own.`,
    after: close,
    stale: ['objects', 'jobs', 'pipelines'],
  });
  return (
    <Ask
      title={`When ${object.name} is read`}
      verb="Save"
      busy={save.isPending}
      error={save.error}
      submit={() => save.mutate({ to: timing, from: timingOf(object.schedule) })}
      close={close}
    >
      <ScheduleInput value={timing} change={setTiming} demand="With its pipeline" />
    </Ask>
  );
}
