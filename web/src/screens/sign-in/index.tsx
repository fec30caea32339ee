import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Navigate, useNavigate, useSearchParams } from 'react-router';
import { api, body } from '~/api/client';
import { begun, type Session, sessionQuery } from '~/api/session';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { Enrol } from './Enrol';
import { Gate } from './Gate';
import { SecondFactor } from './SecondFactor';

/** Signing in: password, then the second factor where there is one. Then on to where one wanted to go. */
export function Component() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [search] = useSearchParams();
  const session = useQuery(sessionQuery);
  const first = useQuery({
    queryKey: ['first'],
    queryFn: () => body(api.GET('/api/millrace/v1/first-administrator')),
  });
  const wanted = search.get('next') ?? '/';
  // Only places of ours: an address that begins with two slashes is another host.
  const next = /^\/(?![/\\])/.test(wanted) ? wanted : '/';
  const went = (now: Session) => {
    begun(client, now);
    if (now.state === 'open') navigate(next, { replace: true });
  };
  if (first.data?.needed) return <Navigate to={at.welcome} replace />;
  if (session.data?.state === 'open') return <Navigate to={next} replace />;
  if (session.data?.state === 'second_factor') return <SecondFactor went={went} />;
  if (session.data?.state === 'enrol') return <Enrol went={went} />;
  return (
    <Gate title="Sign in">
      <ErrorNote error={session.error ?? first.error} again={() => void session.refetch()} />
      <Password went={went} />
    </Gate>
  );
}

function Password({ went }: { went: (session: Session) => void }) {
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [withCompany, setWithCompany] = useState(false);
  const enter = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/session', { body: { email, password } })),
    onSuccess: went,
  });
  const forgot = useMutation({
    mutationFn: () => api.POST('/api/millrace/v1/password-resets', { body: { email: email.trim() } }),
  });
  const company = () =>
    window.location.assign(`/api/millrace/v1/session/single-sign-on?email=${encodeURIComponent(email)}`);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (withCompany) company();
        else enter.mutate();
      }}
    >
      <Stack gap="md">
        <TextInput
          label="E-mail address"
          type="email"
          autoComplete="username"
          required
          autoFocus
          value={email}
          onChange={(event) => {
            setEmail(event.currentTarget.value);
            forgot.reset();
          }}
        />
        {!withCompany && (
          <PasswordInput
            label="Password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
        )}
        <ErrorNote error={enter.error ?? forgot.error} />
        <Button type="submit" fullWidth size="md" loading={enter.isPending}>
          {withCompany ? 'Go on' : 'Sign in'}
        </Button>
        <Text size="sm" ta="center">
          <Anchor component="button" type="button" size="sm" onClick={() => setWithCompany(!withCompany)}>
            {withCompany ? 'Sign in with a password' : 'Sign in with your company account'}
          </Anchor>
        </Text>
        {forgot.isSuccess ? (
          <Text size="sm" ta="center" role="status">
            If {email.trim()} has an account here, a link to choose another password is on its way by mail.
            Where none comes, an administrator of your team can give you one.
          </Text>
        ) : (
          <Text size="xs" c="dimmed" ta="center">
            No password yet, or forgotten?{' '}
            <Anchor
              component="button"
              type="button"
              size="xs"
              disabled={!email.includes('@') || forgot.isPending}
              onClick={() => forgot.mutate()}
            >
              Have a link mailed
            </Anchor>{' '}
            to the address above, or ask an administrator of your team for one.
          </Text>
        )}
      </Stack>
    </form>
  );
}
