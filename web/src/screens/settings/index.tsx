import {
  Button,
  Group,
  NumberInput,
  Paper,
  Select,
  Stack,
  Switch,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { IconFileCode } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';
import { useReversible } from '~/parts/reversible';
import { Yaml } from '~/parts/Yaml';
import { changedOf, GROUPS, type Key, type Setting } from './known';

type Workspace = Schemas['Workspace'];

/** What holds for all of this server. */
export function Component() {
  const may = useMay();
  const [text, showText] = useState(false);
  const settings = useQuery({
    queryKey: ['settings'],
    queryFn: () => body(api.GET('/api/millrace/v1/settings')),
  });
  return (
    <div className="content" data-narrow>
      <PageHead
        title="Settings"
        told="What holds for all pipelines of this server."
        actions={
          <Button variant="default" leftSection={<IconFileCode size={16} />} onClick={() => showText(true)}>
            As YAML
          </Button>
        }
      />
      <ErrorNote error={settings.error} again={() => void settings.refetch()} />
      {settings.data && (
        <Form key={JSON.stringify(settings.data)} saved={settings.data} editable={may('settings.edit')} />
      )}
      {text && (
        <Yaml
          title="Settings as YAML"
          sections={['settings', 'usage']}
          nothing="All settings are as they are at first, and no limits are set: the file says nothing of them."
          close={() => showText(false)}
        />
      )}
    </div>
  );
}

function Form({ saved, editable }: { saved: Workspace; editable: boolean }) {
  const [now, setNow] = useState<Workspace>(saved);
  const changed = changedOf(saved, now);
  const save = useReversible<typeof changed, unknown>({
    ask: (settings) => body(api.PUT('/api/millrace/v1/settings', { body: { settings } })),
    said: () => 'The settings are saved',
    // Also what is taken back before the answer came.
    after: (_, { to }) => setNow((shown) => ({ ...shown, ...to })),
    stale: ['settings'],
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        save.mutate({ to: changed, from: changedOf(now, saved) });
      }}
    >
      <fieldset disabled={!editable} className="plain">
        <Stack gap="md">
          {GROUPS.map(({ title, settings }) => (
            <Paper key={title} className="card" p="lg">
              <Title order={2} mb="sm">
                {title}
              </Title>
              <Stack>
                {settings.map((one) => (
                  <Input
                    key={one.key}
                    setting={one}
                    value={now[one.key]}
                    change={(value) => setNow({ ...now, [one.key]: value })}
                  />
                ))}
              </Stack>
            </Paper>
          ))}
        </Stack>
      </fieldset>
      {save.error && (
        <div style={{ marginTop: 16 }}>
          <ErrorNote error={save.error} />
        </div>
      )}
      {editable ? (
        <Group mt="md">
          <Button type="submit" loading={save.isPending} disabled={Object.keys(changed).length === 0}>
            Save settings
          </Button>
        </Group>
      ) : (
        <Text c="dimmed" mt="md">
          Your roles let you see these settings, not change them.
        </Text>
      )}
    </form>
  );
}

interface InputProps {
  setting: Setting;
  value: Workspace[Key];
  change: (value: unknown) => void;
}

function Input({ setting, value, change }: InputProps) {
  const common = { label: setting.label, description: setting.told };
  if (typeof value === 'boolean') {
    return <Switch {...common} checked={value} onChange={(event) => change(event.currentTarget.checked)} />;
  }
  if (typeof value === 'number') {
    return (
      <NumberInput
        {...common}
        w={260}
        min={0}
        value={value}
        suffix={setting.unit && (setting.unit === '%' ? '%' : ` ${setting.unit}`)}
        onChange={(now) => now !== '' && change(Number(now))}
      />
    );
  }
  if (setting.choices) {
    return (
      <Select
        {...common}
        w={260}
        data={setting.choices}
        allowDeselect={false}
        value={value}
        onChange={(now) => change(now)}
      />
    );
  }
  return (
    <TextInput
      {...common}
      maw={420}
      value={value ?? ''}
      onChange={(event) => change(event.currentTarget.value || null)}
    />
  );
}
