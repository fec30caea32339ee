import { ActionIcon, Button, Group, Text, Tooltip } from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from 'react-router';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { failed } from '~/parts/notices';

/** Pipelines that somebody began to make. Nothing where there are none. */
export function Drafts() {
  const may = useMay();
  const client = useQueryClient();
  const drafts = useQuery({
    queryKey: ['drafts'],
    queryFn: () => body(api.GET('/api/millrace/v1/drafts')),
  });
  const remove = useMutation({
    mutationFn: (draft: number) =>
      body(api.DELETE('/api/millrace/v1/drafts/{draft}', { params: { path: { draft } } })),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['drafts'] }),
  });
  if (!may('pipelines.create')) return null;
  return drafts.data?.items.map((draft) => (
    <Group key={draft.number} className="card" px="md" py={8} mb="sm" justify="space-between">
      <Text size="sm">
        <b>{draft.name}</b> is a draft, changed <Ago at={draft.changed_at} />
        {draft.author && ` by ${draft.author}`}.
      </Text>
      <Group gap={4}>
        <Button component={Link} to={at.draft(draft.number)} size="xs" variant="default">
          Go on
        </Button>
        <Tooltip label="Give it up">
          <ActionIcon aria-label={`Give up ${draft.name}`} onClick={() => remove.mutate(draft.number)}>
            <IconTrash size={16} />
          </ActionIcon>
        </Tooltip>
      </Group>
    </Group>
  ));
}
