import { Stack, Text } from '@mantine/core';
import type { Icon } from '@tabler/icons-react';
import type { ReactNode } from 'react';

interface Props {
  icon: Icon;
  title: string;
  /** What will appear here, and from what. */
  children?: ReactNode;
  /** The one next step. */
  action?: ReactNode;
}

/** What is said where nothing is yet. */
export function Empty({ icon: Picture, title, children, action }: Props) {
  return (
    <Stack align="center" gap={6} py={56} px="md" ta="center">
      <Picture size={32} stroke={1.5} color="var(--muted)" aria-hidden />
      <Text fw={600} size="lg">
        {title}
      </Text>
      {children && (
        <Text c="dimmed" maw={440}>
          {children}
        </Text>
      )}
      {action && <div style={{ marginTop: 12 }}>{action}</div>}
    </Stack>
  );
}
