/** Who is signed in, and what they may do. */
import { type QueryClient, queryOptions, useQuery } from '@tanstack/react-query';
import { api, body, Problem, prove, type Schemas } from './client';

export type Session = Schemas['SignedIn'];
export type Who = Schemas['Who'];
export type Permission = Who['permissions'][number];

/** The session of this browser; null: nobody is signed in. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  staleTime: Number.POSITIVE_INFINITY,
  queryFn: async (): Promise<Session | null> => {
    try {
      return entered(await body(api.GET('/api/millrace/v1/session')));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
});

export const whoQuery = queryOptions({
  queryKey: ['who'],
  staleTime: 60_000,
  queryFn: () => body(api.GET('/api/millrace/v1/me')),
});

/** The session goes on with its proof; returns it. */
export function entered(session: Session): Session {
  prove(session.csrf);
  return session;
}

/** Another session began: what was known belonged to somebody else. */
export function begun(client: QueryClient, session: Session): void {
  forget(client);
  client.setQueryData(sessionQuery.queryKey, entered(session));
}

/** The session is over; every screen asks to sign in again and then goes on where it was. */
export function ended(client: QueryClient): void {
  prove('');
  client.setQueryData(sessionQuery.queryKey, null);
}

export async function signOut(client: QueryClient): Promise<void> {
  await api.DELETE('/api/millrace/v1/session');
  ended(client);
  forget(client);
}

/** What was asked for somebody is not there for the next one. */
function forget(client: QueryClient): void {
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== sessionQuery.queryKey[0] });
}

/** Whether whoever is signed in may do something. Buttons that they may not use are not shown. */
export function useMay(): (permission: Permission) => boolean {
  const { data } = useQuery(whoQuery);
  return (permission) => data?.permissions.includes(permission) ?? false;
}
