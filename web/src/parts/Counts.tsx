import { Group, Text, UnstyledButton } from '@mantine/core';
import { count } from '~/words/numbers';
import { status } from '~/words/statuses';
import { ToneIcon } from './StatusBadge';

interface Props<T extends string> {
  counts: Partial<Record<T, number>>;
  /** In which order they stand. */
  order: readonly T[];
  chosen: readonly string[];
  choose: (name: T | null) => void;
}

/** "12 running well · 1 needs a look": the answer in short, and the way to those. */
export function Counts<T extends string>({ counts, order, chosen, choose }: Props<T>) {
  const shown = order.filter((one) => counts[one]);
  if (shown.length === 0) return null;
  return (
    <Group gap="md" className="figures">
      {shown.map((name) => {
        const { tone, word } = status(name);
        const on = chosen.includes(name);
        return (
          <UnstyledButton
            key={name}
            className="count"
            aria-pressed={on}
            onClick={() => choose(on ? null : name)}
          >
            <ToneIcon tone={tone} size={14} />
            <Text size="sm">
              {count(counts[name] ?? 0)} {told(word, counts[name] ?? 0)}
            </Text>
          </UnstyledButton>
        );
      })}
    </Group>
  );
}

/** "1 needs a look", "2 need a look". */
const told = (word: string, n: number): string =>
  n === 1 ? word.toLowerCase() : word.toLowerCase().replace(/^needs /, 'need ');
