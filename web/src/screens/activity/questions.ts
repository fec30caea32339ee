/** What the screens of the log ask, and where its lines are. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';

export type Entry = Schemas['Entry'];

/** The list that a line belongs to: of the team, or of the pipeline whose screens are shown. */
export const listAt = (pipeline: string | undefined) =>
  pipeline === undefined ? at.activity : at.pipeline(pipeline, 'activity');

/** One line of any weight; null when it is older than what is kept, or of another pipeline. */
export const lineQuery = (pipeline: string | undefined, line: number) =>
  queryOptions({
    queryKey: ['activity', 'line', pipeline, line],
    queryFn: async (): Promise<Entry | null> => {
      // Lines are listed from the newest on: behind the number after it, it is the first.
      const page = await body(
        api.GET('/api/millrace/v1/activity', {
          params: { query: { pipeline, severity: 'LOW', after: String(line + 1), limit: 1 } },
        }),
      );
      const found = page.items[0];
      return found?.id === line ? found : null;
    },
  });

/** What differs, a line for each name: `before` and `after` hold only that. */
export function differences({ before, after }: Entry): { what: string; before: string; after: string }[] {
  const sides = [before, after].map(named);
  const names = [...new Set(sides.flatMap((side) => Object.keys(side)))];
  return names.map((what) => {
    const [was, is] = sides.map((side) => (what in side ? text(side[what]) : ''));
    return { what, before: was ?? '', after: is ?? '' };
  });
}

function named(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  return typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : { value };
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value, null, 1));
