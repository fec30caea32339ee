import { Select, Stack, Text, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { done } from '~/parts/notices';
import { Yaml } from '~/parts/Yaml';
import { some } from '~/words/numbers';

export type Question = 'yaml' | 'clone' | 'resync' | 'delete';

interface Props {
  question: Question;
  pipeline: Schemas['PipelineStatus'];
  close: () => void;
}

/** What is asked before something that cannot be taken back lightly, and the pipeline as text. */
export function Asked({ question, pipeline, close }: Props) {
  switch (question) {
    case 'yaml':
      return <Yaml title={`${pipeline.name} as YAML`} pipelines={[pipeline.name]} close={close} />;
    case 'clone':
      return <Clone name={pipeline.name} close={close} />;
    case 'resync':
      return <Resync name={pipeline.name} close={close} />;
    case 'delete':
      return <Delete pipeline={pipeline} close={close} />;
  }
}

function Clone({ name, close }: { name: string; close: () => void }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [copy, setCopy] = useState(`${name} (copy)`);
  const [prefix, setPrefix] = useState('copy_');
  return (
    <Confirm
      title={`Make a copy of ${name}`}
      verb="Make a copy"
      harmless
      close={close}
      act={async () => {
        const made = await body(
          api.POST('/api/millrace/v1/pipelines/{pipeline}/clone', {
            params: { path: { pipeline: name } },
            body: { name: copy, table_prefix: prefix },
          }),
        );
        await client.invalidateQueries({ queryKey: ['pipelines'] });
        navigate(at.pipeline(made.pipeline));
      }}
    >
      <Stack>
        <Text>
          The same connections, objects, transformation and schedule. It has read nothing yet, and is paused
          until you resume it.
        </Text>
        <TextInput
          label="Name"
          required
          value={copy}
          onChange={(event) => setCopy(event.currentTarget.value)}
        />
        <TextInput
          label="Prefix of its tables"
          description="So that both do not write into the same tables"
          required
          value={prefix}
          onChange={(event) => setPrefix(event.currentTarget.value)}
        />
      </Stack>
    </Confirm>
  );
}

const MODES = [
  { value: 'evolve-and-merge', label: 'Into the tables as they are: rows are merged by their keys' },
  { value: 'drop-and-load', label: 'Into fresh tables, which then take the place of the old ones' },
];

function Resync({ name, close }: { name: string; close: () => void }) {
  const client = useQueryClient();
  const [mode, setMode] = useState<string>('evolve-and-merge');
  return (
    <Confirm
      title={`Read the history of ${name} again`}
      verb="Read it again"
      harmless
      close={close}
      act={async () => {
        await body(
          api.POST('/api/millrace/v1/pipelines/{pipeline}/resync', {
            params: { path: { pipeline: name } },
            body: { mode: mode as 'evolve-and-merge' | 'drop-and-load' },
          }),
        );
        done(`The history of ${name} is read again`);
        await Promise.all(
          ['jobs', 'pipelines'].map((noun) => client.invalidateQueries({ queryKey: [noun] })),
        );
      }}
    >
      <Stack>
        <Text>
          All objects forget how far they were read. Loaded rows stay until newer ones take their place.
        </Text>
        <Select
          label="Where the rows go"
          data={MODES}
          value={mode}
          allowDeselect={false}
          onChange={(value) => value && setMode(value)}
        />
      </Stack>
    </Confirm>
  );
}

function Delete({ pipeline, close }: { pipeline: Schemas['PipelineStatus']; close: () => void }) {
  const navigate = useNavigate();
  const client = useQueryClient();
  return (
    <Confirm
      title={`Delete ${pipeline.name}`}
      verb="Delete"
      typed={pipeline.name}
      close={close}
      act={async () => {
        await body(
          api.DELETE('/api/millrace/v1/pipelines/{pipeline}', {
            params: { path: { pipeline: pipeline.name } },
          }),
        );
        navigate(at.pipelines);
        done(`${pipeline.name} is deleted`);
        await client.invalidateQueries({ queryKey: ['pipelines'] });
      }}
    >
      Its positions, its transformation and its failed events are lost
      {pipeline.waiting_rows > 0 &&
        `, and so are ${some(pipeline.waiting_rows, 'row')} that wait to be loaded`}
      . Loaded rows stay in {pipeline.destination}.
    </Confirm>
  );
}
