import { Group, Text } from '@mantine/core';
import { Link } from 'react-router';
import type { Schemas } from '~/api/client';
import { at } from '~/app/places';
import { count } from '~/words/numbers';
import { leftOut } from '~/words/rows';

/** read + created = loaded + filtered + failed + waiting: what became of every row of a job, and why some were left out. */
export function Balance({ of, pipeline }: { of: Schemas['Balance']; pipeline: string }) {
  const left: [string, number][] = [['read', of.read]];
  if (of.created !== 0) left.push(['made on the way', of.created]);
  const right: [string, number][] = [['loaded', of.loaded]];
  if (of.filtered_rows > 0) right.push(['left out on purpose', of.filtered_rows]);
  if (of.rejected_rows > 0) right.push(['failed', of.rejected_rows]);
  if (of.dropped > 0) right.push(['given up by a fresh start', of.dropped]);
  if (of.waiting > 0) right.push(['waiting', of.waiting]);
  const reasons = Object.entries(of.filtered);
  return (
    <>
      <Group gap={8} className="figures balance" role="group" aria-label="Balance">
        {left.map((one, index) => (
          <Term key={one[0]} sign={index > 0 ? '+' : null} term={one} pipeline={pipeline} />
        ))}
        {right.map((one, index) => (
          <Term key={one[0]} sign={index > 0 ? '+' : '='} term={one} pipeline={pipeline} />
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

interface TermProps {
  sign: string | null;
  term: [string, number];
  pipeline: string;
}

function Term({ sign, term: [word, rows], pipeline }: TermProps) {
  return (
    <>
      {sign && (
        <Text size="lg" c="dimmed">
          {sign}
        </Text>
      )}
      <Text c={word === 'failed' ? 'var(--failed)' : undefined}>
        <Text span fw={600} size="lg">
          {count(rows)}
        </Text>{' '}
        {word === 'failed' ? (
          <Link to={at.pipeline(pipeline, 'failed-events')} className="failed">
            {word}
          </Link>
        ) : (
          word
        )}
      </Text>
    </>
  );
}
