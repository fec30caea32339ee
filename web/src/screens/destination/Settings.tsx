import { Anchor, Button, Paper, Stack, Text, Title } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Fragment, type ReactNode, useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { ConnectionForm } from '~/parts/ConnectionForm';
import { savedQuery } from '~/parts/connections';
import { NameForm } from '~/parts/NameForm';
import { done } from '~/parts/notices';
import { some } from '~/words/numbers';
import { LoadSchedule } from './LoadSchedule';

/** How a destination is reached, when rows are loaded into it, and how Millrace forgets it. */
export function Component() {
  const name = useParams().destination ?? '';
  const may = useMay();
  const edits = may('destinations.edit');
  return (
    <Stack gap="md" maw={760} key={name}>
      <Part title="Connection" told="Changes hold from the next load on. Secrets are kept and never shown.">
        <ConnectionForm kind="destination" name={name} edits={edits} />
      </Part>
      <Part
        title="When rows are loaded"
        told="With a schedule of its own, runs of its pipelines only read; rows wait on the stage for the load."
      >
        <LoadSchedule destination={name} edits={edits} />
      </Part>
      {edits && (
        <Part title="Name" told="Pipelines that load into it go on.">
          <NameForm
            key={name}
            name={name}
            ask={async (from, to) =>
              (
                await body(
                  api.POST('/api/millrace/v1/destinations/{name}/rename', {
                    params: { path: { name: from } },
                    body: { to },
                  }),
                )
              ).name
            }
            address={at.destination}
            stale={['destinations', 'pipelines']}
          />
        </Part>
      )}
      {may('destinations.delete') && <Remove name={name} />}
    </Stack>
  );
}

function Part({ title, told, children }: { title: string; told: ReactNode; children: ReactNode }) {
  return (
    <Paper className="card" p="lg">
      <Title order={2}>{title}</Title>
      <Text c="dimmed" mb="md" component="div">
        {told}
      </Text>
      {children}
    </Paper>
  );
}

/** What goes and what stays when it is removed; pipelines that use it stand in the way. */
function Remove({ name }: { name: string }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [asking, ask] = useState(false);
  const { data: found } = useQuery(savedQuery('destination', name));
  if (!found) return null;
  const used = found.pipelines;
  return (
    <Part
      title="Remove"
      told={
        used.length ? (
          <>
            {some(used.length, 'pipeline')} {used.length === 1 ? 'loads' : 'load'} into it:{' '}
            {used.slice(0, 10).map((one, index) => (
              <Fragment key={one}>
                {index > 0 && ', '}
                <Anchor component={Link} to={at.pipeline(one)} inherit underline="always">
                  {one}
                </Anchor>
              </Fragment>
            ))}
            {used.length > 10 && ' and others'}. It can be removed when they are deleted.
          </>
        ) : (
          'Tables and rows stay where they are; Millrace forgets how to reach them.'
        )
      }
    >
      <Button variant="outline" color="red" disabled={used.length > 0} onClick={() => ask(true)}>
        Remove {name}
      </Button>
      {asking && (
        <Confirm
          title={`Remove ${name}?`}
          verb="Remove"
          typed={name}
          act={async () => {
            await body(api.DELETE('/api/millrace/v1/destinations/{name}', { params: { path: { name } } }));
            navigate(at.destinations);
            done(`${name} is removed.`);
            client.removeQueries({ queryKey: ['destinations', name] });
            void client.invalidateQueries({ queryKey: ['destinations'] });
          }}
          close={() => ask(false)}
        >
          Its settings, its secrets and its load schedule are gone. Tables and rows stay where they are.
        </Confirm>
      )}
    </Part>
  );
}
