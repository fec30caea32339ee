import { Button, Group, Skeleton, Stack } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { connectorQuery, type Kind, put, savedQuery, tested, wrongOf } from './connections';
import { ErrorNote } from './ErrorNote';
import { done } from './notices';
import { SchemaForm } from './SchemaForm';
import { labelOf, type Settings } from './schema';
import { Verdicts } from './Verdicts';

interface Props {
  kind: Kind;
  name: string;
  /** Whether whoever looks may change it; else its settings are shown. */
  edits: boolean;
}

/** The settings of a saved connection: changed, saved and tested. Of its secrets only the names are known. */
export function ConnectionForm({ kind, name, edits }: Props) {
  const client = useQueryClient();
  const [config, setConfig] = useState<Settings | null>(null);
  const saved = useQuery(savedQuery(kind, name));
  const type = saved.data?.type ?? '';
  const connector = useQuery({ ...connectorQuery(kind, type), enabled: type !== '' });
  const save = useMutation({
    mutationFn: async ({ to, from }: { to: Settings; from: Settings }) => {
      const now = await put(kind, name, to);
      client.setQueryData(savedQuery(kind, name).queryKey, now);
      setConfig(null);
      // A secret that was there before cannot come back from here.
      const back = connector.data?.secrets.every((key) => to[key] === undefined);
      done(
        `The settings of ${name} are saved.`,
        back && ((): Promise<unknown> => save.mutateAsync({ to: from, from: to })),
      );
      return tested(kind, name);
    },
  });
  const found = saved.data;
  if (!found || !connector.data) {
    const asking = saved.error ? saved : connector;
    return asking.error ? (
      <ErrorNote error={asking.error} again={() => void asking.refetch()} />
    ) : (
      <Skeleton height={160} />
    );
  }
  if (!edits) {
    return (
      <dl className="facts">
        <Fact name="type" value={connector.data.title} />
        {Object.entries(found.config).map(([key, value]) => (
          <Fact key={key} name={key} value={typeof value === 'string' ? value : JSON.stringify(value)} />
        ))}
        {found.secrets.map((key) => (
          <Fact key={key} name={key} value="kept, never shown" />
        ))}
      </dl>
    );
  }
  const shown = config ?? (found.config as Settings);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ to: shown, from: found.config as Settings });
      }}
    >
      <Stack>
        <SchemaForm
          schema={connector.data.config}
          secrets={connector.data.secrets}
          kept={found.secrets}
          sends={kind === 'source' ? type : undefined}
          of={kind === 'source' ? { source: name } : undefined}
          value={shown}
          change={setConfig}
          wrong={wrongOf(save.error)}
        />
        <ErrorNote error={save.error} />
        {save.data && !save.isPending && <Verdicts checked={save.data} close={save.reset} />}
        <Group gap="xs">
          <Button type="submit" disabled={config === null} loading={save.isPending}>
            Save and test
          </Button>
          {config !== null && (
            <Button variant="default" disabled={save.isPending} onClick={() => setConfig(null)}>
              Undo my changes
            </Button>
          )}
        </Group>
      </Stack>
    </form>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{labelOf(name)}</dt>
      <dd className="mono">{value}</dd>
    </>
  );
}
