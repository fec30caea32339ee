import { Button, Group, Select, Skeleton, Stack, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { wrongOf } from '~/parts/connections';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { SchemaForm } from '~/parts/SchemaForm';
import type { Settings } from '~/parts/schema';
import { kindsQuery } from './questions';

type Channel = Schemas['Channel'];

/** The settings of a channel, changed. Of its secrets only the names are known: those that are left empty stay. */
export function Change({ channel, close }: { channel: Channel; close: () => void }) {
  const client = useQueryClient();
  const kinds = useQuery(kindsQuery);
  const [config, setConfig] = useState<Settings>(channel.config);
  const form = kinds.data?.find((one) => one.kind === channel.kind);
  const { name } = channel;
  const save = useMutation({
    mutationFn: ({ to }: { to: Settings; from: Settings }) =>
      body(
        api.PUT('/api/millrace/v1/alert-channels/{name}', {
          params: { path: { name } },
          body: { config: to },
        }),
      ),
    onSuccess: (_, { to, from }) => {
      close();
      // A secret that was there before cannot come back from here.
      const back = form?.secrets.every((key) => to[key] === undefined);
      done(
        `The settings of ${name} are saved`,
        back && ((): Promise<unknown> => save.mutateAsync({ to: from, from: to })),
      );
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['channels'] }),
  });
  if (!form) {
    return kinds.error ? (
      <ErrorNote error={kinds.error} again={() => void kinds.refetch()} />
    ) : (
      <Skeleton height={120} mt="md" />
    );
  }
  return (
    <form
      aria-label={`Settings of ${name}`}
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ to: config, from: channel.config });
      }}
    >
      <Stack mt="md">
        <SchemaForm
          schema={form.config}
          secrets={form.secrets}
          kept={channel.secrets}
          value={config}
          change={setConfig}
          wrong={wrongOf(save.error)}
        />
        <ErrorNote error={save.error} />
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Another place where alerts go. */
export function NewChannel({ made }: { made: () => Promise<unknown> }) {
  const kinds = useQuery(kindsQuery);
  const [kind, setKind] = useState<Channel['kind'] | null>(null);
  const [name, setName] = useState('');
  const [config, setConfig] = useState<Settings>({});
  const form = kinds.data?.find((one) => one.kind === kind);
  const add = useMutation({
    mutationFn: () =>
      body(api.POST('/api/millrace/v1/alert-channels', { body: { kind: kind ?? 'email', name, config } })),
    onSuccess: async () => {
      done(`${name} is a channel now`);
      setKind(null);
      setName('');
      setConfig({});
      await made();
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        add.mutate();
      }}
    >
      <Stack>
        <Select
          label="Add a channel"
          placeholder="Choose what kind"
          data={kinds.data?.map((one) => ({ value: one.kind, label: one.title })) ?? []}
          value={kind}
          onChange={(value) => {
            add.reset();
            setKind(value as Channel['kind'] | null);
            setConfig({});
          }}
        />
        {form && (
          <>
            <TextInput
              label="Name"
              required
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
            />
            <SchemaForm
              schema={form.config}
              secrets={form.secrets}
              value={config}
              change={setConfig}
              wrong={wrongOf(add.error)}
            />
            <ErrorNote error={add.error} />
            <Group justify="flex-end">
              <Button type="submit" loading={add.isPending}>
                Add channel
              </Button>
            </Group>
          </>
        )}
      </Stack>
    </form>
  );
}
