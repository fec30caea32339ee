import { Center, Loader, VisuallyHidden } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Suspense, useCallback, useState } from 'react';
import { Navigate, Outlet, ScrollRestoration, useLocation } from 'react-router';
import { sessionQuery, whoQuery } from '~/api/session';
import { useAnnounced } from '~/parts/announced';
import { ErrorNote } from '~/parts/ErrorNote';
import { at } from '../places';
import { useLivePipelines } from './live';
import { Palette } from './Palette';
import { Rail } from './Rail';
import { Shortcuts } from './Shortcuts';
import { TopBar } from './TopBar';

/** What is around every screen of who is signed in. Others are led to sign in, and back again. */
export function Frame() {
  const session = useQuery(sessionQuery);
  const open = session.data?.state === 'open';
  const who = useQuery({ ...whoQuery, enabled: open });
  const here = useLocation();
  const [searching, search] = useState(false);
  const [keys, showKeys] = useState(false);
  const find = useCallback(() => search(true), []);
  if (session.isPending || (open && who.isPending)) {
    return (
      <Center h="100dvh">
        <Loader aria-label="Loading" />
      </Center>
    );
  }
  if (session.error || who.error) {
    return (
      <Center h="100dvh" p="md">
        <ErrorNote
          error={session.error ?? who.error}
          again={() => void session.refetch().then(() => who.refetch())}
        />
      </Center>
    );
  }
  if (!open) {
    const next = here.pathname + here.search;
    return (
      <Navigate to={next === '/' ? at.signIn : `${at.signIn}?next=${encodeURIComponent(next)}`} replace />
    );
  }
  return (
    <div className="frame">
      <a className="skip" href="#content">
        To the content
      </a>
      <Rail />
      <div style={{ minWidth: 0 }}>
        <TopBar search={find} keys={() => showKeys(true)} />
        <main id="content" tabIndex={-1} style={{ outline: 'none' }}>
          <Suspense>
            <Outlet />
          </Suspense>
        </main>
      </div>
      <Palette opened={searching} open={search} />
      <Shortcuts opened={keys} open={showKeys} search={find} />
      <Live />
      <Announced />
      <ScrollRestoration />
    </div>
  );
}

/** Said, not seen: which screen came, and how a job that is looked at ended. */
function Announced() {
  return (
    <VisuallyHidden role="status" aria-label="Said">
      {useAnnounced()}
    </VisuallyHidden>
  );
}

/** Nothing to see: keeps what is in sight up to date. */
function Live() {
  useLivePipelines();
  return null;
}
