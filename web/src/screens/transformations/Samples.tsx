import { ActionIcon, Button, Center, Group, SegmentedControl, Select, Skeleton, Text } from '@mantine/core';
import { IconChevronLeft, IconChevronRight, IconFlask } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useState } from 'react';
import { useAddress } from '~/parts/address';
import { ErrorNote } from '~/parts/ErrorNote';
import { count } from '~/words/numbers';
import { Compared } from './Compared';
import { type Event, samplesQuery, shown, type Tried } from './questions';
import { Impact, Result } from './Result';

const Code = lazy(() => import('~/parts/Code'));

export interface Chosen {
  object: string | null;
  failed: boolean;
  /** Events of that choice, and which of them is seen. */
  events: Event[];
  index: number;
  /** The event as somebody wrote it, in place of the sample. */
  written: string | null;
}

/** Which events of the pipeline a draft is tried on, as the address says: `events=failed&object=NAME&event=3`. */
export function useChosen(pipeline: string) {
  const [asked, set] = useAddress();
  const failed = asked.get('events') === 'failed';
  const index = Math.max(1, Math.trunc(Number(asked.get('event'))) || 1) - 1;
  const [written, write] = useState<string | null>(null);
  const samples = useQuery(samplesQuery(pipeline, failed));
  const names = [...new Set(samples.data?.map((one) => one.event_name))];
  const named = asked.get('object');
  // Of an event type that an address names, there may be no samples any more.
  const object = named !== null && samples.data && !names.includes(named) ? null : named;
  const events = samples.data?.filter((one) => object === null || one.event_name === object) ?? [];
  const chosen: Chosen = {
    object,
    failed,
    events,
    index: Math.min(index, Math.max(0, events.length - 1)),
    written,
  };
  return {
    chosen,
    names,
    samples,
    write: (text: string | null) => write(text),
    setIndex: (next: number) => {
      set({ event: next === 0 ? null : String(next + 1) });
      write(null);
    },
    setObject: (next: string | null) => {
      set({ object: next, event: null });
      write(null);
    },
    setFailed: (next: boolean) => {
      set({ events: next ? 'failed' : null, object: null, event: null });
      write(null);
    },
  };
}

interface Props {
  state: ReturnType<typeof useChosen>;
  tried: Tried | null;
  error: Error | null;
  busy: boolean;
  test: () => void;
}

/** The right side: an event of the pipeline, what becomes of it, and what becomes of the tables. */
export function Samples({ state, tried, error, busy, test }: Props) {
  const { chosen, names, samples } = state;
  const event = tried?.events[chosen.written === null ? chosen.index : 0] ?? chosen.events[chosen.index];
  const outcome = tried?.outcomes[chosen.written === null ? chosen.index : 0];
  const failedCount = tried?.outcomes.filter((one) => one.error).length ?? 0;
  const [text, setText] = useState('');
  const editing = chosen.written !== null;
  useEffect(() => setText(chosen.written ?? ''), [chosen.written]);
  return (
    <section className="card pane" aria-label="Sample and result">
      <Group className="pane-head" gap={6}>
        <SegmentedControl
          size="xs"
          aria-label="Which events"
          value={chosen.failed ? 'failed' : 'samples'}
          onChange={(value) => state.setFailed(value === 'failed')}
          data={[
            { value: 'samples', label: 'Samples' },
            { value: 'failed', label: 'Failed' },
          ]}
        />
        <Select
          size="xs"
          w={140}
          aria-label="Event type"
          placeholder="All event types"
          clearable
          value={chosen.object}
          onChange={state.setObject}
          data={names}
        />
        <div style={{ flex: 1 }} />
        {chosen.events.length > 0 && !editing && (
          <Group gap={0} wrap="nowrap">
            <ActionIcon
              size={28}
              aria-label="Event before"
              disabled={chosen.index === 0}
              onClick={() => state.setIndex(chosen.index - 1)}
            >
              <IconChevronLeft size={16} />
            </ActionIcon>
            <Text size="xs" c="dimmed" className="figures">
              {count(chosen.index + 1)} of {count(chosen.events.length)}
            </Text>
            <ActionIcon
              size={28}
              aria-label="Next event"
              disabled={chosen.index >= chosen.events.length - 1}
              onClick={() => state.setIndex(chosen.index + 1)}
            >
              <IconChevronRight size={16} />
            </ActionIcon>
          </Group>
        )}
        <Button
          size="compact-xs"
          variant="default"
          onClick={() => state.write(editing ? null : event ? shown(event) : NEW)}
        >
          {editing ? 'Use the sample' : 'Edit event'}
        </Button>
      </Group>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <section className="pane-body" aria-label="Fields" tabIndex={0}>
        {editing && (
          <div style={{ borderBottom: '1px solid var(--border)' }}>
            <Suspense fallback={<Skeleton height={160} />}>
              <Code
                label="Event"
                language="json"
                value={text}
                change={setText}
                height="180px"
                run={() => state.write(text)}
              />
            </Suspense>
            <Group p={8} justify="flex-end">
              <Button size="compact-sm" variant="light" onClick={() => state.write(text)}>
                Try this event
              </Button>
            </Group>
          </div>
        )}
        {error && (
          <div style={{ padding: 12 }}>
            <ErrorNote error={error} />
          </div>
        )}
        {samples.error && (
          <div style={{ padding: 12 }}>
            <ErrorNote error={samples.error} again={() => void samples.refetch()} />
          </div>
        )}
        {!error && outcome && event && (
          <>
            {failedCount > 0 && tried && tried.outcomes.length > 1 && (
              <Text size="sm" c="var(--failed)" px={12} pt={10}>
                {count(failedCount)} of {count(tried.outcomes.length)} events fail
                {!outcome.error && (
                  <Button
                    size="compact-xs"
                    variant="subtle"
                    ml={6}
                    onClick={() => state.setIndex(tried.outcomes.findIndex((one) => one.error))}
                  >
                    Show the first
                  </Button>
                )}
              </Text>
            )}
            <div style={outcome.error ? { padding: 12 } : undefined}>
              <Result event={event} outcome={outcome} />
            </div>
            {outcome.error && <Compared before={null} after={event} />}
          </>
        )}
        {!error && !outcome && event && !editing && (
          <>
            <Text size="sm" fw={600} px={12} pt={10}>
              {event.event_name}
            </Text>
            <Compared before={null} after={event} />
          </>
        )}
        {samples.isPending && <Skeleton height={200} m={12} width="auto" />}
        {samples.data && !event && !editing && (
          <Center p="xl" ta="center">
            <Text c="dimmed" size="sm">
              {chosen.failed
                ? 'No event failed in the transformation. Choose samples, or write an event of your own.'
                : 'No samples yet: the first run keeps some of each event type. Until then, write an event of your own.'}
            </Text>
          </Center>
        )}
      </section>
      {tried && !error ? (
        <Impact effects={tried.effects} printed={tried.printed} />
      ) : (
        <div className="pane-foot">
          <Group justify="space-between">
            <Text size="sm" c="dimmed">
              Test shows what becomes of the events, and of the tables.
            </Text>
            <Button
              size="compact-sm"
              variant="light"
              leftSection={<IconFlask size={14} />}
              loading={busy}
              onClick={test}
            >
              Test
            </Button>
          </Group>
        </div>
      )}
    </section>
  );
}

const NEW = JSON.stringify({ event_name: 'orders', properties: { id: 1 } }, null, 2);
