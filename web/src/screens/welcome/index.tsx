import { Text, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Navigate } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { Gate } from '../sign-in/Gate';
import { Choose } from './Choose';
import { tokenHere } from './token';

/** The first start: whoever has the link that `millrace serve` printed becomes the administrator. */
export function Component() {
  const [token, setToken] = useState(tokenHere);
  const first = useQuery({
    queryKey: ['first'],
    queryFn: () => body(api.GET('/api/millrace/v1/first-administrator')),
  });
  if (first.data && !first.data.needed) return <Navigate to={at.signIn} replace />;
  return (
    <Gate title="Welcome to Millrace" told="Make the first account. It administers this server.">
      <ErrorNote error={first.error} again={() => void first.refetch()} />
      {!tokenHere() && (
        <>
          <Text size="sm">
            When it started, <span className="mono">millrace serve</span> printed a link. Open it, or paste
            here what stands after its <span className="mono">#</span>.
          </Text>
          <TextInput
            label="Secret of the link"
            value={token}
            required
            autoComplete="off"
            onChange={(event) => setToken(event.currentTarget.value.replace(/^.*#/, '').trim())}
          />
        </>
      )}
      <Choose
        asksEmail
        verb="Create account"
        choose={(email, password) =>
          body(api.POST('/api/millrace/v1/first-administrator', { body: { token, email, password } }))
        }
        next="/start"
      />
    </Gate>
  );
}
