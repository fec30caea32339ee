import { Stack, Text, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';

interface Props {
  title: string;
  told?: ReactNode;
  width?: number;
  children: ReactNode;
}

/** The quiet page around everything that comes before the frame. */
export function Gate({ title, told, width = 400, children }: Props) {
  useEffect(() => {
    document.title = `${title} · Millrace`;
  }, [title]);
  return (
    <main className="gate">
      <div style={{ width: '100%', maxWidth: width }}>
        <Stack gap={8} align="center" mb="lg" ta="center">
          <img src="/mark.svg" alt="Millrace" width={40} height={40} />
          <Title order={1}>{title}</Title>
          {told && (
            <Text c="dimmed" component="div">
              {told}
            </Text>
          )}
        </Stack>
        <Stack className="card" p={24} gap="md">
          {children}
        </Stack>
      </div>
    </main>
  );
}
