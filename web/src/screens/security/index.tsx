import {
  Button,
  Group,
  Paper,
  PasswordInput,
  Stack,
  Switch,
  TagsInput,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { entered, sessionQuery, useMay, whoQuery } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { Copyable } from '~/parts/Copy';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { useReversible, useSeen } from '~/parts/reversible';
import { agent } from '~/words/agents';
import { some } from '~/words/numbers';
import { SetUp } from '../sign-in/Enrol';
import { SignOn } from './SignOn';
import { You } from './You';

/** How one signs in oneself, and what holds for the team. */
export function Component() {
  const may = useMay();
  return (
    <div className="content" data-narrow>
      <PageHead
        title="Security"
        told="Who you are here, how you sign in, and what holds for everybody of the team."
      />
      <Stack gap="md">
        <You />
        <Password />
        <SecondFactor />
        <Sessions />
        {may('view') && <Team editable={may('settings.edit')} />}
        {may('settings.edit') && <SignOn />}
      </Stack>
    </div>
  );
}

export function Part({ title, told, children }: { title: string; told?: ReactNode; children: ReactNode }) {
  return (
    <Paper className="card" p="lg">
      <Title order={2}>{title}</Title>
      {told && <Text c="dimmed">{told}</Text>}
      <div style={{ marginTop: 12 }}>{children}</div>
    </Paper>
  );
}

function Password() {
  const client = useQueryClient();
  const [old, setOld] = useState('');
  const [next, setNext] = useState('');
  const save = useMutation({
    mutationFn: () => body(api.PUT('/api/millrace/v1/me/password', { body: { old, new: next } })),
    onSuccess: (session) => {
      client.setQueryData(sessionQuery.queryKey, entered(session));
      setOld('');
      setNext('');
      done('The password is another one; your other sessions have ended');
    },
  });
  return (
    <Part title="Password">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <Group align="flex-end">
          <PasswordInput
            label="Current password"
            autoComplete="current-password"
            required
            w={220}
            value={old}
            onChange={(event) => setOld(event.currentTarget.value)}
          />
          <PasswordInput
            label="New password"
            autoComplete="new-password"
            required
            w={220}
            value={next}
            onChange={(event) => setNext(event.currentTarget.value)}
          />
          <Button type="submit" variant="default" loading={save.isPending}>
            Change password
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

function SecondFactor() {
  const client = useQueryClient();
  const { data: who } = useQuery(whoQuery);
  const [setting, set] = useState(false);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  const [code, setCode] = useState('');
  const fresh = () => client.invalidateQueries({ queryKey: whoQuery.queryKey });
  const off = useMutation({
    mutationFn: () => api.POST('/api/millrace/v1/me/second-factor/off', { body: { code: code.trim() } }),
    onSuccess: () => {
      setCode('');
      done('The second factor is off');
    },
    onSettled: fresh,
  });
  const renew = useMutation({
    mutationFn: () =>
      body(api.POST('/api/millrace/v1/me/second-factor/recovery-codes', { body: { code: code.trim() } })),
    onSuccess: ({ recovery_codes }) => {
      setCode('');
      setCodes(recovery_codes);
    },
  });
  const on = who?.user.two_factor ?? false;
  return (
    <Part
      title="Second factor"
      told={
        on
          ? 'It is on: after the password you show a code of your authenticator app.'
          : 'It is off: the password alone opens your account.'
      }
    >
      <Stack>
        {codes && (
          <div>
            <Text mb={4}>
              Keep these recovery codes. Each opens your account once without the app; they are shown this
              once.
            </Text>
            <Copyable text={codes.join('\n')} label="the recovery codes" file="recovery-codes.txt" />
          </div>
        )}
        {!on && !setting && (
          <Group>
            <Button variant="default" onClick={() => set(true)}>
              Set it up
            </Button>
          </Group>
        )}
        {!on && setting && (
          <SetUp
            done={(factor: Schemas['SecondFactor']) => {
              client.setQueryData(sessionQuery.queryKey, entered(factor.session));
              setCodes(factor.recovery_codes);
              set(false);
              void fresh();
            }}
          />
        )}
        {on && (
          <Group align="flex-end">
            <TextInput
              label="Code of the app"
              autoComplete="one-time-code"
              inputMode="numeric"
              w={160}
              value={code}
              onChange={(event) => setCode(event.currentTarget.value)}
            />
            <Button
              variant="default"
              disabled={!code}
              loading={renew.isPending}
              onClick={() => renew.mutate()}
            >
              New recovery codes
            </Button>
            <Button
              variant="subtle"
              color="red"
              disabled={!code}
              loading={off.isPending}
              onClick={() => off.mutate()}
            >
              Turn it off
            </Button>
          </Group>
        )}
        <ErrorNote error={off.error ?? renew.error} />
      </Stack>
    </Part>
  );
}

function Sessions() {
  const client = useQueryClient();
  const places = useQuery({
    queryKey: ['sessions'],
    queryFn: () => body(api.GET('/api/millrace/v1/me/sessions')),
  });
  const settled = () => client.invalidateQueries({ queryKey: ['sessions'] });
  const end = useMutation({
    mutationFn: (id: string) => api.DELETE('/api/millrace/v1/me/sessions/{id}', { params: { path: { id } } }),
    onError: failed,
    onSettled: settled,
  });
  const others = useMutation({
    mutationFn: () => body(api.DELETE('/api/millrace/v1/me/sessions')),
    onSuccess: ({ ended }) => done(`Signed out of ${some(ended, 'other session')}`),
    onError: failed,
    onSettled: settled,
  });
  return (
    <Part title="Sessions" told="Where you are signed in.">
      <ErrorNote error={places.error} again={() => void places.refetch()} />
      <Stack gap="xs">
        {places.data?.map((one) => (
          <Group key={one.id} justify="space-between" wrap="nowrap">
            <div style={{ minWidth: 0 }}>
              <Text size="sm" truncate title={one.agent ?? undefined}>
                {agent(one.agent)}
              </Text>
              <Text size="xs" c="dimmed">
                {one.address} · seen <Ago at={one.seen_at} />
              </Text>
            </div>
            {one.current ? (
              <Text size="sm" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
                this one
              </Text>
            ) : (
              <Button size="compact-sm" variant="subtle" color="red" onClick={() => end.mutate(one.id)}>
                End
              </Button>
            )}
          </Group>
        ))}
        {(places.data?.length ?? 0) > 1 && (
          <Group>
            <Button variant="default" onClick={() => others.mutate()}>
              Sign out everywhere else
            </Button>
          </Group>
        )}
      </Stack>
    </Part>
  );
}

type Wanted = Schemas['TeamsSetSecurityBody'];

function Team({ editable }: { editable: boolean }) {
  const seen = useSeen();
  const queryKey = ['team', 'security'];
  const security = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/team/security')),
  });
  const save = useReversible<Wanted, unknown>({
    ask: (to) => body(api.PUT('/api/millrace/v1/team/security', { body: to })),
    said: () => 'Saved for the whole team',
    seen: (to) => seen<Wanted>(queryKey, (kept) => ({ ...kept, ...to })),
    stale: ['team'],
  });
  const change = (to: Wanted, from: Wanted) => save.mutate({ to, from }, { onError: failed });
  return (
    <Part title="For the whole team">
      <ErrorNote error={security.error} again={() => void security.refetch()} />
      {security.data && (
        <fieldset disabled={!editable} className="plain">
          <Stack>
            <Switch
              label="Everybody needs a second factor"
              description="Who has none sets one up at their next sign-in"
              checked={security.data.two_factor_required}
              onChange={({ currentTarget: { checked } }) =>
                change({ two_factor_required: checked }, { two_factor_required: !checked })
              }
            />
            <TagsInput
              label="Addresses that may sign in and use keys"
              description="Like 203.0.113.7 or 203.0.113.0/24; none: all of them"
              placeholder="Type one, then Enter"
              disabled={!editable}
              value={[...security.data.allowed_addresses]}
              onChange={(addresses) =>
                change(
                  { allowed_addresses: addresses },
                  { allowed_addresses: security.data.allowed_addresses },
                )
              }
            />
          </Stack>
        </fieldset>
      )}
    </Part>
  );
}
