import {
  ActionIcon,
  Avatar,
  Burger,
  Button,
  Drawer,
  Group,
  Kbd,
  Menu,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconKeyboard,
  IconLogout,
  IconMoon,
  IconSearch,
  IconShieldLock,
  IconSun,
  IconWifiOff,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Fragment, useSyncExternalStore } from 'react';
import { Link, useLocation } from 'react-router';
import { reach } from '~/api/client';
import { signOut, whoQuery } from '~/api/session';
import { sentence } from '~/words/statuses';
import { at } from '../places';
import { entries } from '../rail';
import { Entries } from './Rail';

/** Where one is, the palette, light or dark, and who one is. */
export function TopBar({ search, keys }: { search: () => void; keys: () => void }) {
  const [menu, { toggle, close }] = useDisclosure();
  const reachable = useSyncExternalStore(reach.subscribe, reach.get);
  return (
    <>
      <header className="topbar">
        <Burger hiddenFrom="sm" size="sm" opened={menu} onClick={toggle} aria-label="Menu" />
        <Crumbs />
        <div style={{ flex: 1 }} />
        {!reachable && (
          <Group gap={6} c="var(--look)" role="status" wrap="nowrap">
            <IconWifiOff size={16} />
            <Text size="sm" fw={500} visibleFrom="xs">
              The server does not answer; trying again
            </Text>
          </Group>
        )}
        <Button
          variant="default"
          size="xs"
          visibleFrom="sm"
          leftSection={<IconSearch size={14} />}
          rightSection={<Kbd size="xs">Ctrl K</Kbd>}
          onClick={search}
          c="dimmed"
          fw={400}
        >
          Search or go to
        </Button>
        <ActionIcon hiddenFrom="sm" onClick={search} aria-label="Search or go to">
          <IconSearch size={18} />
        </ActionIcon>
        <SchemeButton />
        <UserMenu keys={keys} />
      </header>
      <Drawer opened={menu} onClose={close} size={260} title="Millrace" hiddenFrom="sm">
        <nav
          className="rail"
          style={{ display: 'flex', position: 'static', border: 0, width: 'auto', height: 'auto' }}
        >
          <Entries chosen={close} />
        </nav>
      </Drawer>
    </>
  );
}

/** The address as words: each part leads to its own screen. */
function Crumbs() {
  const { pathname } = useLocation();
  const parts = pathname.split('/').filter(Boolean);
  const known = (path: string) => entries.find((one) => one.to === path)?.label;
  return (
    <Group
      className="crumbs"
      gap={6}
      wrap="nowrap"
      component="nav"
      aria-label="Breadcrumb"
      style={{ minWidth: 0 }}
    >
      {parts.slice(0, 2).map((one, index) => {
        const path = `/${parts.slice(0, index + 1).join('/')}`;
        const label = known(path) ?? worded(parts[0] ?? '', one, path);
        const last = index === Math.min(parts.length, 2) - 1;
        return (
          <Fragment key={path}>
            {index > 0 && (
              <Text c="dimmed" visibleFrom="xs">
                /
              </Text>
            )}
            <Text
              truncate
              size="sm"
              component={Link}
              to={path}
              aria-current={last ? 'page' : undefined}
              fw={last ? 500 : 400}
              visibleFrom={last ? undefined : 'xs'}
            >
              {label}
            </Text>
          </Fragment>
        );
      })}
    </Group>
  );
}

/** Names are shown as they are, other parts of an address as words. */
function worded(first: string, part: string, path: string): string {
  if (path === at.newPipeline) return 'Create pipeline';
  if (path === `${at.failed}/trace`) return 'Find an event';
  if (path === at.told()) return 'What I am told';
  return path !== `/${first}` && NAMED.has(first)
    ? decodeURIComponent(part)
    : sentence(part.replaceAll('-', ' '));
}

const NAMED = new Set(['pipelines', 'destinations', 'sources', 'failed-events']);

function SchemeButton() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  const label = dark ? 'Light colours' : 'Dark colours';
  return (
    <Tooltip label={label}>
      <ActionIcon onClick={() => setColorScheme(dark ? 'light' : 'dark')} aria-label={label}>
        {dark ? <IconSun size={18} /> : <IconMoon size={18} />}
      </ActionIcon>
    </Tooltip>
  );
}

function UserMenu({ keys }: { keys: () => void }) {
  const client = useQueryClient();
  const { data: who } = useQuery(whoQuery);
  if (!who) return null;
  const name = who.user.name || who.user.email;
  const initials = name.slice(0, 2).toUpperCase();
  return (
    <Menu>
      <Menu.Target>
        <UnstyledButton aria-label={`${initials}, Account of ${name}`}>
          <Avatar size={30} radius="xl" color="teal" variant="light">
            {initials}
          </Avatar>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          <Text size="sm" fw={500} truncate c="var(--mantine-color-text)">
            {name}
          </Text>
          <Text size="xs" truncate>
            {who.user.email} · {who.team.name}
          </Text>
        </Menu.Label>
        <Menu.Item component={Link} to={at.security} leftSection={<IconShieldLock size={16} />}>
          Name, password and sessions
        </Menu.Item>
        <Menu.Item
          leftSection={<IconKeyboard size={16} />}
          rightSection={<Kbd size="xs">?</Kbd>}
          onClick={keys}
        >
          Keyboard shortcuts
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void signOut(client)}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
