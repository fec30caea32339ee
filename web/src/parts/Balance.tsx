import { Group, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { count } from '~/words/numbers';

/** read + created = loaded + filtered + failed + waiting: what became of every row. */
export function Balance({ of }: { of: Schemas['Balance'] }) {
  const left: [string, number][] = [['read', of.read]];
  if (of.created !== 0) left.push(['made on the way', of.created]);
  const right: [string, number][] = [['loaded', of.loaded]];
  if (of.filtered_rows > 0) right.push(['left out on purpose', of.filtered_rows]);
  if (of.rejected_rows > 0) right.push(['failed', of.rejected_rows]);
  if (of.dropped > 0) right.push(['given up by a fresh start', of.dropped]);
  if (of.waiting > 0) right.push(['waiting', of.waiting]);
  return (
    <Group gap={8} className="figures balance" role="group" aria-label="Balance">
      {left.map((one, index) => (
        <Term key={one[0]} sign={index > 0 ? '+' : null} term={one} />
      ))}
      {right.map((one, index) => (
        <Term key={one[0]} sign={index > 0 ? '+' : '='} term={one} />
      ))}
    </Group>
  );
}

function Term({ sign, term: [word, rows] }: { sign: string | null; term: [string, number] }) {
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
        {word}
      </Text>
    </>
  );
}
