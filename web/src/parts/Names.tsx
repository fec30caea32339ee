import { Button, Group, SegmentedControl, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { count, some } from '~/words/numbers';
import type { Status } from '~/words/statuses';
import { type Column, DataTable } from './DataTable';
import { capital, ErrorNote } from './ErrorNote';
import { StatusBadge, ToneIcon } from './StatusBadge';
import type { Settings } from './schema';

interface Props {
  /** The type of the source. */
  type: string;
  /** Settings of it, saved or not. */
  config: Settings;
  /** The one of them that names a file of names. */
  file: string;
  /** With these settings the system is asked for names too: when somebody wishes it. */
  asks: boolean;
  /** The source or the draft that keeps secrets which are not among the settings. */
  of?: Kept | undefined;
}

export interface Kept {
  source?: string;
  draft?: number;
}

type Listed = Schemas['ListedName'];

const FATES: Record<Listed['fate'], Status> = {
  read: { tone: 'well', word: 'Will be read' },
  not_exportable: { tone: 'look', word: 'Cannot be exported' },
  twice: { tone: 'quiet', word: 'Twice in the file' },
};

const FROM: Record<NonNullable<Listed['comes_from']>, string> = {
  file: 'The file',
  schema: 'The schema',
  both: 'Both',
};

const NAME: Column<Listed> = {
  id: 'name',
  header: 'Name',
  cell: ({ name }) => (
    <Text fz={13} truncate maw="min(260px, 36vw)" title={name}>
      {name}
    </Text>
  ),
};
const COMES_FROM: Column<Listed> = {
  id: 'from',
  header: 'Comes from',
  cell: ({ comes_from }) => <span style={{ whiteSpace: 'nowrap' }}>{FROM[comes_from ?? 'file']}</span>,
};
const REST: Column<Listed>[] = [
  {
    id: 'fate',
    header: 'What becomes of it',
    cell: (row) => <StatusBadge name={row.fate} as={FATES[row.fate]} />,
  },
  {
    id: 'note',
    header: 'Note',
    cell: (row) => row.note && <span style={{ whiteSpace: 'nowrap' }}>{row.note}</span>,
  },
];

/** What becomes of each name that a source would read, before anything is saved. */
export function Names({ type, config, file, asks, of }: Props) {
  const [which, choose] = useState<'all' | 'rest'>('all');
  const listed = (config: Settings, of?: Kept) =>
    body(
      api.POST('/api/millrace/v1/connectors/sources/{type}/names', {
        params: { path: { type } },
        body: { config, ...of },
      }),
    );
  const path = config[file];
  const read = useQuery({
    queryKey: ['names', type, path],
    queryFn: () => listed({ [file]: path }),
    enabled: !asks && path !== undefined,
    retry: false,
  });
  const asked = useMutation({ mutationFn: (settings: Settings) => listed(settings, of) });
  if (!asks && path === undefined) return null;
  // What was asked for with other settings, or with another file of the same name, says nothing of these.
  const answered = asked.variables === config ? asked : { data: undefined, error: null };
  const found = asks ? answered : read;
  // A file that somebody at the machine named is not shown to others; it is read all the same.
  if (!asks && found.error instanceof Problem && found.error.code === 'FOREIGN_FILE') return null;
  if (!asks && read.error) return <ErrorNote error={read.error} again={() => void read.refetch()} />;
  const rest = (found.data?.rows ?? []).filter((row) => row.fate !== 'read');
  const rows = which === 'rest' && rest.length > 0 ? rest : found.data?.rows;
  return (
    <Stack gap={8} mt={8}>
      {asks && (
        <>
          <Button
            variant="default"
            size="xs"
            style={{ alignSelf: 'flex-start' }}
            loading={asked.isPending}
            onClick={() => asked.mutate(config)}
          >
            Show the names
          </Button>
          <ErrorNote error={answered.error} />
        </>
      )}
      {found.data && (
        <Group justify="space-between" gap="xs">
          <Text size="sm" role="status">
            {told(found.data)}
          </Text>
          {rest.length > 0 && (
            <SegmentedControl
              size="xs"
              aria-label="Which names are shown"
              value={which}
              onChange={(now) => choose(now as typeof which)}
              data={[
                { value: 'all', label: 'All' },
                { value: 'rest', label: 'Not read' },
              ]}
            />
          )}
        </Group>
      )}
      {found.data?.warnings.map((text) => (
        <Group key={text} gap={6} wrap="nowrap" align="flex-start">
          <ToneIcon tone="look" />
          <Text size="xs" style={{ overflowWrap: 'anywhere' }}>
            {capital(text)}
          </Text>
        </Group>
      ))}
      {(!asks || found.data) && (
        <DataTable
          label={asks ? 'Names' : 'Names in the file'}
          columns={asks ? [NAME, COMES_FROM, ...REST] : [NAME, ...REST]}
          rows={rows}
          id={(row) => `${row.line ?? ''} ${row.name}`}
          rowHeight={41}
          height={320}
        />
      )}
    </Stack>
  );
}

function told({ read, not_exportable, twice }: Schemas['ListedNames']): string {
  const rest = [
    not_exportable > 0 && `${count(not_exportable)} cannot be exported`,
    twice > 0 && `${count(twice)} twice in the file`,
  ].filter(Boolean);
  return [`${some(read, 'name')} will be read`, ...rest].join(', ');
}
