import { Button, Group, Paper, SegmentedControl, SimpleGrid, Skeleton, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { lazy, type ReactNode, Suspense } from 'react';
import { Link, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { Balance } from '~/parts/Balance';
import { ErrorNote } from '~/parts/ErrorNote';
import { Scroll } from '~/parts/Scroll';
import { Share } from '~/parts/Share';
import { StatusBadge, ToneIcon } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { count, some } from '~/words/numbers';
import { hookQuery, isPushed, usePipeline, usePipelineName } from '../here';
import { isGoing, useLiveJob } from '../jobs/live';
import { Now } from '../jobs/Now';
import { SPANS, type Span, since } from './spans';

const Chart = lazy(() => import('./ActivityChart'));

const TOLD = [
  'QUEUED',
  'IN_PROGRESS',
  'CANCELLING',
  'COMPLETED',
  'COMPLETED_WITH_FAILURES',
  'FAILED',
  'CANCELLED',
  'DEFERRED',
  'DEFERRED_WITH_FAILURES',
] as const;

/** Is it on time, is it whole, what does it do now: one pipeline at a glance. */
export function Component() {
  const name = usePipelineName();
  const { data: pipeline } = usePipeline();
  const [search, setSearch] = useSearchParams();
  const span = (search.get('span') ?? '7d') as Span;
  // A run that was left out because another went on says nothing.
  const jobs = useQuery({
    queryKey: ['jobs', { pipeline: name, last: true }],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/jobs', {
          params: { query: { pipeline: name, status: [...TOLD], limit: 1 } },
        }),
      ),
  });
  const last = jobs.data?.items[0]?.run ?? null;
  const job = useLiveJob(last?.id ?? null);
  if (!pipeline) return null;
  const run = job.data?.run ?? last;
  return (
    <Stack gap="md">
      {job.data && isGoing(job.data.run.status) && (
        <Paper className="card" p="md">
          <Now job={job.data} />
        </Paper>
      )}
      {isPushed(pipeline.source_type) && <Unreached name={name} />}
      <SimpleGrid cols={{ base: 2, md: 4 }} spacing={{ base: 'xs', xs: 'md' }}>
        <Fact label="Rows loaded" value={count(pipeline.rows_loaded)} told={`in ${pipeline.destination}`} />
        <Fact
          label="Wait to be loaded"
          value={count(pipeline.waiting_rows)}
          told={pipeline.waiting_rows === 0 ? 'nothing waits' : some(pipeline.waiting_segments, 'file')}
        />
        <Fact
          label="Failed events"
          value={count(pipeline.open_rejects)}
          tone={pipeline.open_rejects > 0 ? 'failed' : undefined}
          told={
            pipeline.open_rejects > 0 ? (
              <Link to={`${at.failed}?pipeline=${encodeURIComponent(name)}`}>See why</Link>
            ) : (
              'none is open'
            )
          }
        />
        <Fact
          label="Last job"
          value={<Ago at={run?.started_at} none="none yet" />}
          told={
            run && (
              <Link to={at.job(name, run.id)} className="plain">
                <StatusBadge name={run.status} />
              </Link>
            )
          }
        />
      </SimpleGrid>
      {run && (
        <Paper className="card" p="md">
          <Text size="sm" c="dimmed" mb={4}>
            What became of every row of the last job
          </Text>
          <Balance of={run.balance} pipeline={name} />
          {run.error && (
            <Text mt="xs" c="var(--failed)">
              <Told text={run.error.message} /> <Link to={at.job(name, run.id)}>More</Link>
            </Text>
          )}
        </Paper>
      )}
      {pipeline.failed_files > 0 && (
        <Paper className="card" p="md">
          <Group gap="xs">
            <ToneIcon tone="look" />
            <Text size="sm">
              {some(pipeline.failed_files, 'file')} could not be read.{' '}
              <Link to={`${at.pipeline(name, 'files')}?status=failed`}>See why</Link>
            </Text>
          </Group>
        </Paper>
      )}
      <Paper className="card" p="md">
        <Group justify="space-between" mb="sm">
          <Text fw={600}>Activity</Text>
          <SegmentedControl
            size="xs"
            aria-label="Span"
            value={span}
            onChange={(value) => setSearch(value === '7d' ? {} : { span: value }, { replace: true })}
            data={SPANS.map(({ span, label }) => ({ value: span, label }))}
          />
        </Group>
        <Activity name={name} span={span} />
      </Paper>
      <Objects name={name} streams={pipeline.streams} />
    </Stack>
  );
}

/** The next step of a pipeline to which nobody can send anything. */
function Unreached({ name }: { name: string }) {
  const hook = useQuery(hookQuery(name));
  if (!hook.data || hook.data.created_at !== null) return null;
  return (
    <Paper className="card" p="md">
      <Group gap="xs">
        <ToneIcon tone="look" />
        <Text size="sm">
          Nothing can be sent to it yet. <Link to={at.pipeline(name, 'settings')}>Make its address</Link>
        </Text>
      </Group>
    </Paper>
  );
}

function Activity({ name, span }: { name: string; span: Span }) {
  const { by } = SPANS.find((one) => one.span === span) ?? SPANS[1];
  const from = since(span, new Date());
  const usage = useQuery({
    queryKey: ['pipelines', 'one', name, 'throughput', span],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/throughput', {
          params: { path: { pipeline: name }, query: { by, since: from.toISOString() } },
        }),
      ),
  });
  if (usage.error) return <ErrorNote error={usage.error} again={() => void usage.refetch()} />;
  if (usage.isPending) return <Skeleton height={220} />;
  return (
    <Suspense fallback={<Skeleton height={220} />}>
      <Chart lines={usage.data} by={by} from={from} />
    </Suspense>
  );
}

function Fact({
  label,
  value,
  told,
  tone,
}: {
  label: string;
  value: ReactNode;
  told: ReactNode;
  tone?: string | undefined;
}) {
  return (
    <Paper className="card" p="md">
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Text size="xl" fw={600} className="figures" c={tone && `var(--${tone})`}>
        {value}
      </Text>
      <Text size="sm" c="dimmed" component="div">
        {told}
      </Text>
    </Paper>
  );
}

function Objects({ name, streams }: { name: string; streams: readonly Schemas['StreamStatus'][] }) {
  if (streams.length === 0) return null;
  const shown = streams.slice(0, 10);
  const historical = streams.filter((one) => typeof one.history === 'number');
  const whole = historical.filter((one) => one.history === 1).length;
  return (
    <Paper className="card">
      <Group justify="space-between" p="md" pb={4}>
        <div>
          <Text fw={600}>Objects</Text>
          {historical.length > 0 && (
            <Text size="sm" c="dimmed">
              History of {count(whole)} of {some(historical.length, 'object')} read
            </Text>
          )}
        </div>
        <Button component={Link} to={at.pipeline(name, 'objects')} variant="subtle" size="compact-sm">
          {streams.length > shown.length ? `All ${count(streams.length)}` : 'Details'}
        </Button>
      </Group>
      <Scroll label="Objects">
        <table className="table">
          <thead>
            <tr>
              <th>Object</th>
              <th>History</th>
              <th>Tables</th>
              <th data-align="right">Loaded</th>
              <th data-align="right" data-hide="phone">
                Waiting
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.stream}>
                <td>{one.stream}</td>
                <td>{typeof one.history === 'number' ? <Share of={one.history} /> : '–'}</td>
                <td>{[...new Set(one.tables.map((table) => table.table))].join(', ') || '–'}</td>
                <td data-align="right">
                  {count(one.tables.reduce((sum, table) => sum + table.rows_loaded, 0))}
                </td>
                <td data-align="right" data-hide="phone">
                  {count(one.tables.reduce((sum, table) => sum + table.waiting_rows, 0))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </Paper>
  );
}
