import { ActionIcon, Button, Group, Menu, VisuallyHidden } from '@mantine/core';
import { useViewportSize } from '@mantine/hooks';
import {
  IconCopy,
  IconDots,
  IconFileCode,
  IconPlayerPause,
  IconPlayerPlay,
  IconRefresh,
  IconTrash,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { Link, NavLink, Outlet, useLocation, useMatches } from 'react-router';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { Next } from '~/parts/Next';
import { failed } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { StatusBadge } from '~/parts/StatusBadge';
import { lookQuery } from '~/screens/mapper/questions';
import { told } from '~/words/schedules';
import { Asked, type Question } from './Asked';
import { useActions } from './actions';
import { health } from './health';
import { isPushed, usePipeline, usePipelineName } from './here';
import { tabs } from './tabs';

/** What all screens of one pipeline have above them: its name, how it is, what can be done, and the tabs. */
export function Component() {
  const name = usePipelineName();
  const pipeline = usePipeline();
  const actions = useActions(name);
  const may = useMay();
  const [question, ask] = useState<Question | null>(null);
  const wide = useMatches().some((match) => (match.handle as { wide?: boolean } | undefined)?.wide);
  const found = pipeline.data;
  const row = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  const { width } = useViewportSize();
  // On a phone the tabs are a row that scrolls: the one that is open is in sight, by whichever way one came.
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each screen, and when it is turned
  useEffect(() => {
    const open = row.current?.querySelector<HTMLElement>('[aria-current=page]');
    if (row.current && open) {
      row.current.scrollLeft =
        open.offsetLeft - row.current.offsetLeft - (row.current.clientWidth - open.offsetWidth) / 2;
    }
  }, [pathname, width, found?.source_type]);
  return (
    <div className="content" data-wide={wide || undefined}>
      <PageHead
        name={name}
        title={
          <Group gap="sm">
            <span>{name}</span>
            {found && <StatusBadge name={health(found)} />}
          </Group>
        }
        told={
          found ? (
            <>
              <Link to={at.pipeline(name, 'settings')} className="plain">
                {found.source}
              </Link>{' '}
              → <Link to={at.destination(found.destination)}>{found.destination}</Link> ·{' '}
              <span style={{ whiteSpace: 'nowrap' }}>{told(found.schedule)}</span>
              <Next at={found.next_at} />
            </>
          ) : (
            // The line keeps its place, so that what is below does not move from under the pointer.
            !pipeline.error && '\u00a0'
          )
        }
        actions={
          found && (
            <>
              {may('pipelines.edit') && found.state === 'ACTIVE' && (
                <Button
                  leftSection={<IconPlayerPlay size={16} />}
                  loading={actions.run.isPending}
                  onClick={() => actions.run.mutate('run')}
                >
                  Run now
                </Button>
              )}
              {may('pipelines.edit') &&
                (found.state === 'PAUSED' || (found.state === 'ACTIVE' && !isPushed(found.source_type))) && (
                  // One button, so that it keeps the focus. What it did is seen at once, and asked for one by one.
                  <Button
                    variant={found.state === 'ACTIVE' ? 'default' : 'filled'}
                    leftSection={
                      found.state === 'ACTIVE' ? <IconPlayerPause size={16} /> : <IconPlayerPlay size={16} />
                    }
                    aria-disabled={actions.state.isPending}
                    onClick={() => {
                      if (actions.state.isPending) return;
                      const to = found.state === 'ACTIVE' ? 'PAUSED' : 'ACTIVE';
                      actions.state.mutate({ to, from: found.state }, { onError: failed });
                    }}
                  >
                    {found.state === 'ACTIVE' ? 'Pause' : 'Resume'}
                  </Button>
                )}
              <Menu>
                <Menu.Target>
                  <ActionIcon variant="default" size={36} aria-label="More actions">
                    <IconDots size={18} />
                  </ActionIcon>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item leftSection={<IconFileCode size={16} />} onClick={() => ask('yaml')}>
                    As YAML
                  </Menu.Item>
                  {may('pipelines.create') && (
                    <Menu.Item leftSection={<IconCopy size={16} />} onClick={() => ask('clone')}>
                      Make a copy
                    </Menu.Item>
                  )}
                  {may('pipelines.edit') && !isPushed(found.source_type) && (
                    <Menu.Item leftSection={<IconRefresh size={16} />} onClick={() => ask('resync')}>
                      Read history again
                    </Menu.Item>
                  )}
                  {may('pipelines.delete') && (
                    <Menu.Item
                      color="red"
                      leftSection={<IconTrash size={16} />}
                      onClick={() => ask('delete')}
                    >
                      Delete
                    </Menu.Item>
                  )}
                </Menu.Dropdown>
              </Menu>
            </>
          )
        }
      />
      {(!pipeline.error || found) && (
        <nav ref={row} className="tabs" aria-label={`Screens of ${name}`}>
          {tabs
            .filter(({ of }) => !of || of.includes(found?.source_type ?? ''))
            .map(({ tab, label }) => (
              <NavLink key={tab} to={at.pipeline(name, tab)} end={tab === ''}>
                {label}
                {tab === 'mapper' && <Looked />}
              </NavLink>
            ))}
        </nav>
      )}
      <div style={{ paddingTop: 20 }}>
        {pipeline.error && !found ? (
          <ErrorNote error={pipeline.error} again={() => void pipeline.refetch()} />
        ) : (
          <Outlet />
        )}
      </div>
      {question && found && <Asked question={question} pipeline={found} close={() => ask(null)} />}
    </div>
  );
}

/** How many event types of the mapper need a look. */
function Looked() {
  const { data: looked } = useQuery(lookQuery(usePipelineName()));
  if (!looked) return null;
  return (
    <span className="badge" data-tone="look">
      {looked}
      <VisuallyHidden> {looked === '1' ? 'needs' : 'need'} a look</VisuallyHidden>
    </span>
  );
}
