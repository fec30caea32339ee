import { Text } from '@mantine/core';
import { Fragment } from 'react';
import type { Schemas } from '~/api/client';
import { Ago, useNow } from '~/parts/Ago';
import { kind, trigger } from '~/words/jobs';
import { duration } from '~/words/times';
import { type Stage, stagesOf } from './stages';

const WORDS: Record<Stage['name'], string> = { waited: 'Waiting', read: 'Reading', loaded: 'Loading' };
const COLOURS: Record<Stage['name'], string> = {
  waited: 'var(--quiet)',
  read: 'var(--series-ingested)',
  loaded: 'var(--series-loaded)',
};

/** The stages of a job in their order, and what took the time. */
export function Timeline({ job }: { job: Schemas['Job'] }) {
  const stages = stagesOf(job, useNow());
  const moments: [string, string | null][] = [
    ['Asked for', job.requested_at],
    ['Began', job.began_at],
    ['All is read', job.ingested_at],
    ['Ended', job.run.ended_at],
  ];
  return (
    <>
      <ol className="stages" aria-label="Stages">
        {stages.map(({ name, ms, going }) => (
          <li key={name} style={{ flexGrow: ms }}>
            <span aria-hidden className="bar" style={{ background: COLOURS[name] }} />
            <Text size="xs" span className="figures">
              {WORDS[name]}{' '}
              <Text span inherit c="dimmed">
                {duration(ms)}
                {going && ' so far'}
              </Text>
            </Text>
          </li>
        ))}
      </ol>
      <dl className="facts">
        <dt>What</dt>
        <dd>
          {kind(job.run.kind)}
          {job.trigger && ` · ${trigger(job.trigger).toLowerCase()}`}
        </dd>
        {moments
          .filter(([, at]) => at !== null)
          .map(([word, at]) => (
            <Fragment key={word}>
              <dt>{word}</dt>
              <dd>
                <Ago at={at} />
              </dd>
            </Fragment>
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
    </>
  );
}
