import { Button, Group, Select, Text } from '@mantine/core';
import { IconActivity, IconX } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useParams, useSearchParams } from 'react-router';
import { api, body } from '~/api/client';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital } from '~/parts/ErrorNote';
import { paged } from '~/parts/paged';
import { sentence } from '~/words/statuses';
import { type Entry, listAt } from './questions';

/** `to`: the drawer of a line; `by`: the lines of its author. */
const columns = (to: (row: Entry) => object, by: (author: string) => object): Column<Entry>[] => [
  { id: 'at', header: 'When', width: 120, cell: (row) => <Ago at={row.at} /> },
  {
    id: 'author',
    header: 'Who',
    width: 220,
    hide: 'phone',
    cell: (row) => (
      <Text size="sm" truncate maw={220}>
        <Link to={by(row.author)} className="plain" aria-label={`Only what ${row.author} did`}>
          {row.author}
        </Link>
        {row.author_kind === 'key' && ' (by key)'}
      </Text>
    ),
  },
  {
    id: 'message',
    header: 'What',
    cell: (row) => (
      <Link to={to(row)} className="plain">
        {capital(row.message)}
      </Link>
    ),
  },
  { id: 'severity', header: 'Importance', width: 100, hide: 'phone', cell: (row) => sentence(row.severity) },
];

const LEAST = [
  { value: 'LOW', label: 'Everything' },
  { value: 'MEDIUM', label: 'Medium and above' },
  { value: 'HIGH', label: 'High and above' },
  { value: 'CRITICAL', label: 'Critical' },
] as const;

/** Lines of the log of activity: of the team, or of one pipeline. */
export function ActivityList({ pipeline }: { pipeline?: string }) {
  const [search, setSearch] = useSearchParams();
  const severity = (search.get('least') ?? 'MEDIUM') as Entry['severity'];
  const author = search.get('by');
  // Of a pipeline's log, what was done to the mapping of one event type.
  const eventType = pipeline === undefined ? null : search.get('type');
  const navigate = useNavigate();
  const { line } = useParams();
  const asking = (key: string, value: string | null) => {
    const asked = new URLSearchParams(search);
    if (value) asked.set(key, value);
    else asked.delete(key);
    return asked;
  };
  const to = (row: Entry) => ({ pathname: `${listAt(pipeline)}/${row.id}`, search: search.toString() });
  const lines = useInfiniteQuery({
    queryKey: ['activity', { pipeline, severity, author, eventType }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/activity', {
          params: {
            query: { pipeline, severity, author, event_type: eventType, after: pageParam, limit: 50 },
          },
        }),
      ),
    getNextPageParam: (page) => page.next,
  });
  return (
    <>
      <Group mb="sm">
        <Select
          aria-label="Importance"
          w={190}
          data={[...LEAST]}
          value={severity}
          allowDeselect={false}
          onChange={(value) =>
            setSearch(asking('least', value === 'MEDIUM' ? null : value), { replace: true })
          }
        />
        {[
          { key: 'by', label: author && `By ${author}` },
          { key: 'type', label: eventType && `Mapping of ${eventType}` },
        ].map(
          ({ key, label }) =>
            label && (
              <Button
                key={key}
                size="xs"
                variant="default"
                rightSection={<IconX size={14} aria-hidden />}
                aria-label={`${label}: show all`}
                onClick={() => setSearch(asking(key, null), { replace: true })}
              >
                {label}
              </Button>
            ),
        )}
      </Group>
      <div className="card">
        <DataTable
          label="Activity"
          columns={columns(to, (name) => ({ search: asking('by', name).toString() }))}
          {...paged(lines)}
          id={(row) => String(row.id)}
          open={(row) => navigate(to(row))}
          current={line}
          empty={
            eventType ? (
              <Empty icon={IconActivity} title="Nobody changed this mapping">
                What runs changed by themselves stands among its versions.
              </Empty>
            ) : (
              <Empty icon={IconActivity} title="Nothing like that yet">
                Every change that somebody makes leaves a line here: who, what, when, and what it was before.
              </Empty>
            )
          }
        />
      </div>
      <Outlet />
    </>
  );
}
