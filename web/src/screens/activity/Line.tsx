import { Skeleton, Stack, Text } from '@mantine/core';
import { IconActivity } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from 'react-router';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { Empty } from '~/parts/Empty';
import { capital, ErrorNote } from '~/parts/ErrorNote';
import { Scroll } from '~/parts/Scroll';
import { Side } from '~/parts/Side';
import { sentence } from '~/words/statuses';
import { differences, type Entry, lineQuery, listAt } from './questions';

/** One line of the log: who did it, from where, and what was before and after it. */
export function Component() {
  const { pipeline, line = '' } = useParams();
  const found = useQuery(lineQuery(pipeline, Number(line)));
  return (
    <Side title={found.data ? capital(found.data.message) : 'A line of the log'} back={listAt(pipeline)}>
      <ErrorNote error={found.error} again={() => void found.refetch()} />
      {found.isPending && <Skeleton height={120} />}
      {found.data === null && (
        <Empty icon={IconActivity} title="There is no such line">
          Lines are kept for a year.
        </Empty>
      )}
      {found.data && <Told of={found.data} />}
    </Side>
  );
}

function Told({ of }: { of: Entry }) {
  const changed = differences(of);
  return (
    <Stack gap="lg">
      <dl className="facts">
        <dt>When</dt>
        <dd>
          <Ago at={of.at} />
        </dd>
        <dt>Who</dt>
        <dd>
          {of.author}
          {of.author_kind === 'key' && ', by a key'}
        </dd>
        {of.address && (
          <>
            <dt>From</dt>
            <dd className="mono">{of.address}</dd>
          </>
        )}
        <dt>About</dt>
        <dd>
          {sentence(of.entity.type)}{' '}
          {of.pipeline === null ? (
            of.entity.name
          ) : (
            <Link to={at.pipeline(of.pipeline)}>{of.entity.name}</Link>
          )}
        </dd>
        {of.run_id !== null && of.pipeline !== null && (
          <>
            <dt>Job</dt>
            <dd>
              <Link to={at.job(of.pipeline, of.run_id)}>#{of.run_id}</Link>
            </dd>
          </>
        )}
        <dt>Importance</dt>
        <dd>{sentence(of.severity)}</dd>
      </dl>
      {changed.length === 0 ? (
        <Text c="dimmed" size="sm">
          No value is kept with it.
        </Text>
      ) : (
        <div className="card">
          <Scroll label="What differs">
            <table className="table" aria-label="What differs">
              <thead>
                <tr>
                  <th scope="col">What</th>
                  <th scope="col">Before</th>
                  <th scope="col">After</th>
                </tr>
              </thead>
              <tbody>
                {changed.map((one) => (
                  <tr key={one.what}>
                    <td>{sentence(one.what)}</td>
                    <td className="mono" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
                      {one.before}
                    </td>
                    <td className="mono" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
                      {one.after}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        </div>
      )}
    </Stack>
  );
}
