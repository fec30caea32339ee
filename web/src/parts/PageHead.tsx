import { Group, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { useEffect } from 'react';
import { announce } from './announced';

interface Props {
  title: ReactNode;
  /** Name of the page in the browser, where the title is more than text. */
  name?: string;
  /** One line below: the answer in short. */
  told?: ReactNode;
  actions?: ReactNode;
}

/** What the screen is, what it says in one line, and what can be done. */
export function PageHead({ title, name, told, actions }: Props) {
  const shown = name ?? (typeof title === 'string' ? title : '');
  useEffect(() => {
    document.title = shown ? `${shown} · Millrace` : 'Millrace';
    announce(shown);
  }, [shown]);
  return (
    <Group justify="space-between" align="flex-start" mb="lg" gap="sm">
      <div style={{ minWidth: 0 }}>
        <Title order={1}>{title}</Title>
        {told && (
          <Text c="dimmed" component="div" mt={2}>
            {told}
          </Text>
        )}
      </div>
      {actions && <Group gap="xs">{actions}</Group>}
    </Group>
  );
}
