import {
  Checkbox,
  Group,
  Input,
  Paper,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { type ReactNode, useId, useMemo, useState } from 'react';
import { useZone } from '~/parts/Ago';
import { ErrorNote } from '~/parts/ErrorNote';
import { sentence } from '~/words/statuses';
import {
  CATEGORIES,
  type Category,
  type Change,
  chosen,
  type Quiet,
  type Severity,
  type Wanted,
} from './wishes';

const LEVELS: Severity[] = ['INFO', 'WARNING', 'ERROR', 'CRITICAL'];
const NIGHT = { start: '22:00', end: '07:00' };

interface Props {
  title: string;
  told: ReactNode;
  wanted: Wanted;
  /** Kinds that never come here, whatever is wished. */
  never?: readonly Category[];
  editable: boolean;
  change: (change: Change) => void;
  error: Error | null;
}

/** Which alerts somebody hears of, and when not. What is changed holds at once. */
export function Wishes({ title, told, wanted, never = [], editable, change, error }: Props) {
  const id = useId();
  const zone = useZone();
  const offered = (Object.keys(CATEGORIES) as Category[]).filter((one) => !never.includes(one));
  const kinds = chosen(wanted).filter((one) => offered.includes(one));
  return (
    <Paper className="card" p="lg" component="section" aria-labelledby={id}>
      <Title order={2} id={id}>
        {title}
      </Title>
      <Text c="dimmed" size="sm" mb="md" component="div">
        {told}
      </Text>
      <fieldset disabled={!editable} className="plain" aria-labelledby={id}>
        <Stack>
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
            {offered.map((category) => (
              <Checkbox
                key={category}
                label={CATEGORIES[category].label}
                description={CATEGORIES[category].told}
                checked={kinds.includes(category)}
                onChange={(event) => change({ wish: 'category', category, on: event.currentTarget.checked })}
              />
            ))}
          </SimpleGrid>
          {kinds.length === 0 && <Text size="sm">Nothing is chosen: nothing is sent.</Text>}
          <Input.Wrapper label="At least" labelElement="div">
            <div>
              <SegmentedControl
                size="xs"
                mt={4}
                aria-label={`${title}: at least`}
                disabled={!editable}
                data={LEVELS.map((value) => ({ value, label: sentence(value) }))}
                value={wanted.least}
                onChange={(value) => change({ wish: 'least', least: value as Severity })}
              />
            </div>
          </Input.Wrapper>
          <Switch
            label="Quiet hours"
            description="What is not critical waits until they end; what is over by then is not sent."
            checked={wanted.quiet !== null}
            onChange={(event) =>
              change({
                wish: 'quiet',
                quiet: event.currentTarget.checked ? { ...NIGHT, time_zone: zone ?? 'UTC' } : null,
              })
            }
          />
          {wanted.quiet && (
            <Hours
              title={title}
              saved={wanted.quiet}
              editable={editable}
              change={(quiet) => change({ wish: 'quiet', quiet })}
            />
          )}
          <ErrorNote error={error} />
        </Stack>
      </fieldset>
    </Paper>
  );
}

interface HoursProps {
  title: string;
  saved: Quiet;
  editable: boolean;
  change: (quiet: Quiet) => void;
}

function Hours({ title, saved, editable, change }: HoursProps) {
  const [typed, type] = useState<Partial<Quiet>>({});
  const now = { ...saved, ...typed };
  const zones = useMemo(
    () => [...new Set(['UTC', saved.time_zone, ...Intl.supportedValuesOf('timeZone')])],
    [saved.time_zone],
  );
  // Not with every key: a time that is half typed is none that somebody wants.
  const settle = () => {
    type({});
    if (now.start && now.end && JSON.stringify(now) !== JSON.stringify(saved)) change(now);
  };
  const times = [
    ['start', 'From'],
    ['end', 'To'],
  ] as const;
  return (
    <Group align="flex-end" gap="sm">
      {times.map(([key, label]) => (
        <TextInput
          key={key}
          type="time"
          w={130}
          label={label}
          aria-label={`${title}: quiet ${label.toLowerCase()}`}
          value={now[key]}
          onChange={(event) => type({ ...typed, [key]: event.currentTarget.value })}
          onBlur={settle}
          onKeyDown={(event) => event.key === 'Enter' && settle()}
        />
      ))}
      <Select
        label="Time zone"
        aria-label={`${title}: time zone`}
        w={220}
        searchable
        allowDeselect={false}
        disabled={!editable}
        limit={100}
        data={zones}
        value={now.time_zone}
        onChange={(zone) => zone && change({ ...saved, time_zone: zone })}
      />
    </Group>
  );
}
