import { CloseButton, Group, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { ErrorNote } from '~/parts/ErrorNote';
import { StatusBadge } from '~/parts/StatusBadge';

interface Props {
  checked: Schemas['Checked'] | undefined;
  error: Error | null;
  close: () => void;
}

/** What the test of a connection found, step by step. */
export function Verdicts({ checked, error, close }: Props) {
  return (
    <div className="card" role="status" style={{ padding: 16, marginBottom: 20 }}>
      <Group justify="space-between" mb={8}>
        <Text fw={600}>{checked?.passed ? 'The connection works' : 'The connection does not work yet'}</Text>
        <CloseButton aria-label="Close" onClick={close} />
      </Group>
      <ErrorNote error={error} />
      {checked?.verdicts.map((one) => (
        <Group key={one.step} gap="md" py={3} align="flex-start" wrap="nowrap">
          <div style={{ width: 100, flex: 'none' }}>
            <StatusBadge name={one.state} />
          </div>
          <div>
            <Text size="sm">{one.message}</Text>
            {one.hint && (
              <Text size="sm" c="dimmed">
                {one.hint}
              </Text>
            )}
          </div>
        </Group>
      ))}
    </div>
  );
}
