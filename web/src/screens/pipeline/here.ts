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

/** Whether systems send to it by themselves, so that it asks for nothing and cannot be paused. */
export const isPushed = (sourceType: string | undefined): boolean => sourceType === 'webhook';

/** Whether such a pipeline has an address, without its token. */
export const hookQuery = (pipeline: string) =>
  queryOptions({
    queryKey: ['pipelines', 'hook', pipeline],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/pipelines/{pipeline}/hook', { params: { path: { pipeline } } })),
  });
