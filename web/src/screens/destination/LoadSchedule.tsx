import { Button, Group, Select, Skeleton, Stack } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { ErrorNote } from '~/parts/ErrorNote';
import { useReversible } from '~/parts/reversible';
import { asked, HOURLY, ScheduleInput, type Timing, timingOf } from '~/parts/ScheduleInput';

type Loads = Schemas['Loads'];

/** When rows that wait on the stage are loaded: with every run, or by a schedule of its own. */
export function LoadSchedule({ destination, edits }: { destination: string; edits: boolean }) {
  const client = useQueryClient();
  const params = { path: { destination } };
  const queryKey = ['destinations', destination, 'loads'];
  // What somebody has in mind; undefined: nothing yet, null: with every run.
  const [wanted, want] = useState<Timing | null | undefined>(undefined);
  const loads = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/destinations/{destination}/load-schedule', { params })),
  });
  const save = useReversible<Timing | null, Loads>({
    ask: (to) =>
      body(
        to === null
          ? api.DELETE('/api/millrace/v1/destinations/{destination}/load-schedule', { params })
          : api.PUT('/api/millrace/v1/destinations/{destination}/load-schedule', {
              params,
              body: asked(to),
            }),
      ),
    said: (now) => `Rows are loaded ${now.schedule}.`,
    after: (now) => {
      client.setQueryData(queryKey, now);
      want(undefined);
    },
    stale: [],
  });
  if (!loads.data) {
    return loads.error ? (
      <ErrorNote error={loads.error} again={() => void loads.refetch()} />
    ) : (
      <Skeleton height={60} />
    );
  }
  const kept = loads.data.own === null ? null : timingOf(loads.data.own);
  const timing = wanted === undefined ? kept : wanted;
  return (
    <fieldset disabled={!edits} className="plain">
      <Stack>
        <Group align="flex-start">
          <Select
            label="Load"
            w={220}
            allowDeselect={false}
            disabled={!edits}
            value={timing === null ? 'runs' : 'own'}
            onChange={(value) => want(value === 'runs' ? null : (kept ?? HOURLY))}
            data={[
              { value: 'runs', label: 'With every run' },
              { value: 'own', label: 'By a schedule of its own' },
            ]}
          />
          {timing && <ScheduleInput value={timing} change={want} without={['demand']} />}
        </Group>
        <ErrorNote error={save.error} />
        {edits && (
          <Group gap="xs">
            <Button
              disabled={wanted === undefined}
              loading={save.isPending}
              onClick={() => save.mutate({ to: timing, from: kept })}
            >
              Save
            </Button>
            {wanted !== undefined && (
              <Button variant="default" disabled={save.isPending} onClick={() => want(undefined)}>
                Undo my changes
              </Button>
            )}
          </Group>
        )}
      </Stack>
    </fieldset>
  );
}
