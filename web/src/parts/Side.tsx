import { Drawer, Group, Text } from '@mantine/core';
import { type ReactNode, useEffect, useState } from 'react';
import { useNavigate } from 'react-router';

interface Props {
  title: ReactNode;
  told?: ReactNode;
  actions?: ReactNode;
  /** Where closing leads: the address of the list. */
  back: string;
  /** What in the address is of these details alone: closing takes it away, and leaves what is of the list. */
  own?: readonly string[];
  wide?: boolean;
  children: ReactNode;
}

/**
 * Details beside their list. Each has an address of its own: make it a route below the list's, and the list shows an
 * <Outlet />.
 */
export function Side({ title, told, actions, back, own = [], wide = false, children }: Props) {
  const navigate = useNavigate();
  // Whoever came by a link of the list goes on at that link; whoever came by the address, at the list.
  const [from] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      requestAnimationFrame(() => {
        const back = from instanceof HTMLElement && from !== document.body && from.isConnected;
        (back ? from : document.getElementById('content'))?.focus({ preventScroll: true });
      });
    },
    [from],
  );
  return (
    <Drawer
      opened
      onClose={() => {
        const left = new URLSearchParams(window.location.search);
        for (const key of own) left.delete(key);
        navigate({ pathname: back, search: left.toString() });
      }}
      position="right"
      size={wide ? 880 : 560}
      transitionProps={{ duration: 0 }}
      overlayProps={{ backgroundOpacity: 0.2 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
      title={
        <div>
          <Text fw={600} size="lg" tabIndex={-1} data-autofocus className="heard">
            {title}
          </Text>
          {told && (
            <Text c="dimmed" size="sm" component="div">
              {told}
            </Text>
          )}
        </div>
      }
    >
      {actions && (
        <Group gap="xs" mb="md">
          {actions}
        </Group>
      )}
      {children}
    </Drawer>
  );
}
