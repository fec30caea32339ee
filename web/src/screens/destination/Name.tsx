import { Button, Group, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';

/** Another name for a destination. Its pipelines go on. */
export function Name({ name }: { name: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [wanted, want] = useState(name);
  const rename = useMutation({
    mutationFn: ({ from, to }: Record<'from' | 'to', string>) =>
      body(
        api.POST('/api/millrace/v1/destinations/{name}/rename', {
          params: { path: { name: from } },
          body: { to },
        }),
      ),
    onSuccess: (now, { from }) => {
      // Whoever takes it back may look at something else by then.
      if (window.location.pathname.startsWith(`${at.destination(from)}/`))
        navigate(`${at.destination(now.name)}/settings`, { replace: true });
      done(
        `${from} is called ${now.name} now.`,
        (): Promise<unknown> => rename.mutateAsync({ from: now.name, to: from }),
      );
      for (const noun of ['destinations', 'pipelines'])
        void client.invalidateQueries({
          queryKey: [noun],
          predicate: ({ queryKey }) => queryKey[1] !== from,
        });
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        rename.mutate({ from: name, to: wanted.trim() });
      }}
    >
      <Group align="flex-end">
        <TextInput
          label="Name"
          w={320}
          maw="100%"
          value={wanted}
          onChange={(event) => want(event.currentTarget.value)}
        />
        <Button
          type="submit"
          variant="default"
          disabled={!wanted.trim() || wanted.trim() === name}
          loading={rename.isPending}
        >
          Rename
        </Button>
      </Group>
      <ErrorNote error={rename.error} />
    </form>
  );
}
