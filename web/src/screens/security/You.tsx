import { Button, Group, Select, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { whoQuery } from '~/api/session';
import { ErrorNote } from '~/parts/ErrorNote';
import { useReversible } from '~/parts/reversible';
import { Part } from './index';

type User = Schemas['User'];
type Shown = Pick<User, 'name' | 'time_zone'>;

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const ZONES = [
  // Who never chose has UTC: times are shown by the clocks of the machine then.
  { value: 'UTC', label: `As on this machine (${HERE})` },
  ...Intl.supportedValuesOf('timeZone')
    .filter((zone) => zone !== 'UTC')
    .map((zone) => ({ value: zone, label: zone })),
];

/** The name under which one is shown, and the clocks by which times are. */
export function You() {
  const { data: who } = useQuery(whoQuery);
  return who ? <Form key={JSON.stringify(who.user)} user={who.user} /> : null;
}

function Form({ user }: { user: User }) {
  const saved: Shown = { name: user.name, time_zone: user.time_zone };
  const [now, set] = useState(saved);
  const save = useReversible<Shown, User>({
    ask: (to) =>
      body(api.PUT('/api/millrace/v1/users/{email}', { params: { path: { email: user.email } }, body: to })),
    said: () => 'Your name and time zone are saved',
    // Also what is taken back before the answer came.
    after: (_, { to }) => set(to),
    stale: ['who', 'users'],
  });
  return (
    <Part title="You" told="How others see you, and by which clocks you read times.">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate({ to: now, from: saved });
        }}
      >
        <Group align="flex-end">
          <TextInput
            label="Your name"
            autoComplete="name"
            w={220}
            value={now.name}
            onChange={(event) => set({ ...now, name: event.currentTarget.value })}
          />
          <Select
            label="Time zone"
            searchable
            allowDeselect={false}
            w={280}
            limit={100}
            data={ZONES}
            value={now.time_zone}
            onChange={(zone) => zone && set({ ...now, time_zone: zone })}
          />
          <Button
            type="submit"
            variant="default"
            loading={save.isPending}
            disabled={now.name === saved.name && now.time_zone === saved.time_zone}
          >
            Save
          </Button>
        </Group>
        {save.error && (
          <div style={{ marginTop: 12 }}>
            <ErrorNote error={save.error} />
          </div>
        )}
      </form>
    </Part>
  );
}
