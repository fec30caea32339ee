/** What the screen asks of the server, and what a transformation is. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { exactly } from '~/api/exact';

export type Kind = 'python' | 'blocks';
export type Event = Schemas['Event'];
export type Tried = Schemas['Tried'];
export type Outcome = Schemas['Outcome'];

/** As the API gives it for an errand. */
export interface DryRun {
  rows: number;
  counts: Record<Became, number>;
  failures: Record<string, number>;
  differences: { before: Event; after: Event[]; became: Became; error: Schemas['Failure'] | null }[];
  effects: Schemas['Effect'][];
  through: number | null;
}
export type Became = 'unchanged' | 'changed' | 'split' | 'dropped' | 'failed';

export const TEMPLATE = `from millrace.api import Event, TimeUtils, Utils


def transform(event):
    """Return the event, a list of events in its place, or None to leave it out."""
    properties = event.getProperties()
    # properties["day"] = TimeUtils.convertEpochToFormat(properties["created"], "yyyy-MM-dd")
    return event
`;

export const EMPTY_CHAIN = '{"kind": "DRAG_DROP", "version": 1, "blocks": []}';

const SAMPLES = 500;

export const standingQuery = (pipeline: string) =>
  queryOptions({
    queryKey: ['transformation', pipeline, 'standing'],
    staleTime: 0,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/transformation', { params: { path: { pipeline } } }),
      ),
  });

/** Events to try on. Their numbers stay as they are written. */
export const samplesQuery = (pipeline: string, failed: boolean) =>
  queryOptions({
    queryKey: ['transformation', pipeline, 'samples', failed],
    queryFn: async () => {
      const text = await body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/samples', {
          params: { path: { pipeline }, query: { failed, limit: SAMPLES } },
          parseAs: 'text',
        }),
      );
      return exactly<Event[]>(text as unknown as string);
    },
  });

/** Tries a text on one event as it is shown (a line of JSON), or on samples as they are kept, with their types. */
export async function attempt(
  pipeline: string,
  asked: { kind: Kind; text: string; line: string | null; object: string | null; failed: boolean },
): Promise<Tried> {
  const { kind, text, line, object, failed } = asked;
  const answer = await body(
    api.POST('/api/millrace/v1/pipelines/{pipeline}/transformation/test', {
      params: { path: { pipeline } },
      body: { kind, text, object, failed, events: line, file: 'your event' },
      parseAs: 'text',
    }),
  );
  return exactly<Tried>(answer as unknown as string);
}

/** An event as one edits it. */
export const shown = (event: Event): string =>
  JSON.stringify({ event_name: event.event_name, properties: event.properties }, null, 2);

/** Edited text as one line; throws what is wrong with it. */
export const asLine = (text: string): string => JSON.stringify(exactly(text));
