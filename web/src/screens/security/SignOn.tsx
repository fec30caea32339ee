import {
  Button,
  Group,
  PasswordInput,
  SegmentedControl,
  Stack,
  Switch,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Copyable } from '~/parts/Copy';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { Part } from './index';

type Settings = Schemas['SignOn'];
type Service = Schemas['Service'];
type Protocol = Settings['protocol'];

/** Single sign-on: people of the team come in by what their identity provider says. */
export function SignOn() {
  const held = useQuery({
    queryKey: ['team', 'sign-on'],
    queryFn: () => body(api.GET('/api/millrace/v1/team/single-sign-on')),
  });
  const saved = held.data?.single_sign_on ?? null;
  return (
    <Part title="Single sign-on" told="People of the team come in by what your identity provider says.">
      <ErrorNote error={held.error} again={() => void held.refetch()} />
      {held.data && (
        <Form key={`${saved?.protocol} ${saved?.issuer}`} saved={saved} service={held.data.saml} />
      )}
    </Part>
  );
}

function Form({ saved, service }: { saved: Settings | null; service: Service | null }) {
  const client = useQueryClient();
  const [protocol, setProtocol] = useState<Protocol>(saved?.protocol ?? 'oidc');
  const before = saved?.protocol === protocol ? saved : null;
  const [issuer, setIssuer] = useState(saved?.protocol === 'oidc' ? saved.issuer : '');
  const [clientId, setClientId] = useState(saved?.protocol === 'oidc' ? saved.client_id : '');
  const [secret, setSecret] = useState('');
  const [metadata, setMetadata] = useState('');
  const [attribute, setAttribute] = useState(saved?.email_attribute ?? '');
  const [domains, setDomains] = useState<string[]>([...(saved?.domains ?? [])]);
  const [justInTime, setJustInTime] = useState(saved?.just_in_time ?? false);
  const settled = () => client.invalidateQueries({ queryKey: ['team', 'sign-on'] });
  const save = useMutation({
    mutationFn: () => {
      const all = { domains, just_in_time: justInTime };
      return body(
        protocol === 'saml'
          ? api.PUT('/api/millrace/v1/team/single-sign-on/saml', {
              body: { ...all, metadata, email_attribute: attribute || null },
            })
          : api.PUT('/api/millrace/v1/team/single-sign-on', {
              body: { ...all, issuer, client_id: clientId, client_secret: secret || null },
            }),
      );
    },
    onSuccess: () => {
      setSecret('');
      setMetadata('');
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
        <SegmentedControl
          aria-label="Protocol"
          style={{ alignSelf: 'start' }}
          value={protocol}
          onChange={(value) => setProtocol(value as Protocol)}
          data={[
            { value: 'oidc', label: 'OpenID Connect' },
            { value: 'saml', label: 'SAML' },
          ]}
        />
        {protocol === 'oidc' ? (
          <>
            <Told what="Give your provider this address to send people back to">
              {`${window.location.origin}/api/millrace/v1/session/single-sign-on/back`}
            </Told>
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
                required={!before}
                placeholder={before ? 'Kept; leave empty to keep it' : undefined}
                value={secret}
                onChange={(event) => setSecret(event.currentTarget.value)}
              />
            </Group>
          </>
        ) : (
          <>
            {service ? (
              <>
                <Told what="Entity ID, which is where the metadata are">{service.entity_id}</Told>
                <Told what="Address for answers (ACS, HTTP-POST)">{service.consumer}</Told>
              </>
            ) : (
              <Text c="dimmed">
                Say first in the <Link to={at.settings}>settings</Link> what the address of this server is:
                your provider must know it.
              </Text>
            )}
            {before && (
              <Text c="dimmed">
                People sign in at <span className="mono">{before.issuer}</span>. To change something, give the
                metadata again.
              </Text>
            )}
            <Textarea
              label="Metadata of your provider"
              description="Its XML, or the address where that is"
              className="mono"
              autosize
              minRows={3}
              maxRows={12}
              required
              value={metadata}
              onChange={(event) => setMetadata(event.currentTarget.value)}
            />
            <TextInput
              label="Attribute with the e-mail address"
              placeholder="The usual ones"
              value={attribute}
              onChange={(event) => setAttribute(event.currentTarget.value)}
            />
          </>
        )}
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

/** What a provider must be told. */
function Told({ what, children }: { what: string; children: string }) {
  return (
    <div>
      <Text size="sm" fw={500}>
        {what}
      </Text>
      <Copyable text={children} label={what} />
    </div>
  );
}
