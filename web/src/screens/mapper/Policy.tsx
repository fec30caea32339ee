import { Button, Group, Modal, Radio, Select, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import type { Asked } from './changes';

interface Props {
  /** As the server names it: a preset, or its three words. */
  now: string;
  close: () => void;
  chosen: (asked: Asked) => void;
}

const PRESETS: readonly { value: string; label: string; told: string }[] = [
  { value: 'pipeline', label: 'As the pipeline has it', told: 'Changes of the pipeline hold here too.' },
  {
    value: 'ALLOW_ALL',
    label: 'Take in everything',
    told: 'Tables, columns and wider types come by themselves.',
  },
  {
    value: 'ALLOW_COLUMN_LEVEL',
    label: 'Take in columns, no tables',
    told: 'New columns and wider types come by themselves; rows of event types without a table are left out.',
  },
  {
    value: 'BLOCK_ALL',
    label: 'Take in nothing',
    told: 'New fields are not loaded, and rows that do not fit wait as failed events.',
  },
  { value: 'own', label: 'My own choice', told: 'Of event types, fields and values each by itself.' },
];

const ACTIONS = [
  { value: 'evolve', label: 'make the place for it' },
  { value: 'freeze', label: 'let the row wait as a failed event' },
  { value: 'discard_value', label: 'load the row without it' },
  { value: 'discard_row', label: 'leave the row out' },
];

const PARTS = [
  { part: 'tables', label: 'An event type without a table' },
  { part: 'columns', label: 'A field without a column' },
  { part: 'types', label: 'A value that its column cannot hold' },
] as const;

type Own = Record<(typeof PARTS)[number]['part'], string>;

/** What happens to what is new in an event type. */
export function Policy({ now, close, chosen }: Props) {
  const own = Object.fromEntries([...now.matchAll(/(\w+)=(\w+)/g)].map(([, part, action]) => [part, action]));
  const [preset, setPreset] = useState(
    Object.keys(own).length ? 'own' : PRESETS.some((one) => one.value === now) ? now : 'pipeline',
  );
  const [actions, setActions] = useState<Own>({
    tables: 'evolve',
    columns: 'evolve',
    types: 'evolve',
    ...own,
  });
  return (
    <Modal
      opened
      onClose={close}
      title={<Text fw={600}>What happens to what is new?</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          chosen({ policy: preset === 'own' ? { ...actions } : preset });
        }}
      >
        <Stack gap="md">
          <Radio.Group value={preset} onChange={setPreset} label="Policy">
            <Stack gap="xs" mt="xs">
              {PRESETS.map(({ value, label, told }) => (
                <Radio key={value} value={value} label={label} description={told} />
              ))}
            </Stack>
          </Radio.Group>
          {preset === 'own' &&
            PARTS.map(({ part, label }) => (
              <Select
                key={part}
                label={label}
                allowDeselect={false}
                data={ACTIONS}
                value={actions[part]}
                onChange={(value) => value && setActions({ ...actions, [part]: value })}
              />
            ))}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep it as it is
            </Button>
            <Button type="submit">See what changes</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
