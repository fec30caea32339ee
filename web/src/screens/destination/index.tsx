import { Button } from '@mantine/core';
import { IconPlayerPlay, IconPlugConnected } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { NavLink, Outlet, useMatches, useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { some } from '~/words/numbers';
import { Verdicts } from './Verdicts';

const TABS = [
  { tab: '', label: 'Tables' },
  { tab: '/workbench', label: 'Workbench' },
  { tab: '/settings', label: 'Settings' },
];

/** One destination: what all of its screens have above them. */
export function Component() {
  const name = useParams().destination ?? '';
  const client = useQueryClient();
  const may = useMay();
  const wide = useMatches().some((match) => (match.handle as { wide?: boolean } | undefined)?.wide);
  const destination = useQuery({
    queryKey: ['destinations', name],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations/{name}', { params: { path: { name } } })),
  });
  const check = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/check', { body: { name } })),
  });
  const load = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/destinations/{destination}/load', {
          params: { path: { destination: name } },
        }),
      ),
    onSuccess: (jobs) => {
      void client.invalidateQueries({ queryKey: ['pipelines'] });
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
        told={found && `${found.type} · ${some(found.pipelines.length, 'pipeline')}`}
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
          </>
        }
      />
      {(check.data || check.error) && (
        <Verdicts
          checked={check.data?.find((one) => one.kind === 'destination')}
          error={check.error}
          close={check.reset}
        />
      )}
      <nav className="tabs" aria-label={`Screens of ${name}`}>
        {TABS.map(({ tab, label }) => (
          <NavLink key={tab} to={at.destination(name) + tab} end={tab === ''}>
            {label}
          </NavLink>
        ))}
      </nav>
      <div style={{ paddingTop: 20 }}>
        <Outlet />
      </div>
    </div>
  );
}
