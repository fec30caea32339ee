import { CloseButton, Group, Paper, Stack, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { status } from '~/words/statuses';
import { capital } from './ErrorNote';
import { ToneIcon } from './StatusBadge';
import { Told } from './Told';

/** What the test of a connection found, step by step. */
export function Verdicts({ checked, close }: { checked: Schemas['Checked']; close?: () => void }) {
  return (
    <Paper className="card" p="md" role="status" aria-label="Findings of the test">
      <Group justify="space-between" mb="xs">
        <Text fw={600}>{checked.passed ? 'The connection works' : 'The connection does not work yet'}</Text>
        {close && <CloseButton aria-label="Close" onClick={close} />}
      </Group>
      <Stack gap={6}>
        {checked.verdicts.map((one, index) => (
          <Group key={index} gap="xs" wrap="nowrap" align="flex-start">
            <span style={{ paddingTop: 2 }}>
              <ToneIcon tone={status(one.state).tone} />
            </span>
            <div>
              <Text size="sm">
                <b>{capital(one.step)}:</b> <Told text={one.message} />
              </Text>
              {one.hint && (
                <Text size="sm" c="dimmed">
                  <Told text={one.hint} />
                </Text>
              )}
            </div>
          </Group>
        ))}
      </Stack>
    </Paper>
  );
}
