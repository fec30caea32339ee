import { Group, Progress } from '@mantine/core';
import { share } from '~/words/numbers';

/** How much of something is done, with a bar as long as that is not all. */
export function Share({ of }: { of: number }) {
  return (
    <Group gap={8} wrap="nowrap">
      <span className="figures">{share(of)}</span>
      {of < 1 && <Progress value={of * 100} w={56} aria-hidden />}
    </Group>
  );
}
