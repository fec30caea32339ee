import { Button, Group, NumberInput, SegmentedControl, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import type { Schemas } from '~/api/client';
import { count } from '~/words/numbers';
import { ErrorNote } from './ErrorNote';
import { useReversible } from './reversible';

type Beyond = 'tell' | 'pause' | 'sideline';
type Wanted = Schemas['UsageLimitTeamBody'];

const BEYOND: { value: Beyond; label: string }[] = [
  { value: 'tell', label: 'Tell people' },
  { value: 'pause', label: 'Pause too' },
  { value: 'sideline', label: 'Hold back loads too' },
];

// A month: who gives more has no limit.
const MOST_GRACE = 31 * 24;

interface Props {
  /** Whose limit it is, in words. */
  of: string;
  kept: Schemas['Limit'] | null;
  period: 'day' | 'month';
  suggested: number | null;
  /** Null: no limit any more. */
  ask: (to: Wanted | null) => Promise<unknown>;
}

/** How many rows may be moved in a day or a month, and what is done beyond that. */
export function LimitForm({ of, kept, period, suggested, ask }: Props) {
  // What somebody has in mind; null: nothing yet.
  const [typed, setRows] = useState<number | string | null>(null);
  const [picked, setBeyond] = useState<Beyond | null>(null);
  const [hours, setGrace] = useState<number | string | null>(null);
  const rows = typed ?? kept?.rows ?? '';
  const beyond = picked ?? (kept?.pause ? 'pause' : kept?.sideline ? 'sideline' : 'tell');
  const grace = hours ?? kept?.grace_hours ?? 0;
  const done: Record<Beyond, string> = {
    tell: `${period === 'day' ? 'The pipeline goes' : 'Pipelines go'} on.`,
    pause: `Nothing is read until somebody resumes ${period === 'day' ? 'the pipeline' : 'the pipelines'}.`,
    sideline: `Rows are read, and wait on the stage until the next ${period}.`,
  };
  const save = useReversible<Wanted | null, unknown>({
    ask,
    said: (_, to) => (to === null ? `${of} has no limit now` : `The limit of ${of} is set`),
    after: () => {
      setRows(null);
      setBeyond(null);
      setGrace(null);
    },
    stale: ['usage'],
  });
  const before = kept
    ? { rows: kept.rows, pause: kept.pause, sideline: kept.sideline, grace_hours: kept.grace_hours }
    : null;
  return (
    <Stack>
      {kept && (
        <Text size="sm">
          {period === 'day' ? 'Today' : 'This month'} {count(kept.used)} of {count(kept.rows)} so far
          {kept.used <= kept.rows && kept.forecast > kept.rows && '; at this pace it goes beyond'}.
        </Text>
      )}
      <NumberInput
        label="At most"
        min={1}
        value={rows}
        onChange={setRows}
        w={220}
        thousandSeparator=","
        allowDecimal={false}
        placeholder={suggested === null ? undefined : count(suggested)}
      />
      <Stack gap={4}>
        <SegmentedControl
          aria-label="Beyond the limit"
          value={beyond}
          onChange={(value) => setBeyond(value as Beyond)}
          data={BEYOND}
          w="fit-content"
        />
        <Text size="sm" c="dimmed">
          {done[beyond]}
        </Text>
      </Stack>
      {beyond !== 'tell' && (
        <NumberInput
          label="Hours of grace"
          description="How long it goes on after the hour in which the limit was passed"
          min={0}
          max={MOST_GRACE}
          value={grace}
          onChange={setGrace}
          w={220}
          allowDecimal={false}
        />
      )}
      <ErrorNote error={save.error} />
      <Group>
        <Button
          variant="default"
          disabled={rows === '' || grace === '' || [typed, picked, hours].every((one) => one === null)}
          loading={save.isPending && save.variables.to !== null}
          onClick={() =>
            save.mutate({
              to: {
                rows: Number(rows),
                pause: beyond === 'pause',
                sideline: beyond === 'sideline',
                grace_hours: Number(grace),
              },
              from: before,
            })
          }
        >
          Set limit
        </Button>
        {kept && (
          <Button
            variant="subtle"
            color="gray"
            loading={save.isPending && save.variables.to === null}
            onClick={() => save.mutate({ to: null, from: before })}
          >
            No limit
          </Button>
        )}
      </Group>
    </Stack>
  );
}
