import '~/parts/panes.css';
import {
  Alert,
  Button,
  Code,
  Group,
  SegmentedControl,
  Skeleton,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { IconAlertTriangle, IconArrowLeft, IconHistory, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, Outlet, useBlocker, useLocation, useParams } from 'react-router';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { Confirm } from '~/parts/Confirm';
import { ErrorNote } from '~/parts/ErrorNote';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { mode, policy } from '~/words/loading';
import { count, some } from '~/words/numbers';
import { Actions } from './Actions';
import { changing } from './asking';
import { changes, type Edits, NOTHING } from './changes';
import { Fields } from './Fields';
import { MapTo } from './MapTo';
import { mapperAt, mappingQuery, type Shown, statusOf } from './questions';
import { type Change, Review } from './Review';

/** One event type: its fields on the left, the columns of its table on the right. */
export function Component() {
  const { pipeline = '', eventType = '' } = useParams();
  const mapping = useQuery(mappingQuery(pipeline, eventType));
  if (mapping.error && !mapping.data) {
    return <ErrorNote error={mapping.error} again={() => void mapping.refetch()} />;
  }
  if (!mapping.data) return <Skeleton height={420} />;
  return (
    <>
      <Mapping
        key={`${eventType} ${mapping.data.overview.version}`}
        pipeline={pipeline}
        mapping={mapping.data}
      />
      <Outlet />
    </>
  );
}

function Mapping({ pipeline, mapping }: { pipeline: string; mapping: Shown }) {
  const { overview } = mapping;
  const may = useMay();
  const edits = may('mappings.edit');
  const [asked, setAsked] = useState<Edits>(NOTHING);
  const [reviewing, review] = useState<Change | null>(null);
  const [mapsTo, mapTo] = useState(false);
  const of = { pipeline, eventType: overview.event_type };
  const [address, set] = useAddress();
  const [text, type] = useSought();
  const only = address.get('only') ?? 'all';
  const { search } = useLocation();
  const total = changes(asked);
  const leaving = useBlocker(
    ({ currentLocation, nextLocation }) => total > 0 && currentLocation.pathname !== nextLocation.pathname,
  );
  const troubled = new Set(overview.warnings.map((one) => one.field));
  const needs = (field: Shown['fields'][number]) => !field.column || troubled.has(field.field);
  const shown = mapping.fields.filter(
    (one) =>
      (only === 'all' || needs(one)) &&
      `${one.field} ${one.column ?? ''}`.toLowerCase().includes(text.toLowerCase()),
  );
  const look = mapping.fields.filter(needs).length;
  return (
    <Stack gap="md">
      <Group gap="sm">
        <Button
          component={Link}
          to={mapperAt(pipeline)}
          size="compact-sm"
          variant="subtle"
          color="gray"
          leftSection={<IconArrowLeft size={16} />}
        >
          Event types
        </Button>
        <Text fw={600} size="lg">
          {overview.event_type} → <span className="mono-name">{overview.table ?? 'no table'}</span>
        </Text>
        <StatusBadge name={statusOf(overview)} />
        <div style={{ flex: 1 }} />
        {edits && (
          <Button
            size="xs"
            variant="default"
            onClick={() =>
              review(
                changing(of, `Switch auto mapping ${overview.auto_mapping ? 'off' : 'on'}?`, {
                  auto: overview.auto_mapping ? 'off' : 'on',
                }),
              )
            }
            disabled={total > 0}
          >
            Auto mapping: {overview.auto_mapping ? 'on' : 'off'}
          </Button>
        )}
        <Button
          component={Link}
          to={{ pathname: mapperAt(pipeline, overview.event_type, '/versions'), search }}
          size="xs"
          variant="default"
          leftSection={<IconHistory size={16} />}
        >
          Version {overview.version}
        </Button>
        <Actions mapping={mapping} disabled={total > 0} />
      </Group>
      <Text size="sm" c="dimmed" mt={-8}>
        {mode(mapping.load_mode)}
        {mapping.key.length > 0 && (
          <>
            {' by '}
            <span className="mono">{mapping.key.join(', ')}</span>
          </>
        )}
        {' · changed '}
        <Ago at={overview.changed_at} /> by {mapping.author ?? 'a run'}
        {mapping.reason && ` (${mapping.reason})`} · what is new: {policy(mapping.policy)}
        {mapping.waiting_rows > 0 && ` · ${some(mapping.waiting_rows, 'row')} wait on the stage`}
      </Text>
      {overview.status === 'UNMAPPED' && (
        <Alert color="orange" variant="light" icon={<IconAlertTriangle size={20} />} title="It has no table">
          <Text size="sm" c="var(--mantine-color-text)">
            Its rows wait as failed events. They are replayed by themselves once it is mapped.
          </Text>
          {edits && (
            <Group gap="xs" mt="xs">
              <Button size="compact-sm" onClick={() => mapTo(true)}>
                Map to a table
              </Button>
              {!overview.auto_mapping && (
                <Button
                  size="compact-sm"
                  variant="default"
                  onClick={() => review(changing(of, 'Map automatically?', { auto: 'on' }))}
                >
                  Map automatically
                </Button>
              )}
            </Group>
          )}
        </Alert>
      )}
      {overview.error && (
        <Alert
          color="red"
          variant="light"
          icon={<IconAlertTriangle size={20} />}
          title="The destination refused a change"
        >
          <Told text={overview.error} />
        </Alert>
      )}
      {overview.warnings
        .filter((one) => one.field === null)
        .map((one) => (
          <Alert key={one.code} color="orange" variant="light" icon={<IconAlertTriangle size={20} />}>
            <Text size="sm" fw={500} c="var(--mantine-color-text)">
              <Told text={one.message} />
            </Text>
            <Text size="sm" c="var(--mantine-color-text)">
              <Told text={one.hint} />
            </Text>
          </Alert>
        ))}
      <Group gap="xs">
        <TextInput
          size="xs"
          w={220}
          aria-label="Search fields"
          placeholder="Field or column"
          leftSection={<IconSearch size={14} />}
          value={text}
          onChange={(event) => type(event.currentTarget.value)}
        />
        <SegmentedControl
          size="xs"
          aria-label="Which fields"
          value={only}
          onChange={(value) => set({ only: value === 'all' ? null : value })}
          data={[
            { value: 'all', label: `All ${count(mapping.fields.length)}` },
            { value: 'look', label: `Need a look ${count(look)}` },
          ]}
        />
      </Group>
      <Fields
        fields={shown}
        warnings={overview.warnings}
        keys={asked.key ?? mapping.key}
        asked={asked}
        ask={edits ? setAsked : undefined}
      />
      {mapping.unasked && (
        <Text size="sm" c="dimmed">
          What the next load changes could not be asked: <Told text={mapping.unasked} />
        </Text>
      )}
      {mapping.ddl && mapping.ddl.length > 0 && (
        <div className="card" style={{ padding: 16 }}>
          <Text size="sm" fw={600} mb={6}>
            The next load of rows runs
          </Text>
          <Code block>{mapping.ddl.join(';\n')}</Code>
        </div>
      )}
      {total > 0 && (
        <Group justify="flex-end" className="sticky-foot" gap="xs">
          <Text size="sm" c="dimmed" flex={1}>
            {some(total, 'change')}, not made yet
          </Text>
          <Button variant="default" onClick={() => setAsked(NOTHING)}>
            Undo all
          </Button>
          <Button onClick={() => review(changing(of, 'Change the mapping?', asked))}>Review and apply</Button>
        </Group>
      )}
      {reviewing && (
        <Review
          pipeline={pipeline}
          change={reviewing}
          close={() => review(null)}
          done={() => setAsked(NOTHING)}
        />
      )}
      {mapsTo && (
        <MapTo
          mapping={mapping}
          close={() => mapTo(false)}
          chosen={(wanted) => {
            mapTo(false);
            review(changing(of, `Map ${overview.event_type} to ${wanted.table}?`, wanted));
          }}
        />
      )}
      {leaving.state === 'blocked' && (
        <Confirm
          title="Leave without the changes?"
          verb="Leave"
          act={async () => leaving.proceed()}
          close={() => leaving.reset?.()}
        >
          {some(total, 'change')} of this mapping {total === 1 ? 'is' : 'are'} not made yet and would be gone.
        </Confirm>
      )}
    </Stack>
  );
}
