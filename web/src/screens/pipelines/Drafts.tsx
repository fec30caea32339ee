import { ActionIcon, Button, Group, Text, Tooltip } from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { Confirm } from '~/parts/Confirm';

type Draft = Schemas['Draft'];

/** Pipelines that somebody began to make. Nothing where there are none. */
export function Drafts() {
  const may = useMay();
  const client = useQueryClient();
  const drafts = useQuery({
    queryKey: ['drafts'],
    queryFn: () => body(api.GET('/api/millrace/v1/drafts')),
  });
  const [leaving, leave] = useState<Draft | null>(null);
  if (!may('pipelines.create')) return null;
  const shown = drafts.data?.items.map((draft) => (
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
          <ActionIcon aria-label={`Give up ${draft.name}`} onClick={() => leave(draft)}>
            <IconTrash size={16} />
          </ActionIcon>
        </Tooltip>
      </Group>
    </Group>
  ));
  return (
    <>
      {shown}
      {leaving && (
        <Confirm
          title={`Give up ${leaving.name}?`}
          verb="Give it up"
          close={() => leave(null)}
          act={async () => {
            const path = { draft: leaving.number };
            await body(api.DELETE('/api/millrace/v1/drafts/{draft}', { params: { path } }));
            await client.invalidateQueries({ queryKey: ['drafts'] });
          }}
        >
          What was filled in is lost, secrets too. Nothing was made of it yet.
        </Confirm>
      )}
    </>
  );
}
