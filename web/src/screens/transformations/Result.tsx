import { Alert, Badge, Code, Group, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconFilterOff, IconTable } from '@tabler/icons-react';
import type { Schemas } from '~/api/client';
import { capital } from '~/parts/ErrorNote';
import { Told } from '~/parts/Told';
import { some } from '~/words/numbers';
import { Compared } from './Compared';
import type { Event, Outcome } from './questions';

/** What became of one event. */
export function Result({ event, outcome }: { event: Event; outcome: Outcome }) {
  if (outcome.error) {
    return (
      <Alert color="red" variant="light" icon={<IconAlertTriangle size={20} />} role="alert">
        <Text size="sm" fw={500} c="var(--mantine-color-text)">
          <Told text={capital(outcome.error.message)} />
        </Text>
        <Text size="sm" mt={4} c="var(--mantine-color-text)">
          This event would wait among the failed events; the others go on.
        </Text>
        <Text size="xs" mt={4} c="dimmed" className="mono">
          {outcome.error.code}
          {outcome.error.frames.length > 0 && ` · ${outcome.error.frames.join(' › ')}`}
        </Text>
      </Alert>
    );
  }
  if (outcome.output.length === 0) {
    return (
      <Stack gap={0}>
        <Alert color="gray" variant="light" icon={<IconFilterOff size={20} />}>
          <Text size="sm">It is left out on purpose, and counted as filtered.</Text>
        </Alert>
        <Compared before={null} after={event} />
      </Stack>
    );
  }
  const kept = outcome.output.find((one) => one.event_name === event.event_name) ?? null;
  const first = kept ?? (outcome.output.length === 1 ? (outcome.output[0] ?? null) : null);
  return (
    <Stack gap={0}>
      {outcome.output.map((one, index) => (
        <div key={index} className="outcome">
          <Group gap="xs" px={12} pt={10}>
            <Text fw={600} size="sm">
              {one.event_name}
            </Text>
            {one !== first && (
              <Badge size="sm" variant="light">
                new event
              </Badge>
            )}
            {one === first && one.event_name !== event.event_name && (
              <Text size="xs" c="dimmed">
                was {event.event_name}
              </Text>
            )}
          </Group>
          <Compared before={one === first ? event : null} after={one} />
        </div>
      ))}
    </Stack>
  );
}

/** What tables would become of it, and what the script printed. */
export function Impact({
  effects,
  printed,
}: {
  effects: readonly Schemas['Effect'][];
  printed: readonly string[];
}) {
  return (
    <>
      <div className="pane-foot">
        <Group gap={6} mb={effects.length ? 6 : 0}>
          <IconTable size={16} aria-hidden />
          <Text size="sm" fw={600}>
            {effects.length ? `${some(effects.length, 'change')} of tables` : 'No table changes'}
          </Text>
        </Group>
        {effects.map((one, index) => (
          <Text key={index} size="sm">
            <span className="mono">{one.table}</span> {one.change}
          </Text>
        ))}
      </div>
      {printed.length > 0 && (
        <div className="pane-foot">
          <Text size="sm" fw={600} mb={6}>
            Printed
          </Text>
          <Code block mah={160} style={{ overflow: 'auto' }}>
            {printed.join('\n')}
          </Code>
        </div>
      )}
    </>
  );
}
