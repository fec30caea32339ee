/** What the screens of failed events ask, and where their groups are. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';

export type Group = Schemas['Grouped'];
export type Stage = Group['stage'] & ('source' | 'steps' | 'mapping' | 'load');

export interface Named {
  pipeline: string;
  stream: string;
  stage: Stage;
  code: string;
}

export const STAGES: Record<string, string> = {
  source: 'at the source',
  steps: 'in the transformation',
  mapping: 'at the mapping',
  load: 'at the destination',
};

const CURES: Record<string, string> = {
  mapping: 'its mapping is changed',
  transformation: 'another transformation is deployed',
  settings: 'the pipeline or its destination is changed',
  time: 'some hours went by',
};

/** When rows of a group try again without being asked. */
export function again({ resolution }: Group): string {
  if (!resolution.automatic) return 'They wait until you replay them.';
  return `They try again by themselves with the next run after ${resolution.cures.map((one) => CURES[one] ?? one).join(', or ')}.`;
}

const PAGE = 50;

/** Groups page by page, of one pipeline or of all. */
export const groupsQuery = (pipeline: string | null, search: string) =>
  infiniteQueryOptions({
    queryKey: ['rejects', 'groups', { pipeline, search }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/rejects/overview', {
          params: { query: { pipeline, search: search || null, after: pageParam, limit: PAGE } },
        }),
      ),
    getNextPageParam: (page: Schemas['GroupPage']) => page.next,
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });

/** One group; null once none of its events waits. */
export const groupQuery = (named: Named) =>
  queryOptions({
    queryKey: ['rejects', 'group', named],
    queryFn: async () =>
      (await body(api.GET('/api/millrace/v1/rejects', { params: { query: choice(named) } })))[0] ?? null,
    refetchInterval: 60_000,
  });

/** The list that a group belongs to: of all pipelines, or of the one whose screens are shown. */
export const listAt = (own: string | undefined) => (own ? at.pipeline(own, 'failed-events') : at.failed);

export const groupAt = (own: string | undefined, { pipeline, stream, stage, code }: Named) =>
  `${listAt(own)}/${[pipeline, stream, stage, code].map(encodeURIComponent).join('/')}`;

/** As parameters of a request. */
export const choice = ({ pipeline, stream, stage, code }: Named) => ({
  pipeline,
  object: stream,
  stage,
  code,
});
