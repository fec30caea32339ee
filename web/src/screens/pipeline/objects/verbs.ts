/** What can be done with objects, in the words of people. */
import type { Schemas } from '~/api/client';

export type Row = Schemas['Object'];
export type Action = Schemas['ObjectsActBody']['action'];

export const VERBS: Record<Action, string> = {
  run_now: 'Run now',
  pause: 'Pause',
  resume: 'Resume',
  skip: 'Skip',
  include: 'Include',
  restart: 'Read again from its beginning',
  restart_historical: 'Read its history again',
};
/** What takes an action back. What is included is read at once, so nothing takes that back. */
export const OPPOSITE: Partial<Record<Action, Action>> = {
  pause: 'resume',
  resume: 'pause',
  skip: 'include',
};
/** What makes rows come twice where there is no key, or leaves them out, is asked about. */
export const WORDS: Partial<Record<Action, string>> = {
  skip: 'It is no part of the pipeline any more. What was read is loaded first; loaded rows stay.',
  restart: 'All of it is read again. Rows merge by their key; one that is appended is refused.',
  restart_historical: 'Its history is read again; where it follows what is new stays as it is.',
};
export const ALLOWED: Record<Row['state'], readonly Action[]> = {
  ACTIVE: ['run_now', 'pause', 'skip', 'restart', 'restart_historical'],
  PAUSED: ['resume', 'skip'],
  SKIPPED: ['include'],
};
