import { Group, Text, Tooltip } from '@mantine/core';
import { IconArrowUp } from '@tabler/icons-react';
import { Link } from 'react-router';
import type { Schemas } from '~/api/client';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import type { Column } from '~/parts/DataTable';
import { Next } from '~/parts/Next';
import { Sparkline } from '~/parts/Sparkline';
import { StatusBadge } from '~/parts/StatusBadge';
import { count, some } from '~/words/numbers';
import { told } from '~/words/schedules';
import { duration } from '~/words/times';

type Row = Schemas['Glance'];

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

/** `title`: what a type of source is called. */
export const columns = (title: (type: string) => string): Column<Row>[] => [
  {
    id: 'name',
    header: 'Pipeline',
    cell: (row) => (
      <div style={{ minWidth: 0 }}>
        <Group gap={4} wrap="nowrap">
          <Link to={at.pipeline(row.name)} className="strong">
            {row.name}
          </Link>
          {row.priority === 'HIGH' && (
            <Tooltip label="High priority: it goes before others">
              <IconArrowUp
                size={14}
                color="var(--failed)"
                style={{ flex: 'none' }}
                aria-label="High priority"
              />
            </Tooltip>
          )}
        </Group>
        <Text size="xs" c="dimmed">
          #{row.number} · {title(row.source_type)} → {row.destination}
        </Text>
      </div>
    ),
  },
  {
    id: 'health',
    header: 'Status',
    width: 150,
    cell: (row) => <StatusBadge name={row.health} />,
  },
  {
    id: 'run',
    header: 'Last run',
    width: 190,
    hide: 'phone',
    cell: (row) => (
      <div>
        <Ago at={row.last_at} />
        <Text size="xs" c="dimmed">
          {told(row.schedule)}
          <Next at={row.next_at} />
        </Text>
      </div>
    ),
  },
  {
    id: 'rows',
    header: 'Rows',
    align: 'right',
    width: 110,
    hide: 'phone',
    cell: (row) => (row.last_rows > 0 ? `+${count(row.last_rows)}` : '0'),
  },
  {
    id: 'latency',
    header: 'Latency',
    align: 'right',
    width: 90,
    hide: 'tablet',
    cell: (row) => (row.latency_ms === null ? '–' : duration(row.latency_ms)),
  },
  {
    id: 'failed',
    header: 'Failed',
    align: 'right',
    width: 90,
    hide: 'phone',
    cell: (row) =>
      row.open_rejects > 0 ? (
        <Link to={`${at.failed}?pipeline=${encodeURIComponent(row.name)}`} className="failed">
          {count(row.open_rejects)}
        </Link>
      ) : (
        <Text span c="dimmed" inherit>
          0
        </Text>
      ),
  },
  {
    id: 'recent',
    header: 'Last 24 h',
    width: 100,
    hide: 'tablet',
    cell: (row) => (
      <Sparkline
        values={row.recent}
        label={`${some(total(row.recent), 'row')} loaded in the last 24 hours`}
      />
    ),
  },
];
