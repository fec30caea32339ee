import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import type { Kind } from './questions';

interface Props {
  pipeline: string;
  kind: Kind;
  text: string;
  deployed: Schemas['Transformation'] | null;
  failedRows: number;
  close: () => void;
}

/** The last question before rows go through the draft. */
export function Deploy({ pipeline, kind, text, deployed, failedRows, close }: Props) {
  const client = useQueryClient();
  const [reason, say] = useState('');
  const deploy = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/transformation', {
          params: { path: { pipeline } },
          body: { kind, text, reason: reason || null },
        }),
      ),
    onSuccess: (version) => {
      void client.invalidateQueries({ queryKey: ['transformation', pipeline] });
      done(`Version ${version.version} is deployed.`);
      close();
    },
  });
  const other = deployed && deployed.kind !== 'none' && deployed.kind !== kind;
  return (
    <Modal
      opened
      onClose={close}
      title={<Text fw={600}>Deploy the draft?</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          deploy.mutate();
        }}
      >
        <Stack gap="md">
          <Text>
            Rows that are read from now on go through it. Loaded rows stay as they are.
            {other &&
              ` It takes the place of the ${deployed.kind === 'python' ? 'Python' : 'blocks'} that are deployed now.`}
            {failedRows > 0 && ' Events that failed in the transformation try again with the next run.'}
          </Text>
          <TextInput
            label="Why"
            description="Kept with the version."
            value={reason}
            maxLength={10_000}
            onChange={(event) => say(event.currentTarget.value)}
            data-autofocus
          />
          <ErrorNote error={deploy.error} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep editing
            </Button>
            <Button type="submit" loading={deploy.isPending}>
              Deploy
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
