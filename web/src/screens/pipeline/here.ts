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

/** How far the pipeline is whose screens are shown. */
export const usePipeline = () => useQuery(statusQuery(usePipelineName()));
