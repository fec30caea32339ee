/** Errands: what takes longer than a request, and is followed until it is done. */
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Problem, type Schemas } from './client';

type Begun = Schemas['Begun'];
export type Progress = Schemas['Progress'];

const ROOT = '/api/millrace/v1/errands';
const LOST = {
  code: 'ERRAND_LOST',
  message: 'What became of it is not known: the server was started anew, or does not answer.',
  hint: 'Look at the jobs of the pipeline, then try again.',
};
const MOST_FAILURES = 5;

/** What came of an errand. Throws the Problem for which it failed. */
export function followed<T>(begun: Begun, progress?: (now: Progress) => void): Promise<T> {
  if (begun.state !== 'going_on') return settled(begun);
  return new Promise((resolve, reject) => {
    const source = new EventSource(`${ROOT}/${begun.id}/events`);
    let failures = 0;
    const read = (event: Event) => JSON.parse((event as MessageEvent<string>).data);
    source.addEventListener('progress', (event) => {
      failures = 0;
      progress?.(read(event) as Progress);
    });
    for (const kind of ['done', 'failed']) {
      source.addEventListener(kind, (event) => {
        source.close();
        settled<T>(read(event) as Begun).then(resolve, reject);
      });
    }
    source.onerror = () => {
      failures += 1;
      if (source.readyState !== EventSource.CLOSED && failures < MOST_FAILURES) return;
      source.close();
      reject(new Problem(0, LOST));
    };
  });
}

async function settled<T>(begun: Begun): Promise<T> {
  if (begun.error) throw new Problem(begun.status ?? 500, begun.error);
  return begun.result as T;
}

/** An errand that somebody begins here: `begin` asks for it, `ended` hears what came of it. */
export function useErrand<T, V = void>(
  begin: (asked: V) => Promise<Begun>,
  ended?: (result: T, asked: V) => void,
) {
  const [progress, tell] = useState<Progress | null>(null);
  const errand = useMutation({
    mutationFn: async (asked: V) => {
      tell(null);
      return followed<T>(await begin(asked), tell);
    },
    onSuccess: (result, asked) => ended?.(result, asked),
  });
  return { ...errand, progress };
}
