/** What a job does and why it began, in the words of people. */
import { sentence } from './statuses';

const KINDS: Record<string, string> = {
  HISTORICAL: 'History',
  INCREMENTAL: 'What is new',
  RESYNC: 'History again',
  RESYNC_WITH_DROP_AND_LOAD: 'History again, into fresh tables',
  REFRESHER: 'Late events',
  LOAD: 'Load alone',
  REPLAY: 'Failed events again',
  REPLAYED: 'Failed events again',
  RAW_REPLAY: 'Kept rows again',
  AUDIT: 'Audit tables',
  REREAD: 'Chosen days again',
};

const TRIGGERS: Record<string, string> = {
  SCHEDULE: 'Schedule',
  RETRY: 'Tried again',
  MANUAL: 'By hand',
  API: 'Asked by a program',
  RESTART: 'After a restart',
  QUERY_MODE_CHANGE: 'Another query mode',
  INCLUDE: 'An object was included',
  PRIORITY: 'High priority',
  REPLAY: 'Failed events',
};

export const kind = (name: string): string => KINDS[name] ?? sentence(name);

export const trigger = (name: string | null | undefined): string =>
  name ? (TRIGGERS[name] ?? sentence(name)) : '–';
