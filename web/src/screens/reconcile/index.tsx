import {
  Alert,
  Box,
  Button,
  Group,
  Loader,
  SegmentedControl,
  Stack,
  Switch,
  Text,
  TextInput,
} from '@mantine/core';
import { IconInfoCircle, IconScale, IconTool } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Link, useParams, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useErrand } from '~/api/errands';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { capital, ErrorNote } from '~/parts/ErrorNote';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { count, some } from '~/words/numbers';
import {
  alike,
  byKeys,
  byReason,
  type Compared,
  dayOf,
  explained,
  KINDS,
  type Reconciliation,
  remedy,
  scope,
  type Unlike,
  unexplained,
} from './comparison';

const columns = (ranges: boolean): readonly Column<Compared>[] => [
  ...(ranges ? [] : [DAY]),
  {
    id: 'name',
    header: ranges ? 'Rows' : 'Event',
    cell: (one) => (
      <>
        {ranges ? capital(one.name) : one.name}
        {!ranges && (
          <Text size="xs" c="dimmed" hiddenFrom="sm">
            {one.day}
          </Text>
        )}
      </>
    ),
  },
  {
    id: 'source',
    header: 'Source counts',
    align: 'right',
    hide: 'phone',
    cell: (one) => count(one.source_rows),
  },
  {
    id: 'table',
    header: 'Table holds',
    align: 'right',
    hide: 'phone',
    cell: (one) => count(one.table_rows),
  },
  {
    id: 'difference',
    header: 'Difference',
    align: 'right',
    cell: (one) => {
      const difference = one.source_rows - one.table_rows;
      return difference === 0 ? (
        '0'
      ) : (
        <b>{difference > 0 ? `−${count(difference)}` : `+${count(-difference)}`}</b>
      );
    },
  },
  {
    id: 'why',
    header: 'Why',
    cell: (one) => (
      <>
        {one.causes.map((cause) => (
          <Text key={cause.code} size="sm">
            <Told text={cause.message} />
          </Text>
        ))}
        {unexplained(one) !== 0 && (
          <StatusBadge
            name="unexplained"
            as={{ tone: 'look', word: `${some(Math.abs(unexplained(one)), 'row')} not explained` }}
          />
        )}
      </>
    ),
  },
];

const DAY: Column<Compared> = {
  id: 'day',
  header: 'Day',
  hide: 'phone',
  cell: (one) => <span style={{ whiteSpace: 'nowrap' }}>{one.day}</span>,
  width: 120,
};

const UNLIKE: readonly Column<Unlike>[] = [
  {
    id: 'kind',
    header: 'Not alike',
    cell: (one) => (
      <>
        {KINDS[one.kind]}
        <Text size="xs" c="dimmed">
          {one.name}
        </Text>
      </>
    ),
  },
  { id: 'rows', header: 'Rows', align: 'right', cell: (one) => count(one.rows) },
  {
    id: 'keys',
    header: 'Keys',
    cell: (one) => (
      <span className="mono">{one.first === one.last ? one.first : `${one.first} … ${one.last}`}</span>
    ),
  },
  {
    id: 'columns',
    header: 'Columns, and in how many rows',
    hide: 'phone',
    cell: (one) =>
      Object.entries(one.columns)
        .map(([name, rows]) => `${name} ${count(rows)}`)
        .join(', '),
  },
];

type Asked = Schemas['PipelinesReconcileBody'];

/** Is it whole? What the source counts, beside what the table holds, and why they differ. */
export function Component() {
  const pipeline = useParams().pipeline ?? '';
  // What was found belongs to one pipeline.
  return <Reconcile key={pipeline} pipeline={pipeline} />;
}

function Reconcile({ pipeline }: { pipeline: string }) {
  const may = useMay();
  const client = useQueryClient();
  const [search, setSearch] = useSearchParams();
  const there = { since: dayOf(search.get('since')), values: search.get('values') === 'true' };
  const only = search.get('rows') === 'all' ? 'all' : 'different';
  const [{ since, values }, choose] = useState(there);
  // The address follows what was chosen, a moment later; what else becomes of it is followed here.
  useEffect(() => choose({ since: there.since, values: there.values }), [there.since, there.values]);
  const set = (key: string, value: string | null) =>
    setSearch(
      (now) => {
        if (value) now.set(key, value);
        else now.delete(key);
        return now;
      },
      { replace: true },
    );
  const path = { pipeline };
  const compare = useErrand<Reconciliation[], Asked>((asked) =>
    body(api.POST('/api/millrace/v1/pipelines/{pipeline}/reconcile', { params: { path }, body: asked })),
  );
  const mend = useErrand<Reconciliation[], Asked>(
    (asked) =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/reconcile-and-fix', {
          params: { path },
          body: asked,
        }),
      ),
    () => void client.invalidateQueries({ queryKey: ['pipelines'] }),
  );
  // What is shown is read again, whatever was chosen since then.
  const again = () => compare.variables && mend.mutate(compare.variables);
  const busy = compare.isPending || mend.isPending;
  const found = mend.data ?? compare.data;
  return (
    <Stack gap="md">
      <Group align="flex-end">
        <TextInput
          label="Since"
          type="date"
          max="9999-12-31"
          value={since}
          onChange={(event) => {
            choose({ since: event.currentTarget.value, values });
            set('since', event.currentTarget.value);
          }}
          w={170}
        />
        <Button
          leftSection={<IconScale size={16} />}
          loading={compare.isPending}
          disabled={mend.isPending}
          onClick={() => {
            mend.reset();
            compare.mutate({ since: since || null, only: [], values });
          }}
        >
          {values ? 'Compare values' : 'Compare counts'}
        </Button>
        <Switch
          label="Values too"
          checked={values}
          onChange={(event) => {
            choose({ since, values: event.currentTarget.checked });
            set('values', event.currentTarget.checked ? 'true' : null);
          }}
          pb={8}
        />
        <Text size="sm" c="dimmed" pb={8}>
          {values
            ? 'Rows of databases are read on both sides; run the pipeline first. Nothing is changed.'
            : `${since ? '' : 'The last 31 days. '}The source is asked to count; nothing is changed.`}
        </Text>
      </Group>
      <ErrorNote error={compare.error ?? mend.error} />
      {busy && (
        <Group gap="xs">
          <Loader size="xs" />
          <Text size="sm" c="dimmed">
            {mend.isPending
              ? 'What differs is read once more'
              : compare.variables?.values
                ? 'Rows are read on both sides'
                : 'The source counts'}
          </Text>
        </Group>
      )}
      {!found && !busy && !compare.error && (
        <div className="card">
          <Empty icon={IconScale} title="Is everything there?">
            The source counts its events by name and day, a database its rows by ranges of the key, and
            Millrace counts the rows of the table. Each difference is shown with its cause.
          </Empty>
        </div>
      )}
      {!busy &&
        found?.map((one) => {
          const different = one.compared.filter((row) => row.source_rows !== row.table_rows);
          const open = one.compared.filter((row) => unexplained(row) !== 0);
          const rows = only === 'all' ? one.compared : different;
          const unlike = one.values?.unlike ?? [];
          const differs = open.length > 0 || unlike.length > 0;
          return (
            <section key={one.stream} className="card">
              <Group p={16} pb={8} gap="lg">
                <div style={{ flex: '1 1 300px' }}>
                  <Text fw={600} size="lg">
                    {explained(one)}
                  </Text>
                  <Text size="sm" c="dimmed">
                    {one.stream} → <span className="mono">{one.table}</span> · {scope(one)}
                    {one.again.length > 0 && ` · ${some(one.again.length, 'day')} read once more`}
                  </Text>
                  {one.values && <Text size="sm">{alike(one.values)}</Text>}
                  {one.values && remedy(one.values) && <Text size="sm">{remedy(one.values)}</Text>}
                </div>
                <SegmentedControl
                  size="xs"
                  aria-label="Which rows"
                  value={only}
                  onChange={(value) => set('rows', value === 'different' ? null : value)}
                  data={[
                    { value: 'different', label: `Different ${count(different.length)}` },
                    { value: 'all', label: `All ${count(one.compared.length)}` },
                  ]}
                />
                {byKeys(one.values) && may('pipelines.edit') && (
                  <Button size="xs" variant="default" leftSection={<IconTool size={14} />} onClick={again}>
                    Read these rows again
                  </Button>
                )}
                {differs && may('pipelines.edit') && one.ranges && !byKeys(one.values) && (
                  <Button component={Link} to={at.pipeline(pipeline, 'objects')} size="xs" variant="default">
                    Read the object again
                  </Button>
                )}
                {open.length > 0 && may('pipelines.edit') && !one.ranges && (
                  <Button size="xs" variant="default" leftSection={<IconTool size={14} />} onClick={again}>
                    Read these days again
                  </Button>
                )}
              </Group>
              {Object.keys(one.unreadable).length > 0 && (
                <Alert variant="light" color="gray" mx={16} mb={8} icon={<IconInfoCircle size={18} />}>
                  <Text size="sm">
                    {byReason(one.unreadable).map(([why, names]) => (
                      <span key={why}>
                        <b>{names.join(', ')}</b>: {why}.{' '}
                      </span>
                    ))}
                  </Text>
                </Alert>
              )}
              <DataTable
                label={`Counts of ${one.stream}`}
                columns={columns(one.ranges)}
                rows={rows}
                id={(row) => `${row.day} ${row.name}`}
                empty={<Empty icon={IconScale} title="Every count is the same" />}
              />
              {unlike.length > 0 && (
                <Box mt={16}>
                  <DataTable
                    label={`Rows of ${one.stream} that are not alike`}
                    columns={UNLIKE}
                    rows={unlike}
                    id={(row) => `${row.name} ${row.kind}`}
                    empty={null}
                  />
                </Box>
              )}
            </section>
          );
        })}
    </Stack>
  );
}
