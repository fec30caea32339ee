import { queryOptions, useQuery } from '@tanstack/react-query';
import { useParams } from 'react-router';
import { api, body } from '~/api/client';

/** The name of the pipeline whose screens are shown. */
export function usePipelineName(): string {
  return useParams().pipeline ?? '';
}

export const statusQuery = (pipeline: string) =>
  queryOptions({
    queryKey: ['pipelines', 'one', pipeline],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/pipelines/{pipeline}/status', { params: { path: { pipeline } } })),
    // Changes are told by events (app/frame/live.ts); this catches what is no change of a run, such as a replay.
    refetchInterval: 60_000,
  });

/** When the pipeline whose screens are shown runs next by its schedule; nothing while nothing is planned. */
export function useNextRun(): string | null {
  const name = usePipelineName();
  const { data } = useQuery({
    queryKey: ['pipelines', 'next', name],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/overview', { params: { query: { search: name, limit: 100 } } })),
    refetchInterval: 60_000,
  });
  return data?.items.find((one) => one.name === name)?.next_at ?? null;
}

/** How far the pipeline is whose screens are shown. */
export const usePipeline = () => useQuery(statusQuery(usePipelineName()));
