import { Box, Button } from '@mantine/core';
import { IconFileCode, IconPlayerPlay, IconPlugConnected, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, NavLink, Outlet, useMatches, useParams } from 'react-router';
import { api, body } from '~/api/client';
import { type Permission, useMay } from '~/api/session';
import { at } from '~/app/places';
import { savedQuery, tested } from '~/parts/connections';
import { useTitle } from '~/parts/connectors';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { Verdicts } from '~/parts/Verdicts';
import { Yaml } from '~/parts/Yaml';
import { some } from '~/words/numbers';

const TABS: readonly { tab: string; label: string; needs?: Permission }[] = [
  { tab: '', label: 'Tables' },
  { tab: '/workbench', label: 'Workbench', needs: 'destinations.edit' },
  { tab: '/settings', label: 'Settings' },
];

/** One destination: what all of its screens have above them. */
export function Component() {
  const name = useParams().destination ?? '';
  const client = useQueryClient();
  const may = useMay();
  const [text, showText] = useState(false);
  const title = useTitle('destination');
  const wide = useMatches().some((match) => (match.handle as { wide?: boolean } | undefined)?.wide);
  const destination = useQuery(savedQuery('destination', name));
  const check = useMutation({
    mutationFn: () => tested('destination', name),
  });
  const load = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/destinations/{destination}/load', {
          params: { path: { destination: name } },
        }),
      ),
    onSuccess: (jobs) => {
      for (const noun of ['pipelines', 'jobs']) void client.invalidateQueries({ queryKey: [noun] });
      void client.invalidateQueries({ queryKey: ['tables', name] });
      done(jobs.length ? `${some(jobs.length, 'load')} begun.` : 'Nothing waits for this destination.');
    },
    onError: failed,
  });
  const found = destination.data;
  if (destination.error && !found) {
    return (
      <div className="content">
        <ErrorNote error={destination.error} again={() => void destination.refetch()} />
      </div>
    );
  }
  return (
    <div className="content" data-wide={wide || undefined}>
      <PageHead
        title={name}
        told={found && `${title(found.type)} · ${some(found.pipelines.length, 'pipeline')}`}
        actions={
          <>
            {may('destinations.edit') && (
              <Button
                variant="default"
                leftSection={<IconPlayerPlay size={16} />}
                loading={load.isPending}
                onClick={() => load.mutate()}
              >
                Load now
              </Button>
            )}
            <Button
              variant="default"
              leftSection={<IconPlugConnected size={16} />}
              loading={check.isPending}
              onClick={() => check.mutate()}
            >
              Test connection
            </Button>
            {found && found.pipelines.length > 0 && (
              <Button
                variant="default"
                leftSection={<IconFileCode size={16} />}
                onClick={() => showText(true)}
              >
                As YAML
              </Button>
            )}
            {may('pipelines.create') && (
              <Button
                component={Link}
                to={`${at.newPipeline}?${new URLSearchParams({ destination: name })}`}
                leftSection={<IconPlus size={16} />}
              >
                Load data into it
              </Button>
            )}
          </>
        }
      />
      {(check.data || check.error) && (
        <Box mb="md">
          <ErrorNote error={check.error} again={() => check.mutate()} />
          {check.data && <Verdicts checked={check.data} close={check.reset} />}
        </Box>
      )}
      <nav className="tabs" aria-label={`Screens of ${name}`}>
        {TABS.filter(({ needs }) => !needs || may(needs)).map(({ tab, label }) => (
          <NavLink key={tab} to={at.destination(name) + tab} end={tab === ''}>
            {label}
          </NavLink>
        ))}
      </nav>
      <div style={{ paddingTop: 20 }}>
        <Outlet />
      </div>
      {text && found && (
        <Yaml
          title={`${name} and its pipelines as YAML`}
          pipelines={found.pipelines}
          close={() => showText(false)}
        />
      )}
    </div>
  );
}
