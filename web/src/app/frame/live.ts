import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef } from 'react';
import { useEvents } from '~/api/follow';

// Many runs may begin and end in a second: what is shown is asked for again at most so often.
const CALM_MS = 2000;

/** One stream for all screens: when a pipeline or a run of one changed, lists that are in sight are asked for again. */
export function useLivePipelines(): void {
  const client = useQueryClient();
  const waiting = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const changed = useCallback(() => {
    waiting.current ??= setTimeout(() => {
      waiting.current = undefined;
      void client.invalidateQueries({ queryKey: ['pipelines'] });
      void client.invalidateQueries({
        queryKey: ['jobs'],
        predicate: ({ queryKey }) => queryKey[1] !== 'one',
      });
    }, CALM_MS);
  }, [client]);
  useEffect(() => () => clearTimeout(waiting.current), []);
  useEvents('/api/millrace/v1/events', ['pipeline', 'reload'], [], changed);
}
