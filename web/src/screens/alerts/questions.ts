import { queryOptions } from '@tanstack/react-query';
import { api, body } from '~/api/client';

export const channelsQuery = queryOptions({
  queryKey: ['channels'],
  queryFn: () => body(api.GET('/api/millrace/v1/alert-channels')),
});

export const kindsQuery = queryOptions({
  queryKey: ['channel-kinds'],
  queryFn: () => body(api.GET('/api/millrace/v1/alert-channel-kinds')),
  staleTime: Number.POSITIVE_INFINITY,
});

/** What a user gets mail about; null: whoever asks. */
export const preferencesQuery = (email: string | null) =>
  queryOptions({
    queryKey: ['alert-preferences', email],
    queryFn: () => body(api.GET('/api/millrace/v1/alert-preferences', { params: { query: { email } } })),
  });
