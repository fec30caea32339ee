/** What the Schema Mapper asks of the server, and the changes that somebody has in mind. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';

export type Overview = Schemas['Overview'];
export type Shown = Schemas['Shown'];
export type Field = Shown['fields'][number];
export type Plan = Schemas['Plan'];

export const TYPES = [
  'BOOLEAN',
  'SHORT',
  'INTEGER',
  'LONG',
  'FLOAT',
  'DOUBLE',
  'DECIMAL(38,9)',
  'VARCHAR',
  'DATE',
  'TIME',
  'TIMESTAMP',
  'TIMESTAMPTZ',
  'JSON',
  'BYTEARRAY',
  'UUID',
];

/** Changes of one mapping that are not made yet; together they become one version. */
export interface Edits {
  rename: Record<string, string>;
  types: Record<string, string>;
  free: string[];
  ignore: string[];
  unignore: string[];
  key: string[] | null;
}

export const NOTHING: Edits = { rename: {}, types: {}, free: [], ignore: [], unignore: [], key: null };

export const changes = (edits: Edits): number =>
  Object.keys(edits.rename).length +
  Object.keys(edits.types).length +
  edits.free.length +
  edits.ignore.length +
  edits.unignore.length +
  (edits.key ? 1 : 0);

export const mapperAt = (pipeline: string, eventType?: string, below = '') =>
  at.pipeline(
    pipeline,
    `mapper${eventType === undefined ? '' : `/${encodeURIComponent(eventType)}`}${below}`,
  );

export const mappingQuery = (pipeline: string, event_type: string) =>
  queryOptions({
    queryKey: ['mappings', pipeline, 'one', event_type],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}', {
          params: { path: { pipeline, event_type } },
        }),
      ),
  });
