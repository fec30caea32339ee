import { Button, Group, Modal, Radio, Select, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { ACTIONS, PARTS, PRESETS, wordsOf } from '~/words/loading';
import type { Asked } from './changes';

interface Props {
  /** As the server names it: a preset, or its three words. */
  now: string;
  close: () => void;
  chosen: (asked: Asked) => void;
}

const CHOICES = [
  { value: 'pipeline', label: 'As the pipeline has it', told: 'Changes of the pipeline hold here too.' },
  ...PRESETS,
  { value: 'own', label: 'My own choice', told: 'Of event types, fields and values each by itself.' },
];

type Own = Record<(typeof PARTS)[number]['part'], string>;

/** What happens to what is new in an event type. */
export function Policy({ now, close, chosen }: Props) {
  const own = wordsOf(now);
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
              {CHOICES.map(({ value, label, told }) => (
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
                data={[...ACTIONS]}
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
