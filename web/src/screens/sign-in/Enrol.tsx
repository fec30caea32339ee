import { Button, Stack, Text, TextInput } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import type { Session } from '~/api/session';
import { Copyable } from '~/parts/Copy';
import { ErrorNote } from '~/parts/ErrorNote';
import { Qr } from '~/parts/Qr';
import { fits } from '~/parts/qr';
import { Gate } from './Gate';

/** Setting up a second factor, where the team asks for one. */
export function Enrol({ went }: { went: (session: Session) => void }) {
  const [done, setDone] = useState<Schemas['SecondFactor'] | null>(null);
  if (done) {
    return (
      <Gate
        title="Keep these codes"
        told="Each opens your account once, without the app. They are shown this once."
      >
        <Copyable
          text={done.recovery_codes.join('\n')}
          label="the recovery codes"
          file="recovery-codes.txt"
        />
        <Button size="md" fullWidth onClick={() => went(done.session)}>
          I have kept them
        </Button>
      </Gate>
    );
  }
  return (
    <Gate title="Set up a second factor" told="Your team asks for one.">
      <SetUp done={setDone} />
    </Gate>
  );
}

/** The secret for the authenticator app, and the code that proves it is there. */
export function SetUp({ done }: { done: (factor: Schemas['SecondFactor']) => void }) {
  const [code, setCode] = useState('');
  const enrolment = useQuery({
    queryKey: ['second-factor', 'enrolment'],
    queryFn: () => body(api.POST('/api/millrace/v1/me/second-factor')),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const confirm = useMutation({
    mutationFn: () =>
      body(api.POST('/api/millrace/v1/me/second-factor/confirm', { body: { code: code.trim() } })),
    onSuccess: done,
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        confirm.mutate();
      }}
    >
      <Stack>
        <ErrorNote error={enrolment.error} again={() => void enrolment.refetch()} />
        {enrolment.data && (
          <>
            <Text>
              {fits(enrolment.data.uri)
                ? 'Scan this with your authenticator app, or '
                : 'Your address is too long to be scanned: '}
              <a href={enrolment.data.uri}>open the app here</a>.
            </Text>
            <Qr text={enrolment.data.uri} label="QR code of the key" />
            <Text size="sm" c="dimmed">
              Or add an account there with the key:
            </Text>
            <Copyable text={enrolment.data.seed} label="the key" />
            <TextInput
              label="Code that the app shows"
              autoComplete="one-time-code"
              inputMode="numeric"
              required
              value={code}
              onChange={(event) => setCode(event.currentTarget.value)}
            />
          </>
        )}
        <ErrorNote error={confirm.error} />
        <Button type="submit" size="md" fullWidth loading={confirm.isPending} disabled={!enrolment.data}>
          Turn it on
        </Button>
      </Stack>
    </form>
  );
}
