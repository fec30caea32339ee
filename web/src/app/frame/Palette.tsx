import { Kbd, Modal, ScrollArea, Text, TextInput } from '@mantine/core';
import { useHotkeys } from '@mantine/hooks';
import { IconBook, IconDatabase, IconPlus, IconRipple, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { GROUPS } from '~/screens/help/groups';
import { at } from '../places';
import { entries } from '../rail';
import { type Command, matching } from './commands';

interface Props {
  opened: boolean;
  open: (opened: boolean) => void;
}

const MOST = 12;

/** Ctrl-K: every screen, pipeline and destination by a few letters of its name. */
export function Palette({ opened, open }: Props) {
  useHotkeys([['mod+K', () => open(!opened)]], []);
  return (
    <Modal.Root
      opened={opened}
      onClose={() => open(false)}
      padding={0}
      size={560}
      yOffset="12vh"
      centered={false}
    >
      <Modal.Overlay />
      <Modal.Content aria-label="Search or go to">
        <Modal.Body>{opened && <Search close={() => open(false)} />}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}

function Search({ close }: { close: () => void }) {
  const navigate = useNavigate();
  const may = useMay();
  const [text, setText] = useState('');
  const [chosen, choose] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const { data: names } = useQuery({
    queryKey: ['pipelines', 'names'],
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines')),
  });
  const { data: destinations } = useQuery({
    queryKey: ['destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations')),
  });
  const commands = useMemo<Command[]>(
    () => [
      ...entries
        .filter((one) => !one.needs || may(one.needs))
        .map((one) => ({ label: one.label, kind: 'Screen', icon: one.icon, to: one.to })),
      ...(may('pipelines.create')
        ? [{ label: 'Create pipeline', kind: 'Action', icon: IconPlus, to: at.newPipeline }]
        : []),
      ...(names ?? []).map((name) => ({
        label: name,
        kind: 'Pipeline',
        icon: IconRipple,
        to: at.pipeline(name),
      })),
      ...(destinations ?? []).map(({ name }) => ({
        label: name,
        kind: 'Destination',
        icon: IconDatabase,
        to: at.destination(name),
      })),
      ...GROUPS.flatMap(({ pages }) =>
        pages.map(({ name, title }) => ({ label: title, kind: 'Guide', icon: IconBook, to: at.help(name) })),
      ),
    ],
    [names, destinations, may],
  );
  const found = matching(commands, text).slice(0, MOST);
  const go = (command: Command | undefined) => {
    if (!command) return;
    close();
    navigate(command.to);
  };
  const move = (by: number) => {
    const next = (chosen + by + found.length) % Math.max(1, found.length);
    choose(next);
    list.current?.querySelector(`#command-${next}`)?.scrollIntoView({ block: 'nearest' });
  };
  return (
    <>
      <TextInput
        data-autofocus
        variant="unstyled"
        size="md"
        px="md"
        py={6}
        leftSection={<IconSearch size={18} />}
        leftSectionWidth={48}
        placeholder="A screen, a pipeline, an action"
        aria-label="Search or go to"
        role="combobox"
        aria-expanded
        aria-controls="commands"
        aria-activedescendant={found.length > 0 ? `command-${chosen}` : undefined}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          choose(0);
        }}
        onKeyDown={(event) => {
          if (event.key === 'ArrowDown') move(1);
          else if (event.key === 'ArrowUp') move(-1);
          else if (event.key === 'Enter') go(found[chosen]);
          else return;
          event.preventDefault();
        }}
      />
      <ScrollArea.Autosize mah={400} style={{ borderTop: '1px solid var(--border)' }}>
        <div ref={list} id="commands" role="listbox" aria-label="Found" style={{ padding: 8 }}>
          {found.map((one, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys are heard by the field above, which keeps the focus
            <div
              key={one.to}
              id={`command-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === chosen}
              className="command"
              onMouseMove={() => choose(index)}
              onClick={() => go(one)}
            >
              <one.icon size={18} stroke={1.75} aria-hidden />
              <Text truncate flex={1}>
                {one.label}
              </Text>
              {index === chosen ? (
                <Kbd size="xs">Enter</Kbd>
              ) : (
                <Text size="xs" c="dimmed">
                  {one.kind}
                </Text>
              )}
            </div>
          ))}
          {found.length === 0 && (
            <Text c="dimmed" p="sm">
              Nothing here has that name.
            </Text>
          )}
        </div>
      </ScrollArea.Autosize>
    </>
  );
}
