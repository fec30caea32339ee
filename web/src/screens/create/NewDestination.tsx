import { Button, Group, Paper, Select, Stack, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { capital, ErrorNote } from '~/parts/ErrorNote';
import { SchemaForm } from '~/parts/SchemaForm';
import type { Settings } from '~/parts/schema';
import { Verdicts } from './Verdicts';

interface Props {
  /** It is saved and works. */
  made: (name: string) => void;
  close: (() => void) | null;
}

/** A destination by the form of its type, tested before it is taken. */
export function NewDestination({ made, close }: Props) {
  const client = useQueryClient();
  const [type, setType] = useState<string>('duckdb');
  const [name, setName] = useState('Warehouse');
  const [config, setConfig] = useState<Settings>({ path: 'warehouse.duckdb' });
  const [checked, setChecked] = useState<Schemas['Checked'] | null>(null);
  const types = useQuery({
    queryKey: ['connectors', 'destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/connectors/destinations')),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const connector = useQuery({
    queryKey: ['connectors', 'destinations', type],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/connectors/destinations/{type}', { params: { path: { type } } })),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const save = useMutation({
    mutationFn: async () => {
      const params = { path: { name } };
      if (checked) await body(api.PUT('/api/millrace/v1/destinations/{name}', { params, body: { config } }));
      else await body(api.POST('/api/millrace/v1/destinations', { body: { name, type, config } }));
      await client.invalidateQueries({ queryKey: ['destinations'] });
      const [found] = await body(api.POST('/api/millrace/v1/check', { body: { name } }));
      return found ?? null;
    },
    onSuccess: (found) => {
      setChecked(found);
      if (found?.passed !== false) made(name);
    },
  });
  const wrong =
    save.error instanceof Problem && save.error.fault.field
      ? { field: save.error.fault.field.split('.').at(-1) ?? '', message: capital(save.error.message) }
      : null;
  return (
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
              disabled={checked !== null}
              data={types.data?.map((one) => ({ value: one.type, label: one.title })) ?? []}
              value={type}
              onChange={(value) => {
                if (!value) return;
                setType(value);
                setConfig(value === 'duckdb' ? { path: 'warehouse.duckdb' } : {});
              }}
            />
            <TextInput
              label="Name"
              required
              disabled={checked !== null}
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
            />
          </Group>
          {connector.data && (
            <SchemaForm
              schema={connector.data.config}
              secrets={connector.data.secrets}
              kept={checked ? connector.data.secrets : []}
              value={config}
              change={setConfig}
              wrong={wrong}
            />
          )}
          <ErrorNote error={connector.error ?? save.error} />
          {checked && !checked.passed && <Verdicts checked={checked} />}
          <Group justify="flex-end" gap="xs">
            {close && (
              <Button variant="subtle" color="gray" onClick={close}>
                Choose one that is there
              </Button>
            )}
            <Button type="submit" variant="default" loading={save.isPending}>
              Test and save
            </Button>
          </Group>
        </Stack>
      </form>
    </Paper>
  );
}
