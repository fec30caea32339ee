import { Button, Group, PasswordInput, Stack, Switch, TagsInput, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { Part } from './index';

type Settings = Schemas['SignOn'];

/** Single sign-on: people of the team come in by what their identity provider says. */
export function SignOn() {
  const held = useQuery({
    queryKey: ['team', 'sign-on'],
    queryFn: () => body(api.GET('/api/millrace/v1/team/single-sign-on')),
  });
  const saved = held.data?.single_sign_on ?? null;
  return (
    <Part
      title="Single sign-on"
      told={
        <>
          With OpenID Connect. Give your provider the address{' '}
          <span className="mono">{window.location.origin}/api/millrace/v1/session/single-sign-on/back</span>.
        </>
      }
    >
      <ErrorNote error={held.error} again={() => void held.refetch()} />
      {held.data && <Form key={saved?.issuer ?? ''} saved={saved} />}
    </Part>
  );
}

function Form({ saved }: { saved: Settings | null }) {
  const client = useQueryClient();
  const [issuer, setIssuer] = useState(saved?.issuer ?? '');
  const [clientId, setClientId] = useState(saved?.client_id ?? '');
  const [secret, setSecret] = useState('');
  const [domains, setDomains] = useState<string[]>([...(saved?.domains ?? [])]);
  const [justInTime, setJustInTime] = useState(saved?.just_in_time ?? false);
  const settled = () => client.invalidateQueries({ queryKey: ['team', 'sign-on'] });
  const save = useMutation({
    mutationFn: () =>
      body(
        api.PUT('/api/millrace/v1/team/single-sign-on', {
          body: {
            issuer,
            client_id: clientId,
            client_secret: secret || null,
            domains,
            just_in_time: justInTime,
          },
        }),
      ),
    onSuccess: () => {
      setSecret('');
      done('Single sign-on is set');
    },
    onSettled: settled,
  });
  const off = useMutation({
    mutationFn: () => body(api.DELETE('/api/millrace/v1/team/single-sign-on')),
    onSuccess: () => done('Single sign-on is off; passwords work as before'),
    onError: failed,
    onSettled: settled,
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate();
      }}
    >
      <Stack>
        <TextInput
          label="Issuer"
          description="The address of your identity provider"
          placeholder="https://login.example.com"
          required
          value={issuer}
          onChange={(event) => setIssuer(event.currentTarget.value)}
        />
        <Group grow align="flex-start">
          <TextInput
            label="Client ID"
            required
            value={clientId}
            onChange={(event) => setClientId(event.currentTarget.value)}
          />
          <PasswordInput
            label="Client secret"
            autoComplete="new-password"
            required={!saved}
            placeholder={saved ? 'Kept; leave empty to keep it' : undefined}
            value={secret}
            onChange={(event) => setSecret(event.currentTarget.value)}
          />
        </Group>
        <TagsInput
          label="Domains of e-mail addresses"
          placeholder="example.com, then Enter"
          value={domains}
          onChange={setDomains}
        />
        <Switch
          label="People of these domains join at their first sign-on"
          checked={justInTime}
          onChange={(event) => setJustInTime(event.currentTarget.checked)}
        />
        <ErrorNote error={save.error} />
        <Group>
          <Button type="submit" variant="default" loading={save.isPending}>
            Save
          </Button>
          {saved && (
            <Button variant="subtle" color="red" onClick={() => off.mutate()}>
              Turn it off
            </Button>
          )}
        </Group>
      </Stack>
    </form>
  );
}
