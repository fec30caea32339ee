/** What was chosen of a pipeline that is being made, as its draft keeps it. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import type { QueryModeConfig } from '~/parts/QueryMode';
import { HOURLY, type Timing } from '~/parts/ScheduleInput';

export type Step = 'source' | 'objects' | 'destination' | 'schedule';

export const STEPS: readonly { step: Step; label: string }[] = [
  { step: 'source', label: 'Source' },
  { step: 'objects', label: 'Objects' },
  { step: 'destination', label: 'Destination' },
  { step: 'schedule', label: 'Schedule and name' },
];

export interface Chosen {
  step: Step;
  /** null: all that there are, and those to come. */
  objects: string[] | null;
  /** How objects of a database are queried; those that are not named, as their table allows. */
  query_modes: Record<string, QueryModeConfig>;
  destination: string | null;
  load_mode: 'merge' | 'append' | 'history';
  auto_mapping: boolean;
  strategy: string | null;
  table_prefix: string;
  timing: Timing;
}

export const NOTHING: Chosen = {
  step: 'source',
  objects: null,
  query_modes: {},
  destination: null,
  load_mode: 'merge',
  auto_mapping: true,
  strategy: null,
  table_prefix: '',
  timing: HOURLY,
};

export const draftQuery = (number: number) =>
  queryOptions({
    queryKey: ['drafts', number],
    queryFn: () => body(api.GET('/api/millrace/v1/drafts/{draft}', { params: { path: { draft: number } } })),
  });

/** What a draft keeps, with what it does not say yet. */
export const chosenOf = (draft: Schemas['Draft']): Chosen => ({
  ...NOTHING,
  ...(draft.chosen as Partial<Chosen>),
});

/** The draft with other choices. */
export function kept(
  draft: Schemas['Draft'],
  chosen: Partial<Chosen>,
  name = draft.name,
): Promise<Schemas['Draft']> {
  return body(
    api.PUT('/api/millrace/v1/drafts/{draft}', {
      params: { path: { draft: draft.number } },
      body: {
        name,
        type: draft.source_type,
        config: draft.config,
        chosen: { ...chosenOf(draft), ...chosen } as unknown as Record<string, unknown>,
      },
    }),
  );
}
