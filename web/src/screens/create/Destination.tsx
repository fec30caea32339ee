import { Alert, Button, Group, Paper, Select, Stack, Switch, Text, TextInput, Title } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { useTitle } from '~/parts/connectors';
import { ErrorNote } from '~/parts/ErrorNote';
import { MODES } from '~/words/loading';
import { type Chosen, chosenOf, draftQuery, kept, type Step } from './draft';
import { NewDestination } from './NewDestination';
import { Steps } from './Steps';

interface Props {
  draft: Schemas['Draft'];
  go: (to: Step) => void;
}

const STRATEGIES = [
  { value: 'SPLIT', label: 'Split: arrays become tables of their own' },
  { value: 'COLLAPSE', label: 'Collapse: objects become columns, arrays become text' },
  { value: 'NATIVE', label: 'Native: as the JSON type of the destination' },
  { value: 'NATURAL', label: 'Natural: as structs and lists of the destination' },
  { value: 'COLLAPSE_EXCEPT_ARRAYS', label: 'Collapse, but arrays become tables' },
  { value: 'FLAT', label: 'Flat: all as columns and text' },
];

/** Where rows go, and in which shape. */
export function Destination({ draft, go }: Props) {
  const client = useQueryClient();
  const may = useMay();
  const title = useTitle('destination');
  const [chosen, setChosen] = useState<Chosen>(() => chosenOf(draft));
  const [making, make] = useState(false);
  const destinations = useQuery({
    queryKey: ['destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations')),
  });
  const next = useMutation({
    mutationFn: () => kept(draft, { ...chosen, step: 'schedule' }),
    onSuccess: (saved) => {
      client.setQueryData(draftQuery(saved.number).queryKey, saved);
      go('schedule');
    },
  });
  const set = (some: Partial<Chosen>) => setChosen({ ...chosen, ...some });
  const none = destinations.data?.length === 0;
  const open = making || (none && may('destinations.create'));
  return (
    <Stack gap="lg">
      <Title order={2}>Where shall rows go?</Title>
      <ErrorNote error={destinations.error ?? next.error} />
      {none && !may('destinations.create') && (
        <Alert color="yellow">There is no destination yet, and your roles do not let you make one.</Alert>
      )}
      {!none && (
        <Group align="flex-end">
          <Select
            label="Destination"
            w={320}
            searchable
            placeholder="Choose one"
            data={
              destinations.data?.map((one) => ({
                value: one.name,
                label: `${one.name} (${title(one.type)})`,
              })) ?? []
            }
            value={chosen.destination}
            onChange={(destination) => set({ destination })}
          />
          {may('destinations.create') && !making && (
            <Button variant="default" leftSection={<IconPlus size={16} />} onClick={() => make(true)}>
              Another one
            </Button>
          )}
        </Group>
      )}
      {open && (
        <NewDestination
          made={(name) => {
            set({ destination: name });
            make(false);
          }}
          close={none ? null : { verb: 'Choose one that is there', act: () => make(false) }}
        />
      )}
      <Paper className="card" p="lg">
        <Stack>
          <Title order={3}>Shape of the tables</Title>
          <Select
            label="How rows are loaded"
            data={MODES.map(({ value, label }) => ({ value, label }))}
            allowDeselect={false}
            value={chosen.load_mode}
            onChange={(value) => value && set({ load_mode: value as Chosen['load_mode'] })}
          />
          <Select
            label="Nested values"
            description="Objects and arrays inside of a row"
            placeholder="As the destination likes it"
            clearable
            data={STRATEGIES}
            value={chosen.strategy}
            onChange={(strategy) => set({ strategy })}
          />
          <TextInput
            label="Prefix of the tables"
            description="May be empty. It keeps tables of several pipelines apart"
            value={chosen.table_prefix}
            onChange={(event) => set({ table_prefix: event.currentTarget.value })}
          />
          <Switch
            label="Map automatically"
            description="New fields become columns by themselves; else they wait for you in the schema mapper"
            checked={chosen.auto_mapping}
            onChange={(event) => set({ auto_mapping: event.currentTarget.checked })}
          />
        </Stack>
      </Paper>
      {!chosen.destination && !open && <Text c="dimmed">Choose a destination to go on.</Text>}
      <Steps
        back={() => go('objects')}
        next={() => next.mutate()}
        busy={next.isPending}
        may={chosen.destination !== null}
      />
    </Stack>
  );
}
