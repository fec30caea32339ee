import { Autocomplete, Badge, Button, Group, Modal, Skeleton, Stack, Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ErrorNote } from '~/parts/ErrorNote';
import { columnsQuery, tablesQuery } from '~/screens/destination/tables';
import { usePipeline } from '~/screens/pipeline/here';
import type { Asked } from './changes';
import type { Shown } from './questions';

interface Props {
  mapping: Shown;
  close: () => void;
  /** Table and columns are chosen; what that changes is shown next. */
  chosen: (asked: Asked) => void;
}

/** What becomes of a field: a column of the table, a new one, or (null) none. Left out: as its name suggests. */
type Columns = Record<string, string | null>;

/** Where rows of an event type go: a table that is there, or one that the next load makes, and column by column. */
export function MapTo({ mapping, close, chosen }: Props) {
  const { data: pipeline } = usePipeline();
  const destination = pipeline?.destination ?? '';
  const [table, setTable] = useState(mapping.overview.table ?? '');
  const [columns, setColumns] = useState<Columns>({});
  const [asked] = useDebouncedValue(table.trim(), 400);
  const known = useInfiniteQuery({ ...tablesQuery(destination), enabled: destination !== '' });
  const there = useQuery({
    ...columnsQuery(destination, asked),
    enabled: destination !== '' && asked !== '',
    retry: false,
  });
  const names = there.data?.columns.map((one) => one.name) ?? [];
  const types = new Map(there.data?.columns.map((one) => [one.name.toLowerCase(), one.type]));
  const fields = mapping.fields.filter((one) => !one.field.startsWith('__') && one.reason !== 'IGNORED');
  const near = (field: Shown['fields'][number]) =>
    names.find((one) =>
      [field.field, field.column].some((name) => name?.toLowerCase() === one.toLowerCase()),
    );
  const settled = asked === table.trim() && !there.isFetching;
  return (
    <Modal
      opened
      onClose={close}
      size={760}
      title={<Text fw={600}>Where do rows of {mapping.overview.event_type} go?</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          chosen({ table: table.trim(), columns });
        }}
      >
        <Stack gap="md">
          <Autocomplete
            label="Table"
            description="One that is there, or the name of a new one, which the next load makes"
            required
            data-autofocus
            data={[...new Set(known.data?.pages.flatMap((page) => page.items.map((one) => one.table)))]}
            value={table}
            onChange={(now) => {
              setTable(now);
              setColumns({});
            }}
          />
          <ErrorNote error={there.error} again={() => void there.refetch()} />
          {there.isFetching && <Skeleton height={80} />}
          {there.data && settled && (
            <>
              <Text size="sm" c="dimmed" role="status">
                {there.data.exists
                  ? `${asked} is there, with ${names.length} columns. Fields go to columns of their name.`
                  : `${asked} is not there yet. The next load makes it with these columns.`}
              </Text>
              <div className="card table-scroll">
                <table className="table" aria-label="Columns of the fields">
                  <thead>
                    <tr>
                      <th scope="col">Source field</th>
                      <th scope="col">Type</th>
                      <th scope="col">Column</th>
                      <th scope="col" aria-label="What it is" />
                    </tr>
                  </thead>
                  <tbody>
                    {fields.map((field) => {
                      const out = columns[field.field] === null;
                      const column = columns[field.field] ?? near(field) ?? field.column ?? '';
                      const type = types.get(column.toLowerCase());
                      return (
                        <tr key={field.field}>
                          <td className="mono">{field.field}</td>
                          <td className="mono">{field.type}</td>
                          <td>
                            <Autocomplete
                              size="xs"
                              aria-label={`Column of ${field.field}`}
                              classNames={{ input: 'mono' }}
                              disabled={out}
                              placeholder={out ? 'left out' : 'a new one by its name'}
                              data={names}
                              value={out ? '' : column}
                              onChange={(now) =>
                                setColumns(({ [field.field]: _, ...rest }) =>
                                  now === '' ? rest : { ...rest, [field.field]: now },
                                )
                              }
                            />
                          </td>
                          <td>
                            <Group gap={6} wrap="nowrap">
                              {!out && (
                                <Badge size="sm" variant="light" color={type ? 'gray' : 'teal'}>
                                  {type ?? 'new'}
                                </Badge>
                              )}
                              <Button
                                size="compact-xs"
                                variant="subtle"
                                color="gray"
                                aria-label={`${out ? 'Take in' : 'Leave out'} ${field.field}`}
                                onClick={() =>
                                  setColumns(({ [field.field]: _, ...rest }) =>
                                    out ? rest : { ...rest, [field.field]: null },
                                  )
                                }
                              >
                                {out ? 'Take in' : 'Leave out'}
                              </Button>
                            </Group>
                          </td>
                        </tr>
                      );
                    })}
                  </tbody>
                </table>
              </div>
            </>
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep it as it is
            </Button>
            <Button type="submit" disabled={!table.trim() || !settled}>
              See what changes
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
