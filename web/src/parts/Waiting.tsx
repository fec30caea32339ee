import { Text } from '@mantine/core';
import { count } from '~/words/numbers';

/** Rows that wait to be loaded: they catch the eye when there are some. */
export function Waiting({ rows }: { rows: number }) {
  if (!rows) return '0';
  return (
    <Text span c="var(--look)" fw={500} size="sm">
      {count(rows)}
    </Text>
  );
}
