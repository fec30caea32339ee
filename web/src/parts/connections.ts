/** Saved connections, of sources and of destinations, and what is asked of the server about them. */
import { queryOptions } from '@tanstack/react-query';
import { api, body, Problem, type Schemas } from '~/api/client';
import { capital } from './ErrorNote';
import type { Settings } from './schema';

export type Kind = 'source' | 'destination';

export const savedQuery = (kind: Kind, name: string) =>
  queryOptions({
    queryKey: [`${kind}s`, name],
    queryFn: () => {
      const params = { path: { name } };
      return body(
        kind === 'source'
          ? api.GET('/api/millrace/v1/sources/{name}', { params })
          : api.GET('/api/millrace/v1/destinations/{name}', { params }),
      );
    },
  });

export const connectorQuery = (kind: Kind, type: string) =>
  queryOptions({
    queryKey: ['connectors', `${kind}s`, type],
    queryFn: () => {
      const params = { path: { type } };
      return body(
        kind === 'source'
          ? api.GET('/api/millrace/v1/connectors/sources/{type}', { params })
          : api.GET('/api/millrace/v1/connectors/destinations/{type}', { params }),
      );
    },
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Other settings for a saved connection. Secrets that are not named stay. */
export function put(kind: Kind, name: string, config: Settings): Promise<Schemas['Saved']> {
  const params = { path: { name } };
  return body(
    kind === 'source'
      ? api.PUT('/api/millrace/v1/sources/{name}', { params, body: { config } })
      : api.PUT('/api/millrace/v1/destinations/{name}', { params, body: { config } }),
  );
}

/** What a test of one connection finds; a source and a destination may have one name. */
export async function tested(kind: Kind, name: string): Promise<Schemas['Checked'] | null> {
  const found = await body(api.POST('/api/millrace/v1/check', { body: { name } }));
  return found.find((one) => one.kind === kind && one.name === name) ?? null;
}

/** The setting that the server complained of, and its words. */
export const wrongOf = (error: Error | null) =>
  error instanceof Problem && error.fault.field
    ? { field: error.fault.field.split('.').at(-1) ?? '', message: capital(error.message) }
    : null;
