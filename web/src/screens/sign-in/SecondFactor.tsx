import { Button, Stack, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body } from '~/api/client';
import type { Session } from '~/api/session';
import { ErrorNote } from '~/parts/ErrorNote';
import { Gate } from './Gate';

/** The code of an authenticator app, or a recovery code. */
export function SecondFactor({ went }: { went: (session: Session) => void }) {
  const [code, setCode] = useState('');
  const show = useMutation({
    mutationFn: () =>
      body(api.POST('/api/millrace/v1/session/second-factor', { body: { code: code.trim() } })),
    onSuccess: went,
  });
  return (
    <Gate title="Second factor" told="The password is right. Now the code that your authenticator app shows.">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          show.mutate();
        }}
      >
        <Stack>
          <TextInput
            label="Code"
            description="Six digits, or one of your recovery codes"
            autoComplete="one-time-code"
            inputMode="numeric"
            required
            autoFocus
            value={code}
            onChange={(event) => setCode(event.currentTarget.value)}
          />
          <ErrorNote error={show.error} />
          <Button type="submit" fullWidth size="md" loading={show.isPending}>
            Go on
          </Button>
        </Stack>
      </form>
    </Gate>
  );
}
