import '~/parts/panes.css';
import { Button, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useParams } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { Side } from '~/parts/Side';
import { some } from '~/words/numbers';
import { mapperAt } from './questions';

/** All versions of a mapping, what differs from today's, and the way back. */
export function Component() {
  const { pipeline = '', eventType = '' } = useParams();
  const path = { pipeline, event_type: eventType };
  const client = useQueryClient();
  const may = useMay();
  const [picked, pick] = useState<number | null>(null);
  const versions = useQuery({
    queryKey: ['mappings', pipeline, 'versions', eventType],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/versions', {
          params: { path, query: { limit: 200 } },
        }),
      ),
  });
  const newest = versions.data?.[0]?.version;
  const chosen = picked ?? versions.data?.[1]?.version;
  const difference = useQuery({
    queryKey: ['mappings', pipeline, 'difference', eventType, chosen, newest],
    enabled: chosen !== undefined && chosen !== newest,
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/difference', {
          params: { path, query: { a: chosen, b: newest } },
        }),
      ),
  });
  const restore = useMutation({
    mutationFn: (version: number) =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/mappings/{event_type}/restore', {
          params: { path },
          body: { version, dry_run: false },
        }),
      ),
    onSuccess: (plan) => {
      void client.invalidateQueries({ queryKey: ['mappings', pipeline] });
      done(`Version ${plan.version} is the mapping as it was.`);
    },
  });
  return (
    <Side title="Versions of the mapping" told={eventType} back={mapperAt(pipeline, eventType)}>
      <Stack gap="md">
        <ErrorNote error={versions.error ?? restore.error} />
        <div className="card">
          {versions.data?.map((one) => (
            <button
              key={one.version}
              type="button"
              className="choice"
              aria-pressed={one.version === chosen}
              onClick={() => pick(one.version)}
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
        {chosen !== undefined && chosen !== newest && (
          <div className="card" style={{ padding: 16 }}>
            <Text fw={600} size="sm" mb={6}>
              From version {chosen} to today's
            </Text>
            <ErrorNote error={difference.error} />
            {difference.data?.length === 0 && <Text size="sm">They are the same.</Text>}
            {difference.data?.map((one, index) => (
              <Text key={index} size="sm">
                {one.what}: {one.before !== null && <s className="mono">{one.before}</s>}{' '}
                {one.after !== null && <b className="mono">{one.after}</b>}
              </Text>
            ))}
            {may('mappings.edit') && (
              <Button
                mt="sm"
                size="xs"
                variant="default"
                loading={restore.isPending}
                onClick={() => restore.mutate(chosen)}
              >
                Go back to version {chosen}
              </Button>
            )}
          </div>
        )}
      </Stack>
    </Side>
  );
}
