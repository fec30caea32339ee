import { useQuery, useQueryClient } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { useEvents } from '~/api/follow';
import { announce } from '~/parts/announced';
import { status as statusOf } from '~/words/statuses';

type Job = Schemas['Job'];
/** How a run stands, as its events tell. */
type RunNow = Pick<Job, 'stage' | 'meter' | 'beat_at'> & { status: Job['run']['status']; started_at: string };

export const isGoing = (status: string): boolean => ['QUEUED', 'IN_PROGRESS', 'CANCELLING'].includes(status);

/** A job, kept up to date by its events as long as it goes on. */
export function useLiveJob(number: number | null) {
  const client = useQueryClient();
  const queryKey = ['jobs', 'one', number];
  const job = useQuery({
    queryKey,
    enabled: number !== null,
    queryFn: () => body(api.GET('/api/millrace/v1/jobs/{job}', { params: { path: { job: number ?? 0 } } })),
  });
  const going = job.data !== undefined && isGoing(job.data.run.status);
  useEvents(
    going ? `/api/millrace/v1/jobs/${number}/events` : null,
    ['progress', 'ended'],
    ['ended'],
    (kind, told) => {
      const { status, started_at, stage, meter, beat_at } = told as RunNow;
      const began_at = status === 'QUEUED' && stage === null ? null : started_at;
      client.setQueryData<Job>(
        queryKey,
        (known) => known && { ...known, stage, meter, beat_at, began_at, run: { ...known.run, status } },
      );
      if (kind === 'ended') {
        announce(`Job #${number}: ${statusOf(status).word}`);
        void client.invalidateQueries({ queryKey: ['jobs'] });
        void client.invalidateQueries({ queryKey: ['pipelines'] });
      }
    },
  );
  return job;
}
