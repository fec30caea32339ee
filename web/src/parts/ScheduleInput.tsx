import { Group, Select, TextInput } from '@mantine/core';

/** A schedule as a form has it. */
export interface Timing {
  how: 'every' | 'daily' | 'cron' | 'demand';
  every: string;
  at: string;
  cron: string;
  timezone: string;
}

export const HOURLY: Timing = {
  how: 'every',
  every: '1h',
  at: '04:00',
  cron: '0 */6 * * *',
  timezone: 'UTC',
};

const EVERY = [
  ['5m', '5 minutes'],
  ['15m', '15 minutes'],
  ['30m', '30 minutes'],
  ['1h', 'hour'],
  ['2h', '2 hours'],
  ['3h', '3 hours'],
  ['6h', '6 hours'],
  ['12h', '12 hours'],
  ['1d', 'day'],
] as const;

/** The form of a schedule that the API saved. */
export function timingOf(saved: unknown): Timing {
  if (!saved || typeof saved !== 'object') return { ...HOURLY, how: 'demand' };
  const { every_s, cron, timezone, at } = saved as {
    every_s?: number;
    cron?: string;
    timezone?: string;
    at?: string;
  };
  if (cron) return { ...HOURLY, how: 'cron', cron, timezone: timezone ?? 'UTC' };
  if (at) return { ...HOURLY, how: 'daily', at };
  const seconds = every_s ?? 3600;
  const unit = (
    [
      ['d', 86_400],
      ['h', 3600],
      ['m', 60],
    ] as const
  ).find(([, length]) => seconds % length === 0);
  const every = unit ? `${seconds / unit[1]}${unit[0]}` : `${seconds}s`;
  return { ...HOURLY, how: 'every', every };
}

/** What the API is asked for; of a schedule on demand, nothing. */
export function asked(timing: Timing): { every?: string; at?: string; cron?: string; timezone?: string } {
  switch (timing.how) {
    case 'every':
      return { every: timing.every };
    case 'daily':
      return { every: '1d', at: timing.at };
    case 'cron':
      return { cron: timing.cron, timezone: timing.timezone };
    case 'demand':
      return {};
  }
}

interface Props {
  value: Timing;
  change: (timing: Timing) => void;
  /** Kinds that make no sense here. */
  without?: readonly Timing['how'][];
  /** What it means to have none. */
  demand?: string;
}

/** Fields that say when something happens again. */
export function ScheduleInput({ value, change, without = [], demand = 'On demand' }: Props) {
  const known = EVERY.some(([every]) => every === value.every);
  return (
    <Group align="flex-start">
      <Select
        label="It runs"
        w={180}
        allowDeselect={false}
        value={value.how}
        onChange={(how) => how && change({ ...value, how: how as Timing['how'] })}
        data={[
          { value: 'every', label: 'Again and again' },
          { value: 'daily', label: 'Once a day' },
          { value: 'cron', label: 'By a cron line' },
          { value: 'demand', label: demand },
        ].filter((one) => !without.includes(one.value as Timing['how']))}
      />
      {value.how === 'every' && (
        <Select
          label="Every"
          w={160}
          allowDeselect={false}
          value={value.every}
          onChange={(every) => every && change({ ...value, every })}
          data={[
            ...(known ? [] : [{ value: value.every, label: value.every }]),
            ...EVERY.map(([every, label]) => ({ value: every, label })),
          ]}
        />
      )}
      {value.how === 'daily' && (
        <TextInput
          label="At (UTC)"
          type="time"
          w={140}
          value={value.at}
          onChange={(event) => change({ ...value, at: event.currentTarget.value })}
        />
      )}
      {value.how === 'cron' && (
        <>
          <TextInput
            label="Cron line"
            description="Minute, hour, day, month, day of week"
            inputWrapperOrder={['label', 'input', 'description', 'error']}
            w={200}
            className="mono"
            value={value.cron}
            onChange={(event) => change({ ...value, cron: event.currentTarget.value })}
          />
          <TextInput
            label="Time zone"
            w={180}
            value={value.timezone}
            onChange={(event) => change({ ...value, timezone: event.currentTarget.value })}
          />
        </>
      )}
    </Group>
  );
}
