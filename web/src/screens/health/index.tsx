import { Group, Paper, Stack, Text, Title } from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { Scroll } from '~/parts/Scroll';
import { ToneIcon } from '~/parts/StatusBadge';
import { some } from '~/words/numbers';
import type { Tone } from '~/words/statuses';

/** Whether the server itself is well: does it answer, what is at work, are scripts behind a wall? */
export function Component() {
  const ready = useQuery({
    queryKey: ['ready'],
    queryFn: async () => {
      const began = performance.now();
      const answer = await fetch('/readyz');
      return { ok: answer.ok, ms: Math.round(performance.now() - began) };
    },
    refetchInterval: 10_000,
  });
  const sandbox = useQuery({
    queryKey: ['sandbox'],
    queryFn: () => body(api.GET('/api/millrace/v1/sandbox')),
  });
  const jobs = useQuery({
    queryKey: ['jobs', 'active'],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/jobs', {
          params: { query: { status: ['QUEUED', 'IN_PROGRESS', 'CANCELLING'], limit: 100 } },
        }),
      ),
  });
  const waiting = jobs.data?.items.filter((one) => one.run.status === 'QUEUED').length ?? 0;
  const working = (jobs.data?.items.length ?? 0) - waiting;
  return (
    <div className="content">
      <PageHead title="System health" told="Whether the server itself is well." />
      <Stack gap="md">
        <Paper className="card" p="lg">
          <Line
            tone={ready.data ? (ready.data.ok ? 'well' : 'failed') : ready.error ? 'failed' : 'quiet'}
            title="Server and control database"
            told={
              ready.data
                ? ready.data.ok
                  ? `Answers, in ${ready.data.ms} ms`
                  : 'The server answers, its control database does not'
                : ready.error
                  ? 'Does not answer'
                  : 'Is asked'
            }
          />
          <Line
            tone={waiting > 0 && working === 0 ? 'look' : working > 0 ? 'working' : 'well'}
            title="Workers"
            told={
              waiting > 0 && working === 0
                ? `${some(waiting, 'job')} wait, and no worker is at work: does the service run?`
                : `${some(working, 'job')} at work, ${some(waiting, 'job')} waiting`
            }
          />
          <Line
            tone={sandbox.data ? (sandbox.data.safe ? 'well' : 'look') : 'quiet'}
            title="Sandbox of scripts"
            told={sandbox.data?.told ?? 'Is asked'}
          />
          <ErrorNote error={sandbox.error ?? jobs.error} />
        </Paper>
        <Paper className="card">
          <Title order={2} p="md" pb={0}>
            At work and waiting
          </Title>
          {jobs.data?.items.length === 0 ? (
            <Empty icon={IconPlayerPlay} title="Nothing goes on">
              Jobs that run or wait for a worker are listed here.
            </Empty>
          ) : (
            <Scroll label="At work and waiting">
              <table className="table">
                <thead>
                  <tr>
                    <th>Pipeline</th>
                    <th>Job</th>
                    <th>Stage</th>
                    <th>Asked for</th>
                  </tr>
                </thead>
                <tbody>
                  {jobs.data?.items.map(({ run, stage, requested_at }) => (
                    <tr key={run.id}>
                      <td>
                        <Link to={at.pipeline(run.pipeline)}>{run.pipeline}</Link>
                      </td>
                      <td>
                        <Link to={at.job(run.pipeline, run.id)}>#{run.id}</Link>
                      </td>
                      <td>{run.status === 'QUEUED' ? 'waits' : (stage ?? 'begins').toLowerCase()}</td>
                      <td>
                        <Ago at={requested_at} />
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Scroll>
          )}
        </Paper>
      </Stack>
    </div>
  );
}

function Line({ tone, title, told }: { tone: Tone; title: string; told: string }) {
  return (
    <Group wrap="nowrap" align="flex-start" py={6}>
      <span style={{ paddingTop: 2 }}>
        <ToneIcon tone={tone} size={20} />
      </span>
      <div>
        <Text fw={600}>{title}</Text>
        <Text c="dimmed">{told}</Text>
      </div>
    </Group>
  );
}
