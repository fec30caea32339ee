import { Group, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { Schemas } from '~/api/client';
import { at } from '~/app/places';
import { count } from '~/words/numbers';
import { leftOut } from '~/words/rows';

interface Term {
  word: string;
  rows: number;
  /** Where those that failed are: the pipeline's, of every job. */
  failed?: string;
}

/** read + created = loaded + filtered + failed + waiting: what became of every row of a job, and why some were left out. */
export function Balance({ of, pipeline }: { of: Schemas['Balance']; pipeline: string }) {
  const left: Term[] = [{ word: 'read', rows: of.read }];
  if (of.created !== 0) left.push({ word: 'made on the way', rows: of.created });
  const right: Term[] = [{ word: 'loaded', rows: of.loaded }];
  if (of.filtered_rows > 0) right.push({ word: 'left out on purpose', rows: of.filtered_rows });
  if (of.rejected_rows > 0)
    right.push({ word: 'failed', rows: of.rejected_rows, failed: at.pipeline(pipeline, 'failed-events') });
  if (of.dropped > 0) right.push({ word: 'given up by a fresh start', rows: of.dropped });
  if (of.waiting > 0) right.push({ word: 'waiting', rows: of.waiting });
  const reasons = Object.entries(of.filtered);
  return (
    <>
      <Group gap={8} className="figures balance" role="group" aria-label="Balance">
        {left.map((one, index) => (
          <Summand key={one.word} sign={index > 0 ? '+' : null} {...one} />
        ))}
        {right.map((one, index) => (
          <Summand key={one.word} sign={index > 0 ? '+' : '='} {...one} />
        ))}
      </Group>
      {reasons.length > 0 && (
        <Text size="sm" c="dimmed" className="figures">
          Left out: {reasons.map(([why, rows]) => `${count(rows)} ${leftOut(why)}`).join(', ')}
        </Text>
      )}
    </>
  );
}

function Summand({ sign, word, rows, failed }: Term & { sign: string | null }) {
  return (
    <>
      {sign && (
        <Text size="lg" c="dimmed">
          {sign}
        </Text>
      )}
      <Text c={failed && 'var(--failed)'}>
        <Text span fw={600} size="lg">
          {count(rows)}
        </Text>{' '}
        {failed ? (
          <Link to={failed} className="failed" title="All failed events of the pipeline">
            {word}
          </Link>
        ) : (
          word
        )}
      </Text>
    </>
  );
}
