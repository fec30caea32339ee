import { Button, Group } from '@mantine/core';

interface Props {
  back: () => void;
  next: () => void;
  busy: boolean;
  verb?: string;
  may?: boolean;
}

/** Back and on, at the foot of a step. */
export function Steps({ back, next, busy, verb = 'Go on', may = true }: Props) {
  return (
    <Group justify="space-between" mt="lg">
      <Button variant="subtle" color="gray" onClick={back}>
        Back
      </Button>
      <Button onClick={next} loading={busy} disabled={!may}>
        {verb}
      </Button>
    </Group>
  );
}
