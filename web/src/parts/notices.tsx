/** Short words on what was done, at the edge of the screen. */
import { Button, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconAlertTriangle, IconCheck } from '@tabler/icons-react';
import { Problem } from '~/api/client';
import { capital } from './ErrorNote';
import { Told } from './Told';

const CLOSE = { 'aria-label': 'Dismiss' };

/** It is done; `undo` takes it back, and where that fails, it is said why. Of a `matter` the last word stands alone. */
export function done(message: string, undo?: false | (() => unknown), matter?: string): void {
  if (matter !== undefined) notifications.hide(matter);
  const id = notifications.show({
    ...(matter !== undefined && { id: matter }),
    icon: <IconCheck size={16} />,
    color: 'teal',
    closeButtonProps: CLOSE,
    autoClose: undo ? 10_000 : 5000,
    message: (
      <Group justify="space-between" wrap="nowrap">
        <Text size="sm">{message}</Text>
        {undo && (
          <Button
            size="compact-sm"
            variant="subtle"
            onClick={() => {
              notifications.hide(id);
              Promise.resolve(undo()).catch(failed);
            }}
          >
            Undo
          </Button>
        )}
      </Group>
    ),
  });
}

/** It could not be done, and why. */
export function failed(error: Error): void {
  notifications.show({
    icon: <IconAlertTriangle size={16} />,
    color: 'red',
    closeButtonProps: CLOSE,
    autoClose: 12_000,
    title: <Told text={capital(error.message)} />,
    message: error instanceof Problem && error.fault.hint ? <Told text={error.fault.hint} /> : null,
  });
}
