import { Group, Select, Text } from '@mantine/core';
import { IconActivity } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital } from '~/parts/ErrorNote';
import { sentence } from '~/words/statuses';

type Entry = Schemas['Entry'];

const COLUMNS: readonly Column<Entry>[] = [
  { id: 'at', header: 'When', width: 120, cell: (row) => <Ago at={row.at} /> },
  {
    id: 'author',
    header: 'Who',
    width: 220,
    cell: (row) => (
      <Text size="sm" truncate maw={220}>
        {row.author}
        {row.author_kind === 'key' && ' (by key)'}
      </Text>
    ),
  },
  { id: 'message', header: 'What', cell: (row) => capital(row.message) },
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
  const lines = useInfiniteQuery({
    queryKey: ['activity', { pipeline, severity }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/activity', {
          params: { query: { pipeline, severity, after: pageParam, limit: 50 } },
        }),
      ),
    getNextPageParam: (page) => page.next,
  });
  return (
    <>
      <Group mb="sm">
        <Select
          aria-label="Weight"
          w={190}
          data={[...LEAST]}
          value={severity}
          allowDeselect={false}
          onChange={(value) =>
            setSearch(value && value !== 'MEDIUM' ? { least: value } : {}, { replace: true })
          }
        />
      </Group>
      <div className="card">
        <DataTable
          label="Activity"
          columns={COLUMNS}
          rows={lines.data?.pages.flatMap((page) => page.items)}
          id={(row) => String(row.id)}
          error={lines.error}
          again={() => void lines.refetch()}
          more={{
            next: lines.hasNextPage,
            loading: lines.isFetchingNextPage,
            load: () => void lines.fetchNextPage(),
          }}
          empty={
            <Empty icon={IconActivity} title="Nothing of that weight yet">
              Every change that somebody makes leaves a line here: who, what, when, and what it was before.
            </Empty>
          }
        />
      </div>
    </>
  );
}
