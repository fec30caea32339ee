import { Tooltip } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { whoQuery } from '~/api/session';
import { exact, relative } from '~/words/times';

const TICK_MS = 10_000;
let now = new Date();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** One clock for all moments that are shown. */
function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = new Date();
    for (const one of listeners) one();
  }, TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** While no moment is shown nothing ticks: the first one that is shown again finds the clock late. */
function current(): Date {
  if (Date.now() - now.getTime() > TICK_MS) now = new Date();
  return now;
}

export const useNow = (): Date => useSyncExternalStore(subscribe, current);

/** The zone in which the user reads times. */
export function useZone(): string | undefined {
  const { data } = useQuery(whoQuery);
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  // UTC is what users have who never chose: the zone of their machine tells more.
  return data?.user.time_zone && data.user.time_zone !== 'UTC' ? data.user.time_zone : own;
}

/** "4 min ago"; the exact time in the user's zone and in UTC on hover. */
export function Ago({ at, none = 'never' }: { at: string | null | undefined; none?: string }) {
  const tick = useNow();
  const zone = useZone();
  if (!at) return <span>{none}</span>;
  const moment = new Date(at);
  const seen = tick < moment && moment.getTime() - tick.getTime() < TICK_MS ? moment : tick;
  return (
    <Tooltip
      label={
        <>
          {exact(moment, zone)} ({zone})
          <br />
          {exact(moment, 'UTC')} UTC
        </>
      }
    >
      <time dateTime={at} style={{ whiteSpace: 'nowrap' }}>
        {relative(moment, seen)}
      </time>
    </Tooltip>
  );
}
