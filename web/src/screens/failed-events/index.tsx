import { Button, Group as Row, Select, Text } from '@mantine/core';
import { IconMoodSmile, IconRouteSquare } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useParams, useSearchParams } from 'react-router';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { StatusBadge } from '~/parts/StatusBadge';
import { count, some } from '~/words/numbers';
import { type Group, groupAt, groupsQuery, listAt, type Named, STAGES } from './questions';

const WHO = {
  you: { tone: 'look', word: 'Needs you' },
  time: { tone: 'quiet', word: 'Tries again' },
  Millrace: { tone: 'failed', word: 'A fault of Millrace' },
} as const;

/** Which rows could not pass, why, and what cures them: of one pipeline, or of all. */
export function Component() {
  const { pipeline: own, stream, stage, code, of } = useParams();
  const navigate = useNavigate();
  const [search, setSearch] = useSearchParams();
  const groups = useQuery(groupsQuery(own ?? null));
  const only = search.get('pipeline');
  const rows = groups.data?.filter((one) => !only || one.pipeline === only);
  const total = rows?.reduce((sum, one) => sum + one.rows, 0) ?? 0;
  const id = (one: { pipeline: string; stream: string; stage: string; code: string }) =>
    [one.pipeline, one.stream, one.stage, one.code].join(' ');
  // The drawer opens over the list as it is: its filter stays in the address.
  const to = (one: Group) => ({ pathname: groupAt(own, one as Named), search: search.toString() });
  const columns: Column<Group>[] = [
    {
      id: 'why',
      header: 'Why',
      cell: (one) => (
        <>
          <Link to={to(one)} className="plain">
            {capital(one.resolution.title)}
          </Link>
          <Text size="xs" c="dimmed" lineClamp={1} title={one.sample}>
            {one.sample}
          </Text>
        </>
      ),
    },
    ...(own
      ? []
      : [{ id: 'pipeline', header: 'Pipeline', cell: (one: Group) => one.pipeline, hide: 'phone' as const }]),
    {
      id: 'object',
      header: 'Event type',
      hide: 'phone',
      cell: (one) => (
        <>
          {one.stream}
          <Text size="xs" c="dimmed">
            {STAGES[one.stage] ?? one.stage}
          </Text>
        </>
      ),
    },
    {
      id: 'who',
      header: 'Who',
      cell: (one) => <StatusBadge name={one.resolution.who} as={WHO[one.resolution.who]} />,
      hide: 'phone',
    },
    { id: 'last', header: 'Last', cell: (one) => <Ago at={one.last_at} />, hide: 'tablet' },
    { id: 'rows', header: 'Events', align: 'right', cell: (one) => <b>{count(one.rows)}</b> },
  ];
  const told =
    groups.data && (total ? `${some(total, 'event')} wait for a cure; none is lost` : 'None waits');
  const trace = (
    <Button
      component={Link}
      to={`${listAt(own)}/trace`}
      variant="default"
      size={own ? 'xs' : 'sm'}
      leftSection={<IconRouteSquare size={16} />}
    >
      Find an event
    </Button>
  );
  const list = (
    <>
      {own ? (
        <Row justify="space-between" mb="sm">
          <Text c="dimmed">{told}</Text>
          {trace}
        </Row>
      ) : (
        <PageHead
          title="Failed events"
          told={told}
          actions={
            <>
              <Select
                aria-label="Pipeline"
                placeholder="All pipelines"
                clearable
                searchable
                w={200}
                value={only}
                onChange={(value) => setSearch(value ? { pipeline: value } : {}, { replace: true })}
                data={[...new Set(groups.data?.map((one) => one.pipeline))].sort()}
              />
              {trace}
            </>
          }
        />
      )}
      <div className="card">
        <DataTable
          label="Groups of failed events"
          columns={columns}
          rows={rows}
          id={id}
          rowHeight={57}
          error={groups.error}
          again={() => void groups.refetch()}
          open={(one) => navigate(to(one))}
          current={stream && stage && code ? id({ pipeline: of ?? '', stream, stage, code }) : undefined}
          empty={
            <Empty icon={IconMoodSmile} title="No failed events">
              An event that cannot pass stops nothing: it waits here with its reason, until its cause is
              cured, while the others go on.
            </Empty>
          }
        />
      </div>
      <Outlet />
    </>
  );
  return own ? list : <div className="content">{list}</div>;
}
