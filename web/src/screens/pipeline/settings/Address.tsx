import { Button, Group, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { Ago } from '~/parts/Ago';
import { Confirm } from '~/parts/Confirm';
import { Copyable } from '~/parts/Copy';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { hookQuery } from '../here';

/** Where other systems send what the pipeline reads. The address opens like a password, and is shown once. */
export function Address({ pipeline, edits }: { pipeline: string; edits: boolean }) {
  const client = useQueryClient();
  const params = { path: { pipeline } };
  const hook = useQuery(hookQuery(pipeline));
  const [made, show] = useState<Schemas['NewHook'] | null>(null);
  const [asking, ask] = useState<'another' | 'none' | null>(null);
  const settled = () => client.invalidateQueries({ queryKey: hookQuery(pipeline).queryKey });
  const make = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/pipelines/{pipeline}/hook', { params })),
    onSuccess: show,
    onSettled: settled,
  });
  const since = hook.data?.created_at;
  return (
    <Stack>
      <ErrorNote error={hook.error ?? make.error} again={() => void hook.refetch()} />
      {hook.data && !made && (
        <Text size="sm">
          {since ? (
            <>
              It has an address since <Ago at={since} />. Nobody sees it again; whoever lost it makes another
              one.
            </>
          ) : (
            'It has no address yet: nothing can be sent to it.'
          )}
        </Text>
      )}
      {made && (
        <>
          <Text size="sm">
            Keep it like a password: it is shown this once. Send JSON there, one object or an array of them.
          </Text>
          <Copyable text={`${window.location.origin}${made.path}`} label="the address" />
          <Text size="sm" c="dimmed">
            Try it:
          </Text>
          <Copyable
            text={`curl ${window.location.origin}${made.path} --json '{"event_name": "signed_up", "n": 1}'`}
            label="the command"
          />
        </>
      )}
      {edits && hook.data && (
        <Group gap="xs">
          <Button
            variant={since ? 'default' : 'filled'}
            loading={make.isPending}
            onClick={() => (since ? ask('another') : make.mutate())}
          >
            {since ? 'Make another address' : 'Make its address'}
          </Button>
          {since && (
            <Button variant="subtle" color="red" onClick={() => ask('none')}>
              Take it away
            </Button>
          )}
        </Group>
      )}
      {asking === 'another' && (
        <Confirm
          title="Make another address?"
          verb="Make another address"
          close={() => ask(null)}
          act={() => make.mutateAsync()}
        >
          The one of today is good for nothing then: whoever sends to it is refused. What was sent is still
          loaded.
        </Confirm>
      )}
      {asking === 'none' && (
        <Confirm
          title="Take the address away?"
          verb="Take it away"
          close={() => ask(null)}
          act={async () => {
            await body(api.DELETE('/api/millrace/v1/pipelines/{pipeline}/hook', { params }));
            show(null);
            done(`${pipeline} has no address any more`);
            await settled();
          }}
        >
          Whoever sends to it is refused from now on. What was sent is still loaded.
        </Confirm>
      )}
    </Stack>
  );
}
