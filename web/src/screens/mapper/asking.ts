/** The changes of mappings that can be asked for, in the words in which people are asked. */
import { api, body } from '~/api/client';
import type { Asked } from './changes';
import type { Change } from './Review';

interface Of {
  pipeline: string;
  eventType: string;
}

/** All that is asked for is one version of the mapping. */
export function changing(
  { pipeline, eventType }: Of,
  title: string,
  asked: Asked,
  more: Partial<Change> = {},
): Change {
  return {
    id: `${eventType} ${JSON.stringify(asked)}`,
    title,
    ...more,
    plan: async ({ dry_run, reason }) => [
      await body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}', {
          params: { path: { pipeline, event_type: eventType } },
          body: { ...asked, dry_run, reason },
        }),
      ),
    ],
  };
}

export type Bulk = 'skip' | 'include' | 'auto' | 'unmap' | 'reset';

export const BULK: Record<Bulk, { label: string; told: string; harmful?: boolean }> = {
  skip: {
    label: 'Leave out',
    told: 'Their rows are left out from now on. Loaded rows stay in the warehouse.',
  },
  include: { label: 'Take in again', told: 'Their rows go to their tables again.' },
  auto: { label: 'Map automatically', told: 'Their mappings follow the source by themselves again.' },
  unmap: {
    label: 'Unmap',
    told: 'They have no table: their rows wait as failed events until somebody maps them. Tables stay.',
  },
  reset: {
    label: 'Reset',
    told: 'What was learned and chosen for them is forgotten; new mappings come from the next rows. Tables stay.',
    harmful: true,
  },
};

/** The same for several event types; those whose status does not allow it stay as they are. */
export function bulk(pipeline: string, what: Bulk, event_types: readonly string[], title: string): Change {
  const { label, told, harmful } = BULK[what];
  return {
    id: `${what} ${event_types.join(' ')}`,
    title,
    words: told,
    verb: label,
    harmful: harmful ?? false,
    plan: ({ dry_run, reason }) =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/mapping-edits', {
          params: { path: { pipeline } },
          body: { what, event_types: [...event_types], dry_run, reason },
        }),
      ),
  };
}

export function restoring({ pipeline, eventType }: Of, version: number): Change {
  return {
    id: `restore ${eventType} ${version}`,
    title: `Go back to version ${version}?`,
    words: 'It becomes a version of its own; the later ones are kept.',
    verb: `Go back to version ${version}`,
    plan: async ({ dry_run, reason }) => [
      await body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/restore', {
          params: { path: { pipeline, event_type: eventType } },
          body: { version, dry_run, reason },
        }),
      ),
    ],
  };
}

export function deletingTable({ pipeline, eventType }: Of, table: string, waiting: number): Change {
  return {
    id: `delete ${eventType} ${table}`,
    title: `Delete the table ${table}?`,
    words:
      'The table and all rows that were loaded into it are gone from the destination at once. The mapping stays. With auto mapping, rows to come make the table anew; earlier rows come only when history is read again.',
    verb: 'Delete the table',
    harmful: true,
    ...(waiting > 0 && { wish: 'Rows that wait on the stage for it may be discarded too' }),
    plan: async ({ dry_run, reason, wished }) => [
      await body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/delete-table', {
          params: { path: { pipeline, event_type: eventType } },
          body: { dry_run, reason, discard_waiting: wished },
        }),
      ),
    ],
  };
}
