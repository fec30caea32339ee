import { Button, Group, Text } from '@mantine/core';
import { IconFileCode, IconPlayerPause, IconPlayerPlay, IconRefresh, IconX } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body } from '~/api/client';
import { done, failed } from '~/parts/notices';
import { Yaml } from '~/parts/Yaml';
import { some } from '~/words/numbers';

type Verb = 'run' | 'pause' | 'resume';

const SAID: Record<Verb, string> = { run: 'asked to run', pause: 'paused', resume: 'resumed' };
const OPPOSITE: Partial<Record<Verb, Verb>> = { pause: 'resume', resume: 'pause' };

/** What can be done with several pipelines at once. What some of them do not allow now is said; the others go on. */
export function Bulk({ names, done: finished }: { names: readonly string[]; done: () => void }) {
  const client = useQueryClient();
  const [text, showText] = useState(false);
  const act = useMutation({
    mutationFn: async ({ verb, of }: { verb: Verb; of: readonly string[] }) => {
      const outcomes = await Promise.allSettled(of.map((name) => one(name, verb)));
      return { verb, ok: of.filter((_, index) => outcomes[index]?.status === 'fulfilled'), outcomes };
    },
    onSuccess: ({ verb, ok, outcomes }) => {
      const back = OPPOSITE[verb];
      if (ok.length > 0) {
        done(
          `${some(ok.length, 'pipeline')} ${SAID[verb]}`,
          back && (() => act.mutate({ verb: back, of: ok })),
        );
      }
      const refused = outcomes.find((outcome) => outcome.status === 'rejected');
      if (refused) failed(refused.reason as Error);
      finished();
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['pipelines'] }),
  });
  return (
    <Group className="card" px="md" py={8} mb="sm" gap="xs" role="region" aria-label="Chosen pipelines">
      <Text fw={500} mr="sm">
        {some(names.length, 'pipeline')} chosen
      </Text>
      <Button
        size="xs"
        leftSection={<IconRefresh size={14} />}
        loading={act.isPending && act.variables.verb === 'run'}
        disabled={act.isPending}
        onClick={() => act.mutate({ verb: 'run', of: names })}
      >
        Run now
      </Button>
      <Button
        size="xs"
        variant="default"
        leftSection={<IconPlayerPause size={14} />}
        loading={act.isPending && act.variables.verb === 'pause'}
        disabled={act.isPending}
        onClick={() => act.mutate({ verb: 'pause', of: names })}
      >
        Pause
      </Button>
      <Button
        size="xs"
        variant="default"
        leftSection={<IconPlayerPlay size={14} />}
        loading={act.isPending && act.variables.verb === 'resume'}
        disabled={act.isPending}
        onClick={() => act.mutate({ verb: 'resume', of: names })}
      >
        Resume
      </Button>
      <Button
        size="xs"
        variant="default"
        leftSection={<IconFileCode size={14} />}
        onClick={() => showText(true)}
      >
        As YAML
      </Button>
      <Button size="xs" variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={finished}>
        Choose none
      </Button>
      {text && (
        <Yaml
          title={`${some(names.length, 'pipeline')} as YAML`}
          pipelines={names}
          close={() => showText(false)}
        />
      )}
    </Group>
  );
}

function one(pipeline: string, verb: Verb): Promise<unknown> {
  const params = { path: { pipeline } };
  switch (verb) {
    case 'run':
      return body(api.POST('/api/millrace/v1/pipelines/{pipeline}/jobs', { params, body: { kind: 'run' } }));
    case 'pause':
      return body(api.POST('/api/millrace/v1/pipelines/{pipeline}/pause', { params }));
    case 'resume':
      return body(api.POST('/api/millrace/v1/pipelines/{pipeline}/resume', { params }));
  }
}
