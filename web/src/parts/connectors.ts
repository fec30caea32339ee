/** What types of connections are called: "PostgreSQL" for `postgres`. */
import { queryOptions, useQuery } from '@tanstack/react-query';
import { useCallback } from 'react';
import { api, body } from '~/api/client';
import type { Kind } from './connections';

export const typesQuery = (kind: Kind) =>
  queryOptions({
    queryKey: ['connectors', `${kind}s`],
    queryFn: () =>
      body(
        kind === 'source'
          ? api.GET('/api/millrace/v1/connectors/sources')
          : api.GET('/api/millrace/v1/connectors/destinations'),
      ),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** The title of a type; the type itself as long as nobody knows better. */
export function useTitle(kind: Kind): (type: string) => string {
  const { data } = useQuery(typesQuery(kind));
  return useCallback((type: string) => data?.find((one) => one.type === type)?.title ?? type, [data]);
}
