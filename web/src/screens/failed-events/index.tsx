import { Button, Group as Row, Select, Text, TextInput } from '@mantine/core';
import { IconMoodSmile, IconRouteSquare, IconSearch } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useParams, useSearchParams } from 'react-router';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { paged } from '~/parts/paged';
import { StatusBadge } from '~/parts/StatusBadge';
import { count, some } from '~/words/numbers';
import { type Group, groupAt, groupsQuery, listAt, type Named, STAGES } from './questions';

const WHO = {
  you: { tone: 'look', word: 'Needs you' },
  time: { tone: 'quiet', word: 'Tries again' },
  Millrace: { tone: 'failed', word: 'A fault of Millrace' },
} as const;

/** How many there are, in one line. */
function waiting(rows: number, groups: number, narrowed: boolean): string {
  if (rows === 0) return narrowed ? 'None of these' : 'None waits';
  const wait = `${some(rows, 'event')} ${rows === 1 ? 'waits' : 'wait'} for a cure`;
  return narrowed ? `${wait}, in ${some(groups, 'group')}` : `${wait}; none is lost`;
}

/** Which rows could not pass, why, and what cures them: of one pipeline, or of all. */
export function Component() {
  const { pipeline: own, stream, stage, code, of } = useParams();
  const navigate = useNavigate();
  const [search, set] = useAddress();
  const [, setSearch] = useSearchParams();
  const only = search.get('pipeline');
  const [text, type, wanted] = useSought();
  const groups = useInfiniteQuery(groupsQuery(own ?? only, wanted));
  const known = groups.data?.pages[0];
  const narrowed = Boolean(only || wanted);
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
  const told = known && waiting(known.rows, known.groups, narrowed);
  const clear = () => setSearch({}, { replace: true });
  const find = (
    <TextInput
      leftSection={<IconSearch size={16} />}
      placeholder="Event type, code or message"
      aria-label="Search failed events"
      data-search
      size={own ? 'xs' : 'sm'}
      w={{ base: '100%', xs: 240 }}
      value={text}
      onChange={(event) => type(event.currentTarget.value)}
    />
  );
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
          <Row gap="xs">
            {find}
            {trace}
          </Row>
        </Row>
      ) : (
        <PageHead title="Failed events" told={told} actions={trace} />
      )}
      {!own && (
        <Row mb="sm" gap="xs">
          {find}
          <Select
            aria-label="Pipeline"
            placeholder="All pipelines"
            clearable
            searchable
            limit={100}
            w={200}
            value={only}
            onChange={(value) => set({ pipeline: value })}
            data={[...(known?.pipelines ?? [])]}
          />
        </Row>
      )}
      <div className="card">
        <DataTable
          label="Groups of failed events"
          columns={columns}
          {...paged(groups)}
          id={id}
          rowHeight={57}
          open={(one) => navigate(to(one))}
          current={stream && stage && code ? id({ pipeline: of ?? '', stream, stage, code }) : undefined}
          empty={
            narrowed ? (
              <Empty
                icon={IconSearch}
                title="No failed events are like that"
                action={
                  <Button variant="default" onClick={clear}>
                    Show all
                  </Button>
                }
              />
            ) : (
              <Empty icon={IconMoodSmile} title="No failed events">
                An event that cannot pass stops nothing: it waits here with its reason, until its cause is
                cured, while the others go on.
              </Empty>
            )
          }
        />
      </div>
      <Outlet />
    </>
  );
  return own ? list : <div className="content">{list}</div>;
}
