import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';

/** How many failed events wait for somebody; 0 while it is not known. */
export function useFailedRows(): number {
  const { data } = useQuery({
    queryKey: ['rejects', 'count'],
    queryFn: () => body(api.GET('/api/millrace/v1/rejects/overview', { params: { query: { limit: 1 } } })),
    refetchInterval: 60_000,
  });
  return data?.rows ?? 0;
}
