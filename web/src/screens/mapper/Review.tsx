import { Alert, Button, Code, Group, Modal, Skeleton, Stack, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body } from '~/api/client';
import { ErrorNote } from '~/parts/ErrorNote';
import { done as told } from '~/parts/notices';
import { some } from '~/words/numbers';
import type { Edits, Plan } from './questions';

interface Props {
  pipeline: string;
  eventType: string;
  asked: Edits | { auto: 'on' | 'off' };
  close: () => void;
  done: () => void;
}

/** What the changes make of the mapping and of the table, before they are made. */
export function Review({ pipeline, eventType, asked, close, done }: Props) {
  const client = useQueryClient();
  const [reason, say] = useState('');
  const change = (dry_run: boolean) =>
    body(
      api.POST('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}', {
        params: { path: { pipeline, event_type: eventType } },
        body: {
          rename: {},
          types: {},
          free: [],
          ignore: [],
          unignore: [],
          columns: {},
          unmap: false,
          ...asked,
          dry_run,
          reason: reason || null,
        },
      }),
    );
  const plan = useQuery({
    queryKey: ['mappings', pipeline, 'plan', eventType, asked],
    queryFn: () => change(true),
    staleTime: 0,
    gcTime: 0,
    retry: false,
  });
  const apply = useMutation({
    mutationFn: () => change(false),
    onSuccess: (made) => {
      done();
      close();
      told(`Version ${made.version} of the mapping is made.`);
      void client.invalidateQueries({ queryKey: ['mappings', pipeline] });
    },
  });
  return (
    <Modal
      opened
      onClose={close}
      size={680}
      title={<Text fw={600}>Change the mapping?</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          apply.mutate();
        }}
      >
        <Stack gap="md">
          <ErrorNote error={plan.error ?? apply.error} />
          {plan.isPending && <Skeleton height={120} />}
          {plan.data && <PlanShown plan={plan.data} />}
          {plan.data?.changed && (
            <TextInput
              label="Why"
              description="Kept with the version."
              value={reason}
              onChange={(event) => say(event.currentTarget.value)}
            />
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep editing
            </Button>
            <Button type="submit" loading={apply.isPending} disabled={!plan.data?.changed}>
              Apply
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

export function PlanShown({ plan }: { plan: Plan }) {
  return (
    <>
      {!plan.changed && <Text size="sm">Nothing would change.</Text>}
      <div>
        {plan.differences.map((one, index) => (
          <Text key={index} size="sm">
            {one.what}: {one.before !== null && <s className="mono">{one.before}</s>}{' '}
            {one.after !== null && <b className="mono">{one.after}</b>}
          </Text>
        ))}
      </div>
      {plan.warnings.map((one) => (
        <Alert
          key={one.code + (one.field ?? '')}
          color="orange"
          variant="light"
          icon={<IconAlertTriangle size={18} />}
        >
          <Text size="sm" c="var(--mantine-color-text)">
            {one.field && <span className="mono">{one.field}: </span>}
            {one.message} {one.hint}
          </Text>
        </Alert>
      ))}
      {plan.unasked ? (
        <Text size="sm" c="dimmed">
          What the table becomes could not be asked: {plan.unasked}
        </Text>
      ) : plan.ddl && plan.ddl.length > 0 ? (
        <div>
          <Text size="sm" fw={600} mb={4}>
            {plan.at_once ? 'It runs at once' : 'The next load runs'}
          </Text>
          <Code block>{plan.ddl.join(';\n')}</Code>
        </div>
      ) : (
        plan.changed && (
          <Text size="sm" c="dimmed">
            The table stays as it is.
          </Text>
        )
      )}
      {plan.waiting_rows > 0 && (
        <Text size="sm" c="dimmed">
          {some(plan.waiting_rows, 'row')} wait on the stage; they are loaded as they were staged.
        </Text>
      )}
    </>
  );
}
