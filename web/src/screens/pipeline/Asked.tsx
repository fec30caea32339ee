import { Loader, Modal, Select, Stack, Text, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { Copyable } from '~/parts/Copy';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
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
      return <Yaml name={pipeline.name} close={close} />;
    case 'clone':
      return <Clone name={pipeline.name} close={close} />;
    case 'resync':
      return <Resync name={pipeline.name} close={close} />;
    case 'delete':
      return <Delete pipeline={pipeline} close={close} />;
  }
}

function Yaml({ name, close }: { name: string; close: () => void }) {
  const text = useQuery({
    queryKey: ['pipelines', 'one', name, 'yaml'],
    queryFn: () => body(api.GET('/api/millrace/v1/export', { params: { query: { pipeline: [name] } } })),
  });
  return (
    <Modal
      opened
      onClose={close}
      size="lg"
      title={<Text fw={600}>{name} as YAML</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text c="dimmed" mb="sm">
        <span className="mono">millrace apply</span> makes the same pipeline of it elsewhere. Secrets are
        variables.
      </Text>
      <ErrorNote error={text.error} again={() => void text.refetch()} />
      {text.isPending && <Loader size="sm" />}
      {text.data && <Copyable text={text.data.text} label="the YAML" />}
    </Modal>
  );
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
