import { Button, Grid, Group, Paper, Select, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { connectorQuery, put, tested, wrongOf } from '~/parts/connections';
import { ErrorNote } from '~/parts/ErrorNote';
import { Guide } from '~/parts/Guide';
import { SchemaForm } from '~/parts/SchemaForm';
import type { Settings } from '~/parts/schema';
import { Verdicts } from '~/parts/Verdicts';

interface Props {
  /** It is saved and works. */
  made: (name: string) => void;
  /** The other way out, where there is one. */
  close: { verb: string; act: () => void } | null;
}

const settingsOf = (type: string): Settings => (type === 'duckdb' ? { path: 'warehouse.duckdb' } : {});

/** A destination by the form of its type, tested before it is taken. */
export function NewDestination({ made, close }: Props) {
  const client = useQueryClient();
  const [type, setType] = useState<string>('duckdb');
  const [name, setName] = useState('Warehouse');
  const [config, setConfig] = useState<Settings>(() => settingsOf('duckdb'));
  // Once it is saved, its name and type stay, and what is wrong with it is mended where it is.
  const [saved, setSaved] = useState<Schemas['Saved'] | null>(null);
  const types = useQuery({
    queryKey: ['connectors', 'destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/connectors/destinations')),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const connector = useQuery(connectorQuery('destination', type));
  const save = useMutation({
    mutationFn: async () => {
      const wanted = name.trim();
      const now = saved
        ? await put('destination', wanted, config)
        : await body(api.POST('/api/millrace/v1/destinations', { body: { name: wanted, type, config } }));
      setSaved(now);
      void client.invalidateQueries({ queryKey: ['destinations'] });
      return tested('destination', wanted);
    },
    onSuccess: (found) => {
      if (found?.passed !== false) made(name.trim());
    },
  });
  const checked = save.data;
  return (
    <Grid gap="xl">
      <Grid.Col span={{ base: 12, md: connector.data?.guide ? 7 : 12 }}>
        <Paper className="card" p="lg">
          <form
            onSubmit={(event) => {
              event.preventDefault();
              save.mutate();
            }}
          >
            <Stack>
              <Title order={3}>A new destination</Title>
              <Group grow align="flex-start">
                <Select
                  label="Type"
                  allowDeselect={false}
                  searchable
                  disabled={saved !== null}
                  data={types.data?.map((one) => ({ value: one.type, label: one.title })) ?? []}
                  value={type}
                  onChange={(value) => {
                    if (!value) return;
                    setType(value);
                    setConfig(settingsOf(value));
                    save.reset();
                  }}
                />
                <TextInput
                  label="Name"
                  required
                  disabled={saved !== null}
                  value={name}
                  onChange={(event) => setName(event.currentTarget.value)}
                />
              </Group>
              {connector.data && (
                <SchemaForm
                  key={type}
                  schema={connector.data.config}
                  secrets={connector.data.secrets}
                  kept={saved?.secrets ?? []}
                  value={config}
                  change={setConfig}
                  wrong={wrongOf(save.error)}
                />
              )}
              <ErrorNote error={types.error ?? connector.error ?? save.error} />
              {checked && !checked.passed && (
                <>
                  <Verdicts checked={checked} />
                  <Text size="sm" c="dimmed">
                    {name} is kept as it is. Mend what failed and test it again.
                  </Text>
                </>
              )}
              <Group justify="flex-end" gap="xs">
                {close && (
                  <Button variant="subtle" color="gray" disabled={save.isPending} onClick={close.act}>
                    {close.verb}
                  </Button>
                )}
                <Button type="submit" loading={save.isPending} disabled={!name.trim()}>
                  Test and save
                </Button>
              </Group>
            </Stack>
          </form>
        </Paper>
      </Grid.Col>
      {connector.data?.guide && (
        <Grid.Col span={{ base: 12, md: 5 }}>
          <Paper className="card" p="lg" component="aside" aria-label="Guide">
            <Guide text={connector.data.guide} />
          </Paper>
        </Grid.Col>
      )}
    </Grid>
  );
}
