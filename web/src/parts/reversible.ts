import { type QueryKey, useMutation, useQueryClient } from '@tanstack/react-query';
import { done } from './notices';

interface Step<T> {
  to: T;
  from: T;
}

interface Options<T, R> {
  ask: (to: T) => Promise<R>;
  /** What is true once it is done. */
  said: (now: R, to: T) => string;
  /** Whether it came about; where somebody was quicker, there is nothing to take back. */
  came?: (now: R, to: T) => boolean;
  /** Whose word this is: the next one about the same takes its place. */
  matter?: (to: T) => string;
  /** What more comes of it. */
  after?: (now: R, step: Step<T>) => unknown;
  /** Shows it before it is done; the result takes that back, for where the server refuses. */
  seen?: (to: T) => Promise<() => void>;
  /** Changes of the same thing are asked for one after the other. */
  of?: string;
  /** Nouns that are asked for again, however it ended. */
  stale: readonly string[];
}

/** A change with an exact opposite: once it is made, one click takes it back. */
export function useReversible<T, R>({ ask, said, came, matter, after, seen, of, stale }: Options<T, R>) {
  const client = useQueryClient();
  const change = useMutation<R, Error, Step<T>, (() => void) | undefined>({
    mutationFn: ({ to }) => ask(to),
    ...(of !== undefined && { scope: { id: of } }),
    onMutate: ({ to }) => seen?.(to),
    onSuccess: (now, { to, from }) => {
      const back = (): Promise<unknown> => change.mutateAsync({ to: from, from: to });
      done(said(now, to), (came?.(now, to) ?? true) && back, matter?.(to));
      return after?.(now, { to, from });
    },
    onError: (_, __, back) => back?.(),
    onSettled: () => Promise.all(stale.map((noun) => client.invalidateQueries({ queryKey: [noun] }))),
  });
  return change;
}

/** An answer that is in sight has changed already. */
export function useSeen() {
  const client = useQueryClient();
  return async <T>(queryKey: QueryKey, change: (kept: T) => T): Promise<() => void> => {
    // An answer that was asked for before the change would bring back what was.
    await client.cancelQueries({ queryKey });
    const kept = client.getQueryData<T>(queryKey);
    if (kept !== undefined) client.setQueryData<T>(queryKey, change(kept));
    return () => client.setQueryData<T>(queryKey, kept);
  };
}
