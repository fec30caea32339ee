import { Alert, Anchor, Button, Group, List, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { Problem } from '~/api/client';
import { Told } from './Told';

interface Props {
  error: Error | null;
  /** What may be tried again. */
  again?: (() => void) | undefined;
}

/** What happened, why, and what to do: the words of the API. Nothing where there is no error. */
export function ErrorNote({ error, again }: Props) {
  if (error === null) return null;
  const fault = error instanceof Problem ? error.fault : null;
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle size={20} />} role="alert">
      <Text size="sm" fw={500} c="var(--mantine-color-text)">
        <Told text={capital(fault?.message ?? 'This page has a fault of its own.')} />
      </Text>
      {fault?.problems && (
        <List size="sm" mt={4}>
          {fault.problems.map((one, index) => (
            <List.Item key={index}>
              {one.field && <span className="mono">{one.field}: </span>}
              <Told text={`${one.message} ${one.hint ?? ''}`} />
            </List.Item>
          ))}
        </List>
      )}
      {(fault?.hint || !fault) && (
        <Text size="sm" mt={4} c="var(--mantine-color-text)">
          <Told text={fault?.hint ?? error.message} />
        </Text>
      )}
      <Group mt={8} gap="sm">
        {again && (
          <Button size="compact-sm" variant="default" onClick={again}>
            Try again
          </Button>
        )}
        {fault && (
          <Text size="xs" c="dimmed">
            <span className="mono">{fault.code}</span>
            {fault.field && ` at ${fault.field}`}
            {fault.request_id && ` · request ${fault.request_id.slice(0, 12)}`}
          </Text>
        )}
        {!fault && (
          <Anchor size="xs" href={window.location.href}>
            Load the page again
          </Anchor>
        )}
      </Group>
    </Alert>
  );
}

/** Messages of the API begin small, for they may stand after a colon. */
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
