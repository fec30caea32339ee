import { Container } from '@mantine/core';
import { useRouteError } from 'react-router';
import { ErrorNote } from '~/parts/ErrorNote';

/** A screen that could not be shown: its code did not come, or has a fault. */
export function Fault() {
  const error = useRouteError();
  return (
    <Container size="sm" py={80}>
      <ErrorNote
        error={error instanceof Error ? error : new Error(String(error))}
        again={() => window.location.reload()}
      />
    </Container>
  );
}
