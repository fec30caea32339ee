import { Button, Group, Text, TextInput } from '@mantine/core';
import { IconDownload, IconFiles, IconSearch } from '@tabler/icons-react';
import {
  keepPreviousData,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router';
import { api, body, type Schemas, segment } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { Counts } from '~/parts/Counts';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { paged } from '~/parts/paged';
import { useReversible } from '~/parts/reversible';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { bytes, count, some } from '~/words/numbers';
import { useActions } from '../actions';
import { usePipeline, usePipelineName } from '../here';

type Row = Schemas['FileEntry'];
type Status = Row['status'];
type Wish = Schemas['FileLogActBody'];

// What needs somebody stands first.
const STATUSES: readonly Status[] = ['failed', 'ingesting', 'queued', 'ingested', 'skipped', 'gone'];
const MOST = 100;

/** What became of each file that the source saw, and what people want of it. */
export function Component() {
  const pipeline = usePipelineName();
  const params = { path: { pipeline } };
  const may = useMay();
  const client = useQueryClient();
  const here = usePipeline().data;
  const { run } = useActions(pipeline);
  const [asked, set] = useAddress();
  const [, ask] = useSearchParams();
  const [text, type, search] = useSought();
  const [selected, select] = useState<Record<string, true>>({});
  const status = asked.get('status') as Status | null;
  const narrowed = Boolean(status || search);
  // Told of with each change of a run (app/frame/live.ts); while one goes on, files change between those.
  const fresh = { refetchInterval: here?.running ? 10_000 : 60_000 };
  const files = useInfiniteQuery({
    queryKey: ['pipelines', 'files', pipeline, { status, search }],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/files', {
          params: { ...params, query: { status, search: search || null, after: pageParam, limit: MOST } },
        }),
      ),
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
    ...fresh,
  });
  const counts = useQuery({
    queryKey: ['pipelines', 'files', pipeline, 'counts'],
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines/{pipeline}/file-counts', { params })),
    ...fresh,
  });
  const act = (wish: Wish) =>
    body(api.POST('/api/millrace/v1/pipelines/{pipeline}/file-actions', { params, body: wish }));
  const skip = useReversible<Wish, unknown>({
    ask: act,
    said: (_, { action, paths }) =>
      `${some(paths.length, 'file')} ${action === 'skip' ? 'skipped' : 'taken in again'}`,
    after: () => select({}),
    stale: ['pipelines'],
  });
  const again = useMutation({
    mutationFn: (paths: string[]) => act({ action: 'read_again', paths }),
    onSuccess: (found) => {
      done(`${some(found.length, 'file')} read again with the next run`);
      select({});
    },
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['pipelines'] }),
  });
  const shown = paged(files);
  const columns = useMemo<Column<Row>[]>(() => columnsOf(pipeline), [pipeline]);
  const chosen = shown.rows?.filter((row) => selected[row.path]) ?? [];
  const paths = (want: (row: Row) => boolean) => chosen.filter(want).map((row) => row.path);
  const skipped = paths((row) => row.status === 'skipped');
  const others = paths((row) => row.status !== 'skipped');
  const readable = paths((row) => row.status !== 'skipped' && row.status !== 'gone');
  const busy = skip.isPending || again.isPending;
  const clear = () => ask({}, { replace: true });
  return (
    <>
      <Group mb="sm" gap="sm">
        <TextInput
          leftSection={<IconSearch size={16} />}
          placeholder="Search by path"
          aria-label="Search files"
          data-search
          value={text}
          onChange={(event) => type(event.currentTarget.value)}
          w={{ base: '100%', xs: 240 }}
        />
        <Counts
          counts={counts.data ?? {}}
          order={STATUSES}
          chosen={status ? [status] : []}
          choose={(name) => set({ status: name })}
        />
        <Button
          ml="auto"
          component="a"
          href={`/api/millrace/v1/pipelines/${segment(pipeline)}/file-export`}
          download={`files of ${pipeline}.csv`}
          variant="default"
          leftSection={<IconDownload size={16} />}
        >
          As CSV
        </Button>
      </Group>
      {chosen.length > 0 && (
        <Group className="card" px="md" py={8} mb="sm" gap="xs" role="region" aria-label="Chosen files">
          <Text fw={500} mr="sm">
            {some(chosen.length, 'file')} chosen
          </Text>
          <Button
            size="xs"
            disabled={busy || readable.length === 0}
            loading={again.isPending}
            onClick={() => again.mutate(readable)}
          >
            Read again
          </Button>
          <Button
            size="xs"
            variant="default"
            disabled={busy || others.length === 0}
            onClick={() =>
              skip.mutate(
                { to: { action: 'skip', paths: others }, from: { action: 'unskip', paths: others } },
                { onError: failed },
              )
            }
          >
            Skip
          </Button>
          <Button
            size="xs"
            variant="default"
            disabled={busy || skipped.length === 0}
            onClick={() =>
              skip.mutate(
                { to: { action: 'unskip', paths: skipped }, from: { action: 'skip', paths: skipped } },
                { onError: failed },
              )
            }
          >
            Take in again
          </Button>
          <Button size="xs" variant="subtle" color="gray" onClick={() => select({})}>
            Choose none
          </Button>
        </Group>
      )}
      <div className="card">
        <DataTable
          label="Files"
          columns={columns}
          {...shown}
          id={(row) => row.path}
          selected={selected}
          select={may('pipelines.edit') ? select : undefined}
          rowHeight={57}
          empty={
            narrowed ? (
              <Empty
                icon={IconSearch}
                title="No file is like that"
                action={
                  <Button variant="default" onClick={clear}>
                    Show all
                  </Button>
                }
              />
            ) : (
              <Empty
                icon={IconFiles}
                title="No files yet"
                action={
                  may('pipelines.edit') &&
                  here?.state === 'ACTIVE' && (
                    <Button loading={run.isPending} onClick={() => run.mutate('run')}>
                      Run now
                    </Button>
                  )
                }
              >
                Each file that the source sees stands here once the pipeline has run, with what became of it.
              </Empty>
            )
          }
        />
      </div>
    </>
  );
}

const columnsOf = (pipeline: string): Column<Row>[] => [
  {
    id: 'path',
    header: 'File',
    cell: (row) => (
      <div>
        <Text size="sm" className="mono" style={{ overflowWrap: 'anywhere' }}>
          {row.path}
        </Text>
        <Text size="xs" c={row.error ? 'var(--failed)' : 'dimmed'}>
          {row.error ? <Told text={capital(row.error)} /> : row.stream}
        </Text>
      </div>
    ),
  },
  { id: 'status', header: 'Status', width: 120, cell: (row) => <StatusBadge name={row.status} /> },
  {
    id: 'size',
    header: 'Size',
    align: 'right',
    width: 90,
    hide: 'phone',
    cell: (row) => bytes(row.size_bytes),
  },
  { id: 'rows', header: 'Rows', align: 'right', width: 100, hide: 'phone', cell: (row) => count(row.rows) },
  {
    id: 'failed',
    header: 'Failed',
    align: 'right',
    width: 90,
    hide: 'phone',
    cell: (row) =>
      row.rejected > 0 ? (
        <Link to={at.pipeline(pipeline, 'failed-events')} className="failed">
          {count(row.rejected)}
        </Link>
      ) : (
        <Text span c="dimmed" inherit>
          0
        </Text>
      ),
  },
  {
    id: 'modified',
    header: 'Modified',
    width: 130,
    hide: 'phone',
    cell: (row) => <Ago at={row.modified_at} />,
  },
  {
    id: 'run',
    header: 'Last job',
    width: 90,
    hide: 'tablet',
    cell: (row) => (row.run === null ? '–' : <Link to={at.job(pipeline, row.run)}>#{row.run}</Link>),
  },
];
