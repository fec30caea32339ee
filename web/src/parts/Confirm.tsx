import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { ErrorNote } from './ErrorNote';

interface Props {
  title: string;
  /** What is lost, and what stays. */
  children: ReactNode;
  verb: string;
  /** What must be typed, where it cannot be undone. */
  typed?: string;
  harmless?: boolean;
  act: () => Promise<unknown>;
  close: () => void;
}

/** A question before something that cannot be taken back lightly. */
export function Confirm({ title, children, verb, typed, harmless = false, act, close }: Props) {
  const [said, say] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      close();
    } catch (cause) {
      setError(cause as Error);
      setBusy(false);
    }
  };
  return (
    <Modal
      opened
      onClose={close}
      title={
        <Text fw={600} tabIndex={-1} data-autofocus={typed ? undefined : true} className="heard">
          {title}
        </Text>
      }
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <Stack gap="md">
          <Text component="div">{children}</Text>
          {typed && (
            <TextInput
              label={
                <>
                  Type <b>{typed}</b> to go on
                </>
              }
              value={said}
              onChange={(event) => say(event.currentTarget.value)}
              data-autofocus
              autoComplete="off"
            />
          )}
          <ErrorNote error={error} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              {harmless ? 'Cancel' : 'Keep'}
            </Button>
            <Button
              type="submit"
              color={harmless ? undefined : 'red'}
              loading={busy}
              disabled={typed !== undefined && said !== typed}
            >
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
