import { Group, SegmentedControl, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, body, Problem, type Schemas } from '~/api/client';
import { count, some } from '~/words/numbers';
import type { Status } from '~/words/statuses';
import { type Column, DataTable } from './DataTable';
import { ErrorNote } from './ErrorNote';
import { StatusBadge, ToneIcon } from './StatusBadge';

interface Props {
  /** The type of the source. */
  type: string;
  /** What its settings call the file. */
  file: string;
}

type Listed = Schemas['ListedName'];

const FATES: Record<Listed['fate'], Status> = {
  read: { tone: 'well', word: 'Will be read' },
  not_exportable: { tone: 'look', word: 'Cannot be exported' },
  twice: { tone: 'quiet', word: 'Twice in the file' },
};

const COLUMNS: Column<Listed>[] = [
  {
    id: 'name',
    header: 'Name',
    cell: ({ name }) => (
      <Text fz={13} truncate maw="min(260px, 36vw)" title={name}>
        {name}
      </Text>
    ),
  },
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

/** What becomes of each name in a file that was sent, before anything is saved. */
export function NamesInFile({ type, file }: Props) {
  const [which, choose] = useState<'all' | 'rest'>('all');
  const found = useQuery({
    queryKey: ['names', type, file],
    queryFn: () =>
      body(
        api.GET('/api/millrace/v1/connectors/sources/{type}/names', {
          params: { path: { type }, query: { file } },
        }),
      ),
    retry: false,
  });
  // A file that somebody at the machine named is not shown to others; it is read all the same.
  if (found.error instanceof Problem && found.error.code === 'FOREIGN_FILE') return null;
  if (found.error) return <ErrorNote error={found.error} again={() => void found.refetch()} />;
  const rest = (found.data?.rows ?? []).filter((row) => row.fate !== 'read');
  const rows = which === 'rest' && rest.length > 0 ? rest : found.data?.rows;
  return (
    <Stack gap={8} mt={8}>
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
            {text}
          </Text>
        </Group>
      ))}
      <DataTable
        label="Names in the file"
        columns={COLUMNS}
        rows={rows}
        id={(row) => String(row.line)}
        rowHeight={41}
        height={320}
      />
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
