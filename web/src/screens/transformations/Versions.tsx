import { Button, Group, Select, Stack, Text } from '@mantine/core';
import { IconHistory } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useAddress } from '~/parts/address';
import { Confirm } from '~/parts/Confirm';
import { Diff } from '~/parts/Diff';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { Side } from '~/parts/Side';
import { standingQuery } from './questions';

const PAGE = 100;
const KINDS = { python: 'Python', blocks: 'Blocks', none: 'No transformation' } as const;

/** All versions that were deployed; two of them beside each other, and the way back to one. */
export function Component() {
  const pipeline = useParams().pipeline ?? '';
  const client = useQueryClient();
  const may = useMay();
  const path = { pipeline };
  const versions = useInfiniteQuery({
    queryKey: ['transformation', pipeline, 'versions'],
    initialPageParam: null as number | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/transformation/versions', {
          params: { path, query: { limit: PAGE, before: pageParam } },
        }),
      ),
    getNextPageParam: (page) => (page.length < PAGE ? null : page.at(-1)?.version),
  });
  const all = versions.data?.pages.flat();
  const draft = useQuery(standingQuery(pipeline)).data?.draft;
  const newest = all?.[0];
  const [asked, set] = useAddress();
  const [asking, ask] = useState(false);
  const wanted = Number(asked.get('version'));
  const near = all?.find((one) => one.version === wanted);
  // An address may name one that is further back than what the list shows so far.
  const far = useQuery({
    queryKey: ['transformation', pipeline, 'version', wanted],
    enabled: wanted > 0 && newest !== undefined && wanted < newest.version && near === undefined,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/transformation/versions/{version}', {
          params: { path: { pipeline, version: wanted } },
        }),
      ),
  });
  const chosen = near ?? far.data ?? (far.isFetching ? undefined : newest);
  // Versions are numbered one after the other.
  const before = Number(asked.get('against') ?? (chosen && chosen.version > 1 ? chosen.version - 1 : -1));
  const difference = useQuery({
    queryKey: ['transformation', pipeline, 'difference', before, chosen?.version],
    enabled: chosen !== undefined && before >= 0,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/transformation/difference', {
          params: { path, query: { old: before, new: chosen?.version ?? 0 } },
        }),
      ),
  });
  const back = useMutation({
    mutationFn: (to: number) =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/transformation/roll-back', {
          params: { path },
          body: { to },
        }),
      ),
    onSuccess: (version) => {
      void client.invalidateQueries({ queryKey: ['transformation', pipeline] });
      done(`Version ${version.version} is deployed, as it was before.`);
    },
  });
  return (
    <Side
      wide
      title="Versions"
      told="What was deployed, the latest first"
      back={at.pipeline(pipeline, 'transformations')}
      own={['version', 'against']}
    >
      <ErrorNote error={versions.error ?? far.error} again={() => void versions.refetch()} />
      {all?.length === 0 && (
        <Empty icon={IconHistory} title="Nothing was deployed yet">
          Each time that a draft is deployed, a version is kept here, with who did it and why.
        </Empty>
      )}
      {chosen && (
        <Stack gap="md">
          <div
            className="card"
            role="listbox"
            aria-label="Versions"
            style={{ maxHeight: 260, overflow: 'auto' }}
          >
            {all?.map((one) => (
              <button
                key={one.version}
                type="button"
                role="option"
                aria-selected={one.version === chosen.version}
                className="choice"
                onClick={() => set({ version: String(one.version) })}
              >
                <Text fw={600} size="sm" w={90}>
                  Version {one.version}
                </Text>
                <Text size="sm" flex={1} truncate>
                  {one.reason ?? KINDS[one.kind]}
                </Text>
                <Text size="xs" c="dimmed">
                  {one.author ?? 'a file'} · <Ago at={one.created_at} />
                </Text>
                {one === newest && (
                  <Text size="xs" c="var(--well)" fw={500}>
                    deployed
                  </Text>
                )}
              </button>
            ))}
          </div>
          {versions.hasNextPage && (
            <Button
              variant="default"
              size="compact-sm"
              style={{ alignSelf: 'start' }}
              loading={versions.isFetchingNextPage}
              onClick={() => void versions.fetchNextPage()}
            >
              Show more
            </Button>
          )}
          <Group justify="space-between">
            {(all?.length ?? 0) + (draft ? 1 : 0) > 1 && (
              <Select
                aria-label="Compared with"
                size="xs"
                w={220}
                value={before >= 0 ? String(before) : null}
                placeholder="Compare with"
                onChange={(against) => set({ against })}
                data={[
                  ...(draft ? [{ value: '0', label: 'Compared with the draft' }] : []),
                  ...[...new Set([...(all ?? []).map((one) => one.version), ...(before > 0 ? [before] : [])])]
                    .filter((one) => one !== chosen.version)
                    .map((one) => ({ value: String(one), label: `Compared with version ${one}` })),
                ]}
              />
            )}
            {chosen !== newest && may('transformations.edit') && (
              <Button size="xs" variant="default" onClick={() => ask(true)}>
                Go back to version {chosen.version}
              </Button>
            )}
          </Group>
          <ErrorNote error={difference.error} />
          {difference.data && before >= 0 ? (
            <Diff lines={difference.data} none="Both are the same." />
          ) : (
            <Diff lines={chosen.text.split('\n').map((line) => ` ${line}`)} none="Rows pass as they are." />
          )}
        </Stack>
      )}
      {asking && chosen && (
        <Confirm
          harmless
          title={`Go back to version ${chosen.version}?`}
          verb="Go back"
          act={() => back.mutateAsync(chosen.version)}
          close={() => ask(false)}
        >
          It is deployed again as a new version. Rows that are read from now on go through it; loaded rows
          stay as they are, and so does your draft.
        </Confirm>
      )}
    </Side>
  );
}
