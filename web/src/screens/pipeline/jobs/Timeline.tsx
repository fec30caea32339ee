import { Group, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { Ago } from '~/parts/Ago';
import { kind, trigger } from '~/words/jobs';
import { duration } from '~/words/times';

/** The stages of a job in their order, and what took the time. */
export function Timeline({ job }: { job: Schemas['Job'] }) {
  const moments: [string, string | null][] = [
    ['Asked for', job.requested_at],
    ['Began', job.began_at],
    ['All is read', job.ingested_at],
    ['Ended', job.run.ended_at],
  ];
  return (
    <dl className="facts">
      <dt>What</dt>
      <dd>
        {kind(job.run.kind)}
        {job.trigger && ` · ${trigger(job.trigger).toLowerCase()}`}
      </dd>
      {moments
        .filter(([, at]) => at !== null)
        .map(([word, at]) => (
          <Group key={word} component="div" style={{ display: 'contents' }}>
            <dt>{word}</dt>
            <dd>
              <Ago at={at} />
            </dd>
          </Group>
        ))}
      {job.duration_ms !== null && (
        <>
          <dt>Took</dt>
          <dd>{duration(job.duration_ms)}</dd>
        </>
      )}
      {job.latency && (
        <>
          <dt>From read to loaded</dt>
          <dd>
            {duration(job.latency.mean_ms)}{' '}
            <Text span c="dimmed">
              on average, {duration(job.latency.max_ms)} at most
            </Text>
          </dd>
        </>
      )}
    </dl>
  );
}
