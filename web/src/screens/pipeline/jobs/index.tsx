import { SegmentedControl } from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate, useParams, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { paged } from '~/parts/paged';
import { StatusBadge } from '~/parts/StatusBadge';
import { kind, trigger } from '~/words/jobs';
import { count } from '~/words/numbers';
import { duration } from '~/words/times';
import { usePipelineName } from '../here';

type Job = Schemas['Job'];
type JobStatus = Schemas['RunRecord']['status'];

const FILTERS: Record<string, JobStatus[]> = {
  all: [],
  going: ['QUEUED', 'IN_PROGRESS', 'CANCELLING'],
  failed: ['FAILED', 'COMPLETED_WITH_FAILURES', 'DEFERRED_WITH_FAILURES'],
};

const COLUMNS: readonly Column<Job>[] = [
  { id: 'status', header: 'Status', cell: ({ run }) => <StatusBadge name={run.status} /> },
  { id: 'kind', header: 'What', cell: ({ run }) => kind(run.kind), hide: 'phone' },
  {
    id: 'trigger',
    header: 'Why',
    cell: (job) => trigger(job.trigger),
    hide: 'tablet',
  },
  { id: 'started', header: 'Began', cell: (job) => <Ago at={job.began_at ?? job.requested_at} /> },
  {
    id: 'took',
    header: 'Took',
    align: 'right',
    cell: (job) => (job.duration_ms === null ? '–' : duration(job.duration_ms)),
    hide: 'phone',
  },
  { id: 'read', header: 'Read', align: 'right', cell: ({ run }) => count(run.balance.read), hide: 'phone' },
  { id: 'loaded', header: 'Loaded', align: 'right', cell: ({ run }) => count(run.balance.loaded) },
  {
    id: 'left-out',
    header: 'Left out',
    align: 'right',
    cell: ({ run }) => count(run.balance.filtered_rows),
    hide: 'tablet',
  },
  {
    id: 'failed',
    header: 'Failed',
    align: 'right',
    cell: ({ run }) => count(run.balance.rejected_rows),
    hide: 'phone',
  },
];

/** `aside`: its drawer opens over the list as it is, whose filter stays in the address. */
function JobLink({ of: { pipeline, id }, aside }: { of: Job['run']; aside: boolean }) {
  const { search } = useLocation();
  return <Link to={{ pathname: at.job(pipeline, id), search: aside ? search : '' }}>#{id}</Link>;
}

const ofOne: readonly Column<Job>[] = [
  { id: 'job', header: 'Job', cell: ({ run }) => <JobLink of={run} aside /> },
  ...COLUMNS,
];
const ofAll: readonly Column<Job>[] = [
  { id: 'job', header: 'Job', cell: ({ run }) => <JobLink of={run} aside={false} /> },
  {
    id: 'pipeline',
    header: 'Pipeline',
    cell: ({ run }) => <Link to={at.pipeline(run.pipeline)}>{run.pipeline}</Link>,
  },
  // On a phone there is no room for the number too.
  ...COLUMNS.map((one) => (one.id === 'loaded' ? { ...one, hide: 'phone' as const } : one)),
];

/** All that the pipeline did, the newest first; each job opens beside the list. */
export function Component() {
  return (
    <>
      <Jobs pipeline={usePipelineName()} />
      <Outlet />
    </>
  );
}

/** Jobs of one pipeline, or (null) of all; those open at their pipeline. */
export function Jobs({ pipeline }: { pipeline: string | null }) {
  const navigate = useNavigate();
  const { job } = useParams();
  const [search, setSearch] = useSearchParams();
  const filter = search.get('status') ?? 'all';
  const jobs = useInfiniteQuery({
    queryKey: ['jobs', { pipeline, filter }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/jobs', {
          params: { query: { pipeline, status: FILTERS[filter] ?? [], after: pageParam, limit: 50 } },
        }),
      ),
    getNextPageParam: (page) => page.next,
  });
  return (
    <>
      <SegmentedControl
        mb="md"
        size="xs"
        aria-label="Which jobs"
        value={filter}
        onChange={(value) => setSearch(value === 'all' ? {} : { status: value }, { replace: true })}
        data={[
          { value: 'all', label: 'All' },
          { value: 'going', label: 'Going on' },
          { value: 'failed', label: 'With failures' },
        ]}
      />
      <div className="card">
        <DataTable
          label="Jobs"
          columns={pipeline === null ? ofAll : ofOne}
          {...paged(jobs)}
          id={(row) => String(row.run.id)}
          open={({ run }) =>
            navigate({
              pathname: at.job(run.pipeline, run.id),
              search: pipeline === null ? '' : window.location.search,
            })
          }
          current={job}
          empty={
            <Empty icon={IconPlayerPlay} title={filter === 'all' ? 'No jobs yet' : 'No such jobs'}>
              {filter === 'all'
                ? 'A job reads what is new at the source and loads it. The next one begins by the schedule, or when you choose Run now.'
                : 'Choose All to see the others.'}
            </Empty>
          }
        />
      </div>
    </>
  );
}
