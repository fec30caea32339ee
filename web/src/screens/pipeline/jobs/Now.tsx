import { Group, Progress, Text } from '@mantine/core';
import type { Schemas } from '~/api/client';
import { useNow } from '~/parts/Ago';
import { ToneIcon } from '~/parts/StatusBadge';
import { count, share, some } from '~/words/numbers';
import { duration } from '~/words/times';

interface Meter {
  stage: string;
  progress: number | null;
  awaiting: string;
  read: number;
  loaded: number;
}

/** What a job does at this moment, how far it is, and about how long it still takes. */
export function Now({ job }: { job: Schemas['Job'] }) {
  const now = useNow();
  const meter = job.meter as Meter | null;
  if (!job.began_at) {
    return (
      <Group gap="xs">
        <ToneIcon tone="quiet" />
        <Text>Waits for a worker. System health shows how many there are.</Text>
      </Group>
    );
  }
  const seconds = Math.max(1, (now.getTime() - new Date(job.began_at).getTime()) / 1000);
  const left =
    meter?.progress && meter.progress > 0.02 ? (seconds * (1 - meter.progress)) / meter.progress : null;
  return (
    <div>
      <Group justify="space-between" mb={6} gap="xs">
        <Group gap="xs">
          <ToneIcon tone="working" />
          {/* Stages are told as they come; counts change too often for that. */}
          <Text fw={500} role="status">
            {meter?.stage ? `Now: ${meter.stage}` : 'Now: starting'}
            {meter?.awaiting && ` (waits for ${meter.awaiting})`}
          </Text>
        </Group>
        <Text c="dimmed" size="sm" className="figures">
          {meter && `${count(meter.read)} read, ${some(meter.loaded, 'row')} loaded`}
          {left !== null && ` · about ${duration(left * 1000)} left`}
        </Text>
      </Group>
      <Progress
        value={(meter?.progress ?? 0) * 100}
        animated={meter?.progress == null}
        aria-label={meter?.progress == null ? 'Going on' : `${share(meter.progress)} done`}
      />
    </div>
  );
}
