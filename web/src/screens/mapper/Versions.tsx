import '~/parts/panes.css';
import { Button, Group, Select, Stack, Text } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { useAddress } from '~/parts/address';
import { ErrorNote } from '~/parts/ErrorNote';
import { Side } from '~/parts/Side';
import { some } from '~/words/numbers';
import { restoring } from './asking';
import { mapperAt } from './questions';
import { Review } from './Review';

const PAGE = 100;

/** All versions of a mapping, what differs between two of them, and the way back. */
export function Component() {
  const { pipeline = '', eventType = '' } = useParams();
  const path = { pipeline, event_type: eventType };
  const may = useMay();
  const [search, set] = useAddress();
  const [asking, ask] = useState(false);
  const versions = useInfiniteQuery({
    queryKey: ['mappings', pipeline, 'versions', eventType],
    initialPageParam: null as number | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/versions', {
          params: { path, query: { limit: PAGE, before: pageParam } },
        }),
      ),
    getNextPageParam: (page) => (page.length < PAGE ? null : page.at(-1)?.version),
  });
  const all = versions.data?.pages.flat();
  const newest = all?.[0]?.version;
  // Versions in the address: from which one, to which one.
  const from = Number(search.get('from')) || all?.[1]?.version;
  const to = Number(search.get('to')) || newest;
  const difference = useQuery({
    queryKey: ['mappings', pipeline, 'difference', eventType, from, to],
    enabled: from !== undefined && to !== undefined && from !== to,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/difference', {
          params: { path, query: { a: from, b: to } },
        }),
      ),
  });
  return (
    <Side
      title="Versions of the mapping"
      told={eventType}
      back={mapperAt(pipeline, eventType)}
      own={['from', 'to']}
    >
      <Stack gap="md">
        <ErrorNote error={versions.error} again={() => void versions.refetch()} />
        <div className="card">
          {all?.map((one) => (
            <button
              key={one.version}
              type="button"
              className="choice"
              aria-pressed={one.version === from}
              onClick={() => set({ from: String(one.version) })}
            >
              <Text fw={600} size="sm" w={80}>
                Version {one.version}
              </Text>
              <Text size="sm" flex={1} truncate>
                {one.reason ?? some(one.columns, 'column')}
              </Text>
              <Text size="xs" c="dimmed" component="span">
                {one.author ?? 'a run'} · <Ago at={one.at} />
              </Text>
            </button>
          ))}
        </div>
        {versions.hasNextPage && (
          <Button
            variant="default"
            size="compact-sm"
            loading={versions.isFetchingNextPage}
            onClick={() => void versions.fetchNextPage()}
          >
            Show more
          </Button>
        )}
        {all && from !== undefined && to !== undefined && (
          <section className="card" style={{ padding: 16 }} aria-label="What differs">
            <Group gap="xs" mb="xs">
              <Text fw={600} size="sm">
                From version {from} to
              </Text>
              <Select
                size="xs"
                w={170}
                aria-label="To version"
                allowDeselect={false}
                value={String(to)}
                onChange={(value) => value && set({ to: value })}
                data={all.map(({ version }) => ({
                  value: String(version),
                  label: version === newest ? `version ${version}, today's` : `version ${version}`,
                }))}
              />
            </Group>
            <ErrorNote error={difference.error} />
            {(from === to || difference.data?.length === 0) && <Text size="sm">They are the same.</Text>}
            {from !== to &&
              difference.data?.map((one, index) => (
                <Text key={index} size="sm">
                  {one.what}: {one.before !== null && <s className="mono">{one.before}</s>}{' '}
                  {one.after !== null && <b className="mono">{one.after}</b>}
                </Text>
              ))}
            {may('mappings.edit') && from !== newest && (
              <Button mt="sm" size="xs" variant="default" onClick={() => ask(true)}>
                Go back to version {from}
              </Button>
            )}
          </section>
        )}
      </Stack>
      {asking && from !== undefined && (
        <Review
          pipeline={pipeline}
          change={restoring({ pipeline, eventType }, from)}
          close={() => ask(false)}
        />
      )}
    </Side>
  );
}
