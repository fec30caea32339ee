import { ActionIcon, Button, Group, Menu, Paper, Stack, Switch, Text } from '@mantine/core';
import { IconDots, IconFileCode } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { useSeen } from '~/parts/reversible';
import { Side } from '~/parts/Side';
import { Yaml } from '~/parts/Yaml';
import { sentence } from '~/words/statuses';
import { Change, NewChannel } from './Channel';
import { channelsQuery } from './questions';

type Channel = Schemas['Channel'];

/** Where alerts go: mail, Slack, PagerDuty, Opsgenie, a webhook. */
export function Component() {
  const may = useMay();
  const client = useQueryClient();
  const seen = useSeen();
  const channels = useQuery(channelsQuery);
  const settled = () => client.invalidateQueries({ queryKey: ['channels'] });
  const change = useMutation({
    mutationFn: ({ name, enabled }: { name: string; enabled: boolean }) =>
      body(
        api.PUT('/api/millrace/v1/alert-channels/{name}', { params: { path: { name } }, body: { enabled } }),
      ),
    onMutate: ({ name, enabled }) =>
      seen<Channel[]>(['channels'], (kept) =>
        kept.map((one) => (one.name === name ? { ...one, enabled } : one)),
      ),
    onError: (error, _, back) => {
      back?.();
      failed(error);
    },
    onSettled: settled,
  });
  const test = useMutation({
    mutationFn: (name: string) =>
      body(api.POST('/api/millrace/v1/alert-channels/{name}/test', { params: { path: { name } }, body: {} })),
    onSuccess: (told) =>
      told.problem
        ? failed(new Problem(0, { code: 'NOT_SENT', message: told.problem, hint: told.hint }))
        : done(`${told.channel} took the test`),
    onError: failed,
  });
  const [removing, remove] = useState<string | null>(null);
  const [changing, alter] = useState<string | null>(null);
  const [text, showText] = useState(false);
  const editable = may('settings.edit');
  return (
    <Side
      title="Channels"
      told="Where alerts of the team go"
      back={at.alerts}
      actions={
        channels.data &&
        channels.data.length > 0 && (
          <Button variant="default" leftSection={<IconFileCode size={16} />} onClick={() => showText(true)}>
            As YAML
          </Button>
        )
      }
    >
      <Stack>
        <ErrorNote error={channels.error} again={() => void channels.refetch()} />
        {channels.data?.length === 0 && <Text c="dimmed">None yet: alerts are only shown here.</Text>}
        {channels.data?.map((one: Channel) => (
          <Paper key={one.id} className="card" p="md">
            <Group justify="space-between" wrap="nowrap">
              <div>
                <Text fw={600}>{one.name}</Text>
                <Text size="sm" c="dimmed">
                  {sentence(one.kind)}, {sentence(one.wanted.least).toLowerCase()} and worse
                </Text>
              </div>
              {editable && (
                <Group gap="xs" wrap="nowrap">
                  <Switch
                    aria-label={`${one.name} is on`}
                    checked={one.enabled}
                    onChange={(event) =>
                      change.mutate({ name: one.name, enabled: event.currentTarget.checked })
                    }
                  />
                  <Menu>
                    <Menu.Target>
                      <ActionIcon aria-label={`Actions of ${one.name}`}>
                        <IconDots size={16} />
                      </ActionIcon>
                    </Menu.Target>
                    <Menu.Dropdown>
                      <Menu.Item onClick={() => test.mutate(one.name)}>Send a test</Menu.Item>
                      <Menu.Item onClick={() => alter(one.name)}>Change its settings</Menu.Item>
                      <Menu.Item color="red" onClick={() => remove(one.name)}>
                        Remove
                      </Menu.Item>
                    </Menu.Dropdown>
                  </Menu>
                </Group>
              )}
            </Group>
            {changing === one.name && <Change channel={one} close={() => alter(null)} />}
          </Paper>
        ))}
        {editable && <NewChannel made={settled} />}
      </Stack>
      {removing !== null && (
        <Confirm
          title={`Remove ${removing}?`}
          verb="Remove"
          close={() => remove(null)}
          act={async () => {
            await body(
              api.DELETE('/api/millrace/v1/alert-channels/{name}', { params: { path: { name: removing } } }),
            );
            done(`${removing} is gone`);
            await settled();
          }}
        >
          Its settings are lost, secrets too. Alerts still stand here, and go to the other channels.
        </Confirm>
      )}
      {text && <Yaml title="Channels as YAML" sections={['alert_channels']} close={() => showText(false)} />}
    </Side>
  );
}
