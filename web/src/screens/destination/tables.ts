import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { api, body } from '~/api/client';

const PAGE = 100;

/** The tables that pipelines fill at a destination, page by page. */
export const tablesQuery = (destination: string, search = '') =>
  infiniteQueryOptions({
    queryKey: ['tables', destination, 'list', search],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/destinations/{destination}/tables', {
          params: {
            path: { destination },
            query: { search: search || null, after: pageParam, limit: PAGE },
          },
        }),
      ),
    getNextPageParam: (page) => page.next,
  });

/** The columns of a table as the destination has it now. */
export const columnsQuery = (destination: string, table: string) =>
  queryOptions({
    queryKey: ['tables', destination, 'columns', table],
    staleTime: 60_000,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/destinations/{destination}/columns', {
          params: { path: { destination }, query: { table } },
        }),
      ),
  });
