/** One tone, one icon and one word for each status, the same on every screen. */

export type Tone = 'well' | 'look' | 'failed' | 'working' | 'quiet';

export interface Status {
  tone: Tone;
  word: string;
}

const KNOWN: Record<string, Status> = {
  // health of a pipeline
  WELL: { tone: 'well', word: 'Running well' },
  LOOK: { tone: 'look', word: 'Needs a look' },
  FAILING: { tone: 'failed', word: 'Failing' },
  WORKING: { tone: 'working', word: 'Working' },
  NEW: { tone: 'quiet', word: 'Not run yet' },
  DRAFT: { tone: 'quiet', word: 'Draft' },
  DELETING: { tone: 'quiet', word: 'Being deleted' },
  // jobs and objects
  QUEUED: { tone: 'quiet', word: 'Waiting' },
  IN_PROGRESS: { tone: 'working', word: 'In progress' },
  CANCELLING: { tone: 'working', word: 'Being cancelled' },
  COMPLETED: { tone: 'well', word: 'Completed' },
  COMPLETED_WITH_FAILURES: { tone: 'look', word: 'Completed, with failures' },
  CANCELLED: { tone: 'quiet', word: 'Cancelled' },
  SKIPPED: { tone: 'quiet', word: 'Skipped' },
  DEFERRED: { tone: 'look', word: 'Goes on later' },
  DEFERRED_WITH_FAILURES: { tone: 'look', word: 'Goes on later, with failures' },
  FAILED: { tone: 'failed', word: 'Failed' },
  NOT_INITIALIZED: { tone: 'quiet', word: 'Not begun' },
  INIT: { tone: 'quiet', word: 'New' },
  SCHEDULED: { tone: 'well', word: 'Scheduled' },
  STREAMING: { tone: 'working', word: 'Following' },
  BOOTSTRAPPING: { tone: 'working', word: 'Reading history' },
  HISTORICAL_LOAD_FINISHED: { tone: 'well', word: 'History read' },
  PERMISSION_DENIED: { tone: 'failed', word: 'Not allowed' },
  LOG_EXPIRED: { tone: 'failed', word: 'Log lost' },
  AWAITING_MAPPING: { tone: 'look', word: 'Waits for a mapping' },
  FINISHED: { tone: 'well', word: 'Finished' },
  ACTIVE: { tone: 'well', word: 'Active' },
  PAUSED: { tone: 'quiet', word: 'Paused' },
  // mappings
  AUTO_MAPPED: { tone: 'well', word: 'Mapped automatically' },
  MAPPED: { tone: 'well', word: 'Mapped' },
  CREATING_TABLE: { tone: 'working', word: 'Creating table' },
  ALTERING: { tone: 'working', word: 'Changing table' },
  UNMAPPED: { tone: 'look', word: 'Not mapped' },
  INCOMPLETE: { tone: 'look', word: 'Mapped in part' },
  IGNORED: { tone: 'quiet', word: 'Left out' },
  MAPPING_IN_PROGRESS: { tone: 'working', word: 'Being mapped' },
  ERROR: { tone: 'failed', word: 'Error' },
  // alerts
  OPEN: { tone: 'look', word: 'Open' },
  ACKNOWLEDGED: { tone: 'working', word: 'Acknowledged' },
  RESOLVED: { tone: 'well', word: 'Resolved' },
  NOTED: { tone: 'quiet', word: 'Noted' },
  INFO: { tone: 'quiet', word: 'Info' },
  WARNING: { tone: 'look', word: 'Warning' },
  CRITICAL: { tone: 'failed', word: 'Critical' },
  // messages about alerts
  waiting: { tone: 'quiet', word: 'Waits' },
  sending: { tone: 'working', word: 'Being sent' },
  sent: { tone: 'well', word: 'Arrived' },
  dropped: { tone: 'quiet', word: 'Not needed' },
  // files
  queued: { tone: 'quiet', word: 'Waiting' },
  ingesting: { tone: 'working', word: 'Being read' },
  ingested: { tone: 'well', word: 'Read' },
  failed: { tone: 'failed', word: 'Failed' },
  skipped: { tone: 'quiet', word: 'Skipped' },
  gone: { tone: 'quiet', word: 'Gone' },
  // verdicts of a test
  pass: { tone: 'well', word: 'Passed' },
  fail: { tone: 'failed', word: 'Failed' },
  warn: { tone: 'look', word: 'Warning' },
  skip: { tone: 'quiet', word: 'Not tried' },
};

/** The status of that name; one that is new here is shown by its own name. */
export function status(name: string): Status {
  return KNOWN[name] ?? { tone: 'quiet', word: sentence(name) };
}

/** AWAITING_MAPPING → Awaiting mapping */
export function sentence(name: string): string {
  const words = name.replaceAll('_', ' ').trim().toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
