import { Paper, Stack, Switch, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { useTitle } from '~/parts/connectors';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { askedMode } from '~/parts/QueryMode';
import { asked, ScheduleInput } from '~/parts/ScheduleInput';
import { MODES } from '~/words/loading';
import { some } from '~/words/numbers';
import { chosenOf, kept, type Step } from './draft';
import { Steps } from './Steps';

interface Props {
  draft: Schemas['Draft'];
  go: (to: Step) => void;
}

type Strategy = NonNullable<Schemas['DraftsFinishBody']['json_parsing_strategy']>;

/** When it runs and what it is called; then it is made. */
export function Schedule({ draft, go }: Props) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const title = useTitle('source');
  const chosen = chosenOf(draft);
  const [timing, setTiming] = useState(chosen.timing);
  const [name, setName] = useState(draft.name);
  const [run, setRun] = useState(true);
  const finish = useMutation({
    mutationFn: async () => {
      await kept(draft, { timing, step: 'schedule' }, name.trim());
      const made = await body(
        api.POST('/api/millrace/v1/drafts/{draft}/finish', {
          params: { path: { draft: draft.number } },
          body: {
            name: name.trim(),
            destination: chosen.destination ?? '',
            table_prefix: chosen.table_prefix,
            objects: chosen.objects,
            query_modes: Object.fromEntries(
              Object.entries(chosen.query_modes).map(([object, mode]) => [object, askedMode(mode)]),
            ),
            load_mode: chosen.load_mode,
            auto_mapping: chosen.auto_mapping,
            json_parsing_strategy: chosen.strategy as Strategy | null,
            ...asked(timing),
          },
        }),
      );
      const params = { path: { pipeline: made.pipeline } };
      if (run) {
        // It is made, whatever comes of the first run.
        await body(
          api.POST('/api/millrace/v1/pipelines/{pipeline}/jobs', { params, body: { kind: 'run' } }),
        ).catch(failed);
      }
      return made;
    },
    onSuccess: (made) => {
      client.removeQueries({ queryKey: ['drafts', draft.number] });
      void client.invalidateQueries();
      done(`${made.pipeline} is made`);
      navigate(at.pipeline(made.pipeline));
    },
  });
  return (
    <Stack gap="lg">
      <Title order={2}>When shall it run?</Title>
      <ScheduleInput value={timing} change={setTiming} />
      <TextInput
        label="Name"
        required
        w={360}
        maw="100%"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Switch label="Run it now" checked={run} onChange={(event) => setRun(event.currentTarget.checked)} />
      <Paper className="card" p="lg">
        <Title order={3} mb="xs">
          What you get
        </Title>
        <dl className="facts">
          <dt>Reads</dt>
          <dd>
            {chosen.objects === null ? 'all objects' : some(chosen.objects.length, 'object')} of{' '}
            {title(draft.source_type)}
          </dd>
          <dt>Into</dt>
          <dd>
            {chosen.destination}
            {chosen.table_prefix && `, tables ${chosen.table_prefix}…`}
          </dd>
          <dt>Loaded by</dt>
          <dd>{MODES.find(({ value }) => value === chosen.load_mode)?.label}</dd>
        </dl>
      </Paper>
      <ErrorNote error={finish.error} />
      <Steps
        back={() => go('destination')}
        next={() => finish.mutate()}
        busy={finish.isPending}
        verb="Create pipeline"
        may={name.trim() !== '' && chosen.destination !== null}
      />
    </Stack>
  );
}
