/** The query client, and what holds for every question that the pages ask. */
import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';
import { Problem } from './client';
import { ended } from './session';

const PATIENCE = 3;

/** Whether it may help to ask once more: what the caller must mend does not mend itself. */
export function mayPass(failures: number, error: Error): boolean {
  if (failures >= PATIENCE) return false;
  return !(error instanceof Problem) || [0, 429, 502, 503, 504].includes(error.status);
}

export function queryClient(): QueryClient {
  const onError = (error: Error) => {
    if (error instanceof Problem && ['NO_SESSION', 'UNAUTHENTICATED'].includes(error.code)) ended(client);
  };
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({ onError }),
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        retry: mayPass,
        retryDelay: (attempt, error) =>
          error instanceof Problem && error.retryAfterS
            ? error.retryAfterS * 1000
            : Math.min(1000 * 2 ** attempt, 15_000),
        // The page knows better than the browser: Millrace is often on this very machine.
        networkMode: 'always',
      },
      mutations: { networkMode: 'always' },
    },
  });
  return client;
}
