import { Alert, Button, Stack, Text } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Fragment, useState } from 'react';
import { Navigate, useLocation, useNavigate, useParams } from 'react-router';
import { api, body, Problem, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Balance } from '~/parts/Balance';
import { Confirm } from '~/parts/Confirm';
import { ErrorNote } from '~/parts/ErrorNote';
import { failed } from '~/parts/notices';
import { Scroll } from '~/parts/Scroll';
import { Side } from '~/parts/Side';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { count } from '~/words/numbers';
import { usePipelineName } from '../here';
import { WORDS } from '../objects/verbs';
import { isGoing, useLiveJob } from './live';
import { Now } from './Now';
import { Timeline } from './Timeline';

/** One job: what it did, what it does now, and what went wrong. */
export function Component() {
  const pipeline = usePipelineName();
  const number = Number(useParams().job);
  const may = useMay();
  const client = useQueryClient();
  const { search } = useLocation();
  const navigate = useNavigate();
  const live = useLiveJob(number);
  const job = live.data;
  const act = useMutation({
    mutationFn: (what: 'cancel' | 'retry') =>
      body(
        what === 'cancel'
          ? api.POST('/api/millrace/v1/jobs/{job}/cancel', { params: { path: { job: number } } })
          : api.POST('/api/millrace/v1/jobs/{job}/retry', { params: { path: { job: number } } }),
      ),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['jobs'] }),
  });
  // An object that may be read from its beginning, once that was confirmed.
  const [asked, ask] = useState<string | null>(null);
  const again = async (object: string) => {
    const params = { path: { job: number, object } };
    try {
      const { run } = await body(
        api.POST('/api/millrace/v1/jobs/{job}/objects/{object}/restart', { params }),
      );
      navigate({ pathname: at.job(run.pipeline, run.id), search });
    } finally {
      client.invalidateQueries({ queryKey: ['jobs'] });
    }
  };
  const run = job?.run;
  // Numbers of jobs are those of the whole server: an address may name one of another pipeline.
  if (run && run.pipeline !== pipeline) {
    return <Navigate to={{ pathname: at.job(run.pipeline, number), search }} replace />;
  }
  return (
    <Side
      title={`Job #${number}`}
      told={run && <StatusBadge name={run.status} />}
      back={at.pipeline(pipeline, 'jobs')}
      actions={
        run &&
        may('pipelines.edit') && (
          <>
            {isGoing(run.status) && run.status !== 'CANCELLING' && (
              <Button variant="default" loading={act.isPending} onClick={() => act.mutate('cancel')}>
                Cancel
              </Button>
            )}
            {[
              'FAILED',
              'CANCELLED',
              'COMPLETED_WITH_FAILURES',
              'DEFERRED',
              'DEFERRED_WITH_FAILURES',
            ].includes(run.status) && (
              <Button variant="default" loading={act.isPending} onClick={() => act.mutate('retry')}>
                Try again
              </Button>
            )}
          </>
        )
      }
    >
      <ErrorNote error={live.error} again={() => void live.refetch()} />
      {job && run && (
        <Stack gap="lg">
          {run.error && (
            <ErrorNote
              error={
                new Problem(0, { code: run.error.code, message: run.error.message, hint: run.error.hint })
              }
            />
          )}
          {isGoing(run.status) && <Now job={job} />}
          <section aria-label="Rows">
            <Balance of={run.balance} pipeline={pipeline} />
          </section>
          <section aria-label="Times">
            <Timeline job={job} />
          </section>
          {job.objects.length > 0 && (
            <section aria-label="Objects">
              <Text fw={600} mb={4}>
                Objects
              </Text>
              <Scroll label="Objects" className="card">
                <table className="table">
                  <thead>
                    <tr>
                      <th>Object</th>
                      <th>Status</th>
                      <th data-align="right" data-hide="phone">
                        Read
                      </th>
                      <th data-align="right">Loaded</th>
                      <th data-align="right">Failed</th>
                    </tr>
                  </thead>
                  <tbody>
                    {job.objects.map((one) => (
                      <Fragment key={one.stream}>
                        <tr>
                          <td>{one.stream}</td>
                          <td>
                            <StatusBadge name={one.status} />
                            {one.status === 'FAILED' && !isGoing(run.status) && may('pipelines.edit') && (
                              <Button
                                size="compact-xs"
                                variant="default"
                                mt={4}
                                aria-label={`Read ${one.stream} again`}
                                onClick={() => ask(one.stream)}
                              >
                                Read again
                              </Button>
                            )}
                          </td>
                          <td data-align="right" data-hide="phone">
                            {count(run.streams[one.stream]?.read ?? 0)}
                          </td>
                          <td data-align="right">{count(run.streams[one.stream]?.loaded ?? 0)}</td>
                          <td data-align="right">{count(run.streams[one.stream]?.rejected_rows ?? 0)}</td>
                        </tr>
                        <More of={one} />
                      </Fragment>
                    ))}
                  </tbody>
                </table>
              </Scroll>
            </section>
          )}
          {run.notes.map((note, index) => (
            <Alert
              key={index}
              variant="light"
              color={note.level === 'warning' ? 'yellow' : 'gray'}
              icon={<IconInfoCircle />}
            >
              <Told text={note.message} />
            </Alert>
          ))}
        </Stack>
      )}
      {asked && (
        <Confirm
          title={`Read ${asked} again from its beginning?`}
          verb="Read again"
          harmless
          act={() => again(asked)}
          close={() => ask(null)}
        >
          {WORDS.restart}
        </Confirm>
      )}
    </Side>
  );
}

/** Where its rows went, why it failed, and, folded away, from where to where it was read, as its source says it. */
function More({ of: { tables, error, before, after } }: { of: Schemas['Job']['objects'][number] }) {
  const moved = Object.keys(after).filter(
    (lane) => JSON.stringify(before[lane]) !== JSON.stringify(after[lane]),
  );
  if (tables.length === 0 && !error && moved.length === 0) return null;
  return (
    <tr className="told">
      <td colSpan={5}>
        {tables.length > 0 && (
          <Text size="xs" c="dimmed" className="mono">
            → {tables.join(', ')}
          </Text>
        )}
        {moved.length > 0 && (
          <Text size="xs" c="dimmed" component="details">
            <summary style={{ cursor: 'pointer' }}>Position</summary>
            {moved.map((lane) => (
              <div key={lane} className="mono" style={{ overflowWrap: 'anywhere' }}>
                {JSON.stringify(before[lane] ?? null)} → {JSON.stringify(after[lane])}
              </div>
            ))}
          </Text>
        )}
        {error && (
          <Text size="xs" c="var(--failed)">
            <Told text={error.message} />
          </Text>
        )}
      </td>
    </tr>
  );
}
