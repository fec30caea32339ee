import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import { count } from '~/words/numbers';

const COUNTED = 99;

/** How many alerts are open, in words; nothing where none is, or while it is not known. */
export function useOpenAlerts(): string {
  const { data } = useQuery({
    queryKey: ['alerts', 'open', 'count'],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/alerts', { params: { query: { state: 'OPEN', limit: COUNTED } } })),
    refetchInterval: 60_000,
  });
  if (!data || data.items.length === 0) return '';
  return data.next === null ? count(data.items.length) : `${COUNTED}+`;
}
