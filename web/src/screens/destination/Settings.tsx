import { Button, Group, Select, Text, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';

const WITH_RUNS = 'with';

/** How a destination is reached, and when rows are loaded into it. */
export function Component() {
  const name = useParams().destination ?? '';
  const navigate = useNavigate();
  const client = useQueryClient();
  const may = useMay();
  const edits = may('destinations.edit');
  const [every, choose] = useState<string | null>(null);
  const [asking, ask] = useState(false);
  const destination = useQuery({
    queryKey: ['destinations', name],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations/{name}', { params: { path: { name } } })),
  });
  const schedule = useMutation({
    mutationFn: (wanted: string) =>
      body(
        api.PUT('/api/millrace/v1/destinations/{destination}/load-schedule', {
          params: { path: { destination: name } },
          body: { every: wanted === WITH_RUNS ? null : wanted, timezone: 'UTC' },
        }),
      ),
    onSuccess: (loads) => done(`Rows are loaded: ${loads.schedule}.`),
    onError: failed,
  });
  const found = destination.data;
  return (
    <>
      <section className="card" style={{ padding: 20, marginBottom: 16 }}>
        <Title order={2} mb="sm">
          Connection
        </Title>
        <ErrorNote error={destination.error} />
        {found && (
          <dl className="facts">
            <dt>Type</dt>
            <dd>{found.type}</dd>
            {Object.entries(found.config).map(([key, value]) => (
              <Fact key={key} name={key} value={typeof value === 'string' ? value : JSON.stringify(value)} />
            ))}
            {found.secrets.map((key) => (
              <Fact key={key} name={key} value="kept, never shown" />
            ))}
          </dl>
        )}
      </section>
      {edits && (
        <section className="card" style={{ padding: 20, marginBottom: 16 }}>
          <Title order={2}>When rows are loaded</Title>
          <Text c="dimmed" size="sm" mb="sm">
            With a schedule of its own, runs of its pipelines only read; rows wait on the stage for the load.
          </Text>
          <Group align="flex-end">
            <Select
              label="Load"
              w={240}
              placeholder="Choose"
              value={every}
              onChange={choose}
              data={[
                { value: WITH_RUNS, label: 'with every run' },
                { value: '5m', label: 'every 5 minutes' },
                { value: '15m', label: 'every 15 minutes' },
                { value: '1h', label: 'every hour' },
                { value: '6h', label: 'every 6 hours' },
                { value: '1d', label: 'every day' },
              ]}
            />
            <Button
              disabled={every === null}
              loading={schedule.isPending}
              onClick={() => every !== null && schedule.mutate(every)}
            >
              Save
            </Button>
          </Group>
        </section>
      )}
      {edits && found && (
        <section className="card" style={{ padding: 20 }}>
          <Title order={2}>Remove</Title>
          <Text c="dimmed" size="sm" mb="sm">
            {found.pipelines.length
              ? 'Pipelines load into it: delete them first, or let them load elsewhere.'
              : 'Tables and rows stay where they are; Millrace forgets how to reach them.'}
          </Text>
          <Button
            variant="outline"
            color="red"
            disabled={found.pipelines.length > 0}
            onClick={() => ask(true)}
          >
            Remove {name}
          </Button>
        </section>
      )}
      {asking && (
        <Confirm
          title={`Remove ${name}?`}
          verb="Remove"
          typed={name}
          act={async () => {
            await body(api.DELETE('/api/millrace/v1/destinations/{name}', { params: { path: { name } } }));
            void client.invalidateQueries({ queryKey: ['destinations'] });
            navigate(at.destinations);
          }}
          close={() => ask(false)}
        >
          Its settings and secrets are gone. Tables and rows stay where they are.
        </Confirm>
      )}
    </>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name.replaceAll('_', ' ')}</dt>
      <dd className="mono">{value}</dd>
    </>
  );
}
