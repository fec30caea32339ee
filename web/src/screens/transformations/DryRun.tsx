import { Badge, Button, Group, Loader, Modal, NumberInput, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { api, body } from '~/api/client';
import { useErrand } from '~/api/errands';
import { ErrorNote } from '~/parts/ErrorNote';
import { Told } from '~/parts/Told';
import { count, some } from '~/words/numbers';
import { Compared } from './Compared';
import type { Became, DryRun as Found, Kind } from './questions';
import { Impact } from './Result';

const WORDS: Record<Became, { word: string; colour: string }> = {
  unchanged: { word: 'pass as they are', colour: 'gray' },
  changed: { word: 'are changed', colour: 'teal' },
  split: { word: 'become several', colour: 'blue' },
  dropped: { word: 'are left out', colour: 'gray' },
  failed: { word: 'fail', colour: 'red' },
};

/** The draft over the latest rows; nothing is written. */
export function DryRun({
  pipeline,
  kind,
  text,
  close,
}: {
  pipeline: string;
  kind: Kind;
  text: string;
  close: () => void;
}) {
  const [last, setLast] = useState(1000);
  const run = useErrand<Found>(() =>
    body(
      api.POST('/api/millrace/v1/pipelines/{pipeline}/transformation/dry-run', {
        params: { path: { pipeline } },
        body: { kind, text, last },
      }),
    ),
  );
  const found = run.data;
  return (
    <Modal
      opened
      onClose={close}
      size={760}
      title={<Text fw={600}>Dry run</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Stack gap="md">
        <Group align="flex-end">
          <NumberInput
            label="Latest rows"
            description="As they were read, or as they are staged. Nothing is written."
            value={last}
            min={1}
            max={10_000_000}
            thousandSeparator=","
            onChange={(value) => setLast(Number(value) || 1)}
            w={420}
          />
          <Button onClick={() => run.mutate()} loading={run.isPending}>
            {found ? 'Run again' : 'Run'}
          </Button>
        </Group>
        {run.isPending && (
          <Group gap="xs">
            <Loader size="xs" />
            <Text size="sm" c="dimmed">
              Rows go through the draft.
            </Text>
          </Group>
        )}
        <ErrorNote error={run.error} again={() => run.mutate()} />
        {found && !run.isPending && (
          <>
            <Group gap="lg" className="figures">
              {(Object.keys(WORDS) as Became[])
                .filter((one) => found.counts[one] > 0)
                .map((one) => (
                  <div key={one}>
                    <Text size="xl" fw={600} c={one === 'failed' ? 'var(--failed)' : undefined}>
                      {count(found.counts[one])}
                    </Text>
                    <Text size="sm" c="dimmed">
                      {WORDS[one].word}
                    </Text>
                  </div>
                ))}
            </Group>
            {found.through !== null && (
              <Text size="sm" c="dimmed">
                These rows went through version {found.through} already. With kept raw rows they would be as
                the source gave them.
              </Text>
            )}
            {Object.entries(found.failures).map(([message, rows]) => (
              <Text key={message} size="sm">
                <Text span c="var(--failed)" fw={500}>
                  {some(rows, 'row')}
                </Text>{' '}
                {message}
              </Text>
            ))}
            <div className="card">
              <Impact effects={found.effects} printed={[]} />
            </div>
            {found.differences.map((one, index) => (
              <div key={index} className="card">
                <Group gap="xs" p={10} pb={0}>
                  <Text size="sm" fw={600}>
                    {one.before.event_name}
                  </Text>
                  <Badge size="sm" variant="light" color={WORDS[one.became].colour}>
                    {one.became}
                  </Badge>
                </Group>
                {one.error ? (
                  <Text size="sm" p={10} c="var(--failed)">
                    <Told text={one.error.message} />
                    {one.error.line ? ` (line ${one.error.line})` : ''}
                  </Text>
                ) : (
                  one.after.map((after, number) => (
                    <Compared key={number} before={number === 0 ? one.before : null} after={after} />
                  ))
                )}
              </div>
            ))}
          </>
        )}
      </Stack>
    </Modal>
  );
}
