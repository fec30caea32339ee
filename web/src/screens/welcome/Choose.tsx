import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { begun } from '~/api/session';
import { ErrorNote } from '~/parts/ErrorNote';
import { type Rule, rules } from './rules';

interface Props {
  asksEmail?: boolean;
  asksName?: boolean;
  verb: string;
  /** Makes the account usable; the answer says who it is. */
  choose: (email: string, password: string, name: string) => Promise<Schemas['User']>;
  /** Where to go on, signed in. */
  next: string;
}

/** Choosing a password with a one-time link, and signing in with it at once. */
export function Choose({ asksEmail = false, asksName = false, verb, choose, next }: Props) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [email, setEmail] = useState('');
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const unmet = rules(password).filter((rule) => !rule.met);
  const enter = useMutation({
    mutationFn: async () => {
      const user = await choose(email, password, name);
      return body(api.POST('/api/millrace/v1/session', { body: { email: user.email, password } }));
    },
    onSuccess: (session) => {
      begun(client, session);
      navigate(session.state === 'open' ? next : '/sign-in', { replace: true });
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        enter.mutate();
      }}
    >
      <Stack>
        {asksEmail && (
          <TextInput
            label="E-mail address"
            type="email"
            autoComplete="username"
            required
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
          />
        )}
        {asksName && (
          <TextInput
            label="Your name"
            autoComplete="name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
        )}
        <PasswordInput
          label="Password"
          description={told(unmet)}
          autoComplete="new-password"
          required
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <ErrorNote error={enter.error} />
        <Button type="submit" fullWidth size="md" loading={enter.isPending} disabled={unmet.length > 0}>
          {verb}
        </Button>
      </Stack>
    </form>
  );
}

const told = (unmet: Rule[]): string =>
  unmet.length === 0 ? 'This one is good.' : `It still needs ${unmet.map((rule) => rule.told).join(', ')}.`;
