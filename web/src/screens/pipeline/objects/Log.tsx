import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'react-router';
import { api, body, Problem } from '~/api/client';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { AppendAgain } from './Change';

/** How far the one log was read in which the changes of all objects stand; nothing where none is followed. */
export function Log({ pipeline, edits }: { pipeline: string; edits: boolean }) {
  const client = useQueryClient();
  const params = { path: { pipeline } };
  const queryKey = ['objects', pipeline, 'log'];
  const [text, type] = useState<string | null>(null);
  const [again, setAgain] = useState(false);
  const log = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines/{pipeline}/log-position', { params })),
  });
  const move = useMutation({
    mutationFn: (position: string) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/log-position', {
          params,
          body: { position, append_again: again },
        }),
      ),
    onSuccess: ({ position }) => {
      type(null);
      setAgain(false);
      done(`The log is read from ${position} on`);
    },
    onSettled: () => client.invalidateQueries({ queryKey }),
  });
  const close = () => {
    type(null);
    setAgain(false);
    move.reset();
  };
  if (log.error && !(log.error instanceof Problem && log.error.code === 'NOT_LOG_BASED')) {
    return (
      <div style={{ marginBottom: 'var(--mantine-spacing-sm)' }}>
        <ErrorNote error={log.error} again={() => void log.refetch()} />
      </div>
    );
  }
  if (!log.data) return null;
  const { position, committed_at, run } = log.data;
  return (
    <Group className="card" px="md" py={8} mb="sm" gap="sm" role="region" aria-label="Log">
      <Text size="sm" flex={1} component="div" style={{ overflowWrap: 'anywhere' }}>
        The log was read up to <span className="mono">{position}</span>, <Ago at={committed_at} />
        {run !== null && (
          <>
            {' '}
            by job <Link to={at.job(pipeline, run)}>#{run}</Link>
          </>
        )}
        .
      </Text>
      {edits && (
        <Button size="compact-sm" variant="default" onClick={() => type(position)}>
          Change its position
        </Button>
      )}
      <Modal
        opened={text !== null}
        onClose={close}
        title={<Text fw={600}>Where the log is read from</Text>}
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (text?.trim()) move.mutate(text.trim());
          }}
        >
          <Stack gap="md">
            <Text size="sm">
              What is read twice is merged where its table has a key; what is passed over is not read.
            </Text>
            <TextInput
              label="Position"
              description="An LSN; a file with a position (mysql-bin.000042:4711), or a GTID; a resume token, or a time"
              classNames={{ input: 'mono' }}
              required
              data-autofocus
              value={text ?? ''}
              onChange={(event) => type(event.currentTarget.value)}
            />
            <AppendAgain error={move.error} value={again} change={setAgain} />
            <ErrorNote error={move.error} />
            <Group justify="flex-end" gap="xs">
              <Button variant="default" onClick={close}>
                Keep it as it is
              </Button>
              <Button type="submit" loading={move.isPending} disabled={!text?.trim()}>
                Read from there on
              </Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </Group>
  );
}
