import { Button, Group, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { ErrorNote } from './ErrorNote';
import { done } from './notices';

interface Props {
  name: string;
  /** What it is called then. */
  ask: (from: string, to: string) => Promise<string>;
  /** Where it is shown. */
  address: (name: string) => string;
  /** Nouns that are asked for again. */
  stale: readonly string[];
}

/** Another name for something that keeps all else. One click takes it back. */
export function NameForm({ name, ask, address, stale }: Props) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [wanted, want] = useState(name);
  const rename = useMutation({
    mutationFn: ({ from, to }: Record<'from' | 'to', string>) => ask(from, to),
    onSuccess: (now, { from }) => {
      // Whoever takes it back may look at something else by then.
      const { pathname, search } = window.location;
      if (`${pathname}/`.startsWith(`${address(from)}/`))
        navigate(address(now) + pathname.slice(address(from).length) + search, { replace: true });
      done(
        `${from} is called ${now} now.`,
        (): Promise<unknown> => rename.mutateAsync({ from: now, to: from }),
      );
      for (const noun of stale)
        void client.invalidateQueries({
          queryKey: [noun],
          predicate: ({ queryKey }) => !queryKey.includes(from),
        });
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        rename.mutate({ from: name, to: wanted.trim() });
      }}
    >
      <Group align="flex-end">
        <TextInput
          label="Name"
          w={320}
          maw="100%"
          value={wanted}
          onChange={(event) => want(event.currentTarget.value)}
        />
        <Button
          type="submit"
          variant="default"
          disabled={!wanted.trim() || wanted.trim() === name}
          loading={rename.isPending}
        >
          Rename
        </Button>
      </Group>
      <ErrorNote error={rename.error} />
    </form>
  );
}
