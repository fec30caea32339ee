import { Group, Paper, Stack, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { capital } from '~/parts/ErrorNote';
import { ToneIcon } from '~/parts/StatusBadge';
import { status } from '~/words/statuses';

/** What the test of a connection found, step by step. */
export function Verdicts({ checked }: { checked: Schemas['Checked'] }) {
  return (
    <Paper className="card" p="md" role="status" aria-label="Findings of the test">
      <Text fw={600} mb="xs">
        {checked.passed ? 'The connection works' : 'The connection does not work yet'}
      </Text>
      <Stack gap={6}>
        {checked.verdicts.map((one, index) => (
          <Group key={index} gap="xs" wrap="nowrap" align="flex-start">
            <span style={{ paddingTop: 2 }}>
              <ToneIcon tone={status(one.state).tone} />
            </span>
            <div>
              <Text size="sm">
                <b>{capital(one.step)}:</b> {one.message}
              </Text>
              {one.hint && (
                <Text size="sm" c="dimmed">
                  {one.hint}
                </Text>
              )}
            </div>
          </Group>
        ))}
      </Stack>
    </Paper>
  );
}
