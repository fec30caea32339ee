import { Alert, Button, Code, Group, Select, Stack, Text, TextInput, Timeline } from '@mantine/core';
import {
  IconAlertTriangle,
  IconBook,
  IconDatabase,
  IconRoute,
  IconStack2,
  IconTrash,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useParams, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { exactly } from '~/api/exact';
import { Ago } from '~/parts/Ago';
import { Empty } from '~/parts/Empty';
import { capital, ErrorNote } from '~/parts/ErrorNote';
import { Side } from '~/parts/Side';
import { Told } from '~/parts/Told';
import { some } from '~/words/numbers';
import { listAt, STAGES } from './questions';

/** Where one event went: read, staged, loaded, failed or left out. */
export function Component() {
  const { pipeline: own } = useParams();
  const [search, setSearch] = useSearchParams();
  const pipeline = own ?? search.get('pipeline') ?? '';
  const key = search.get('key') ?? '';
  const [text, setText] = useState(key);
  const [chosen, choose] = useState<string | null>(pipeline || null);
  const names = useQuery({
    queryKey: ['pipelines', 'names'],
    enabled: !own,
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines')),
  });
  const trace = useQuery({
    queryKey: ['trace', pipeline, key],
    enabled: pipeline !== '' && key !== '',
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/trace', {
          params: { path: { pipeline }, query: { key } },
        }),
      ),
  });
  return (
    <Side wide title="Find an event" told="Where it is now, and how it came there" back={listAt(own)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setSearch({ ...(chosen ? { pipeline: chosen } : {}), key: text.trim() });
        }}
      >
        <Group align="flex-end" mb="md" gap="xs">
          {!own && (
            <Select
              label="Pipeline"
              searchable
              value={chosen}
              onChange={choose}
              data={names.data ?? []}
              placeholder="Choose a pipeline"
              flex="1 1 200px"
            />
          )}
          <TextInput
            label="Event"
            placeholder="4711 or email=ann@example.com"
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            flex="3 1 220px"
          />
          <Button type="submit" loading={trace.isFetching} disabled={!text.trim() || !chosen}>
            Find
          </Button>
        </Group>
      </form>
      <ErrorNote error={trace.error} again={() => void trace.refetch()} />
      {trace.data && <Found trace={trace.data} />}
      {key === '' && (
        <Empty icon={IconRoute} title="Where is my row?">
          Name it by its key, like 4711, or by any field, like email=ann@example.com. You see when it was
          read, what became of it on the way, and what the table holds.
        </Empty>
      )}
    </Side>
  );
}

function Found({ trace }: { trace: Schemas['Trace'] }) {
  const versions = (one: { transformation: number | null; mapping: number | null }) =>
    [
      one.transformation ? `transformation ${one.transformation}` : null,
      one.mapping ? `mapping ${one.mapping}` : null,
    ]
      .filter(Boolean)
      .join(', ');
  return (
    <Stack gap="md">
      <Alert
        color={trace.failed.some((one) => one.state === 'open') ? 'orange' : trace.found ? 'teal' : 'gray'}
        variant="light"
      >
        <Text size="sm" fw={500} c="var(--mantine-color-text)">
          <Told text={capital(trace.verdict)} />
        </Text>
      </Alert>
      {Object.entries(trace.unasked).map(([what, why]) => (
        <Text key={what} size="sm" c="var(--look)">
          {what} could not be asked: <Told text={why} />
        </Text>
      ))}
      <Timeline bulletSize={26} lineWidth={1} color="gray">
        {trace.read.map((one, index) => (
          <Step
            key={`r${index}`}
            icon={<IconBook size={14} />}
            title={`Read from ${one.stream}`}
            at={one.at}
            row={one.row}
          >
            Job {one.run}
          </Step>
        ))}
        {trace.failed.map((one, index) => (
          <Step
            key={`f${index}`}
            icon={<IconAlertTriangle size={14} color="var(--failed)" />}
            title={`Failed ${STAGES[one.stage] ?? one.stage}`}
            at={one.at}
            row={one.row}
          >
            <Told text={one.message} /> <span className="mono">{one.code}</span> · {one.state}
            {versions(one) && ` · ${versions(one)}`}
          </Step>
        ))}
        {trace.staged.map((one, index) => (
          <Step
            key={`s${index}`}
            icon={<IconStack2 size={14} />}
            title={`Staged for ${one.table}`}
            at={one.at}
            row={one.row}
          >
            {one.superseded
              ? 'A newer version took its place'
              : one.loaded_at
                ? 'Loaded '
                : 'Waits for its load'}
            {!one.superseded && one.loaded_at && <Ago at={one.loaded_at} />} · job {one.run}
            {versions(one) && ` · ${versions(one)}`}
          </Step>
        ))}
        {trace.held.map((one, index) => (
          <Step
            key={`h${index}`}
            icon={<IconDatabase size={14} color="var(--well)" />}
            title={`In ${one.table} now`}
            row={one.row}
          />
        ))}
        {trace.gone.map((one, index) => (
          <Step key={`g${index}`} icon={<IconTrash size={14} />} title={`Gone: ${one.what}`} at={one.last_at}>
            {some(one.files, 'file')} with {some(one.rows, 'row')} are no longer kept; whether it was among
            them is not known.
          </Step>
        ))}
      </Timeline>
    </Stack>
  );
}

interface StepProps {
  icon: ReactNode;
  title: string;
  at?: string;
  row?: string;
  children?: ReactNode;
}

function Step({ icon, title, at, row, children }: StepProps) {
  return (
    <Timeline.Item
      bullet={icon}
      title={
        <Group justify="space-between" gap="xs">
          <Text size="sm" fw={600}>
            {title}
          </Text>
          {at && (
            <Text size="xs" c="dimmed" component="span">
              <Ago at={at} />
            </Text>
          )}
        </Group>
      }
    >
      {children && (
        <Text size="sm" c="dimmed" component="div">
          {children}
        </Text>
      )}
      {row && (
        <Code block mt={6} mah={180} style={{ overflow: 'auto' }} className="mono">
          {readable(row)}
        </Code>
      )}
    </Timeline.Item>
  );
}

function readable(row: string): string {
  try {
    return JSON.stringify(exactly(row), null, 2);
  } catch {
    return row;
  }
}
