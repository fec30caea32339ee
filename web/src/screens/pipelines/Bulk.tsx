import { Button, Group, Text } from '@mantine/core';
import { IconFileCode, IconPlayerPause, IconPlayerPlay, IconRefresh, IconX } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body } from '~/api/client';
import { each, type Outcome, without } from '~/parts/each';
import { done } from '~/parts/notices';
import { Refused } from '~/parts/Refused';
import { Yaml } from '~/parts/Yaml';
import { some } from '~/words/numbers';

type Verb = 'run' | 'pause' | 'resume';

const VERBS: Record<Verb, string> = { run: 'Run now', pause: 'Pause', resume: 'Resume' };
const SAID: Record<Verb, string> = { run: 'asked to run', pause: 'paused', resume: 'resumed' };
const OPPOSITE: Partial<Record<Verb, Verb>> = { pause: 'resume', resume: 'pause' };

interface Props {
  chosen: Record<string, true>;
  choose: (change: (chosen: Record<string, true>) => Record<string, true>) => void;
}

/** What can be done with several pipelines at once. Those that do not allow it now say why, and stay chosen. */
export function Bulk({ chosen, choose }: Props) {
  const client = useQueryClient();
  const [text, showText] = useState(false);
  const [told, tell] = useState<{ verb: Verb; outcome: Outcome } | null>(null);
  const names = Object.keys(chosen);
  const act = useMutation({
    mutationFn: ({ verb, of }: { verb: Verb; of: readonly string[] }) => each(of, (name) => one(name, verb)),
    onMutate: () => tell(null),
    onSuccess: (outcome, { verb }) => {
      const back = OPPOSITE[verb];
      const { ok } = outcome;
      if (ok.length > 0) {
        done(
          `${some(ok.length, 'pipeline')} ${SAID[verb]}`,
          back && (() => act.mutate({ verb: back, of: ok })),
        );
      }
      tell({ verb, outcome });
      choose((now) => without(now, ok));
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['pipelines'] }),
  });
  const refused = told && (
    <Refused verb={VERBS[told.verb]} noun="pipeline" outcome={told.outcome} close={() => tell(null)} />
  );
  if (names.length === 0) return refused;
  return (
    <>
      {refused}
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
        <Button
          size="xs"
          variant="subtle"
          color="gray"
          leftSection={<IconX size={14} />}
          onClick={() => choose(() => ({}))}
        >
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
    </>
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
