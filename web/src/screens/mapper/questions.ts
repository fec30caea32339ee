/** What the Schema Mapper asks of the server. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';

export type Overview = Schemas['Overview'];
export type Shown = Schemas['Shown'];
export type Field = Shown['fields'][number];
export type Plan = Schemas['Plan'];

/** The status in the words of `words/statuses`: objects are skipped, event types are left out. */
export const statusOf = ({ status }: Overview): string => (status === 'SKIPPED' ? 'IGNORED' : status);

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

const COUNTED = 99;

/** How many event types need a look, in words; nothing where none does, or while it is not known. */
export const lookQuery = (pipeline: string) =>
  queryOptions({
    queryKey: ['mappings', pipeline, 'look'],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings', {
          params: { path: { pipeline }, query: { status: 'LOOK', limit: COUNTED } },
        }),
      ),
    // The server looks through all event types for it.
    refetchInterval: 600_000,
    staleTime: 60_000,
    select: ({ items, next }) =>
      next !== null ? `${COUNTED}+` : items.length > 0 ? String(items.length) : '',
  });

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
