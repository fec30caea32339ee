import { Button, Group, Menu, Select, Text, TextInput } from '@mantine/core';
import {
  IconAlertTriangle,
  IconChevronDown,
  IconFileCode,
  IconSearch,
  IconTableOptions,
} from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { Ago } from '~/parts/Ago';
import { useAddress, useSought } from '~/parts/address';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { paged } from '~/parts/paged';
import { StatusBadge } from '~/parts/StatusBadge';
import { Told } from '~/parts/Told';
import { Yaml } from '~/parts/Yaml';
import { count, some } from '~/words/numbers';
import { AutoMapping } from '../pipeline/AutoMapping';
import { BULK, type Bulk, bulk } from './asking';
import { mapperAt, type Overview, statusOf } from './questions';
import { Review } from './Review';

const PAGE = 100;

/** Where every event type of a pipeline goes. */
export function Component() {
  const pipeline = useParams().pipeline ?? '';
  const navigate = useNavigate();
  const may = useMay();
  const [asked, set] = useAddress();
  const [text, type, wanted] = useSought();
  const status = asked.get('status');
  const [selected, select] = useState<Record<string, true>>({});
  const [asking, ask] = useState<Bulk | 'yaml' | null>(null);
  const list = useInfiniteQuery({
    queryKey: ['mappings', pipeline, 'list', wanted, status],
    initialPageParam: null as string | null,
    getNextPageParam: (page: Schemas['PageOverview']) => page.next,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/pipelines/{pipeline}/mappings', {
          params: {
            path: { pipeline },
            query: { search: wanted || null, status, after: pageParam, limit: PAGE },
          },
        }),
      ),
  });
  const chosen = Object.keys(selected).length;
  const columns: Column<Overview>[] = [
    {
      id: 'type',
      header: 'Event type',
      cell: (one) => (
        <Link to={mapperAt(pipeline, one.event_type)} className="plain">
          {one.event_type}
        </Link>
      ),
    },
    { id: 'table', header: 'Table', cell: (one) => <span className="mono">{one.table ?? 'none'}</span> },
    { id: 'status', header: 'Status', cell: (one) => <StatusBadge name={statusOf(one)} /> },
    {
      id: 'warnings',
      header: 'Warnings',
      hide: 'phone',
      cell: (one) =>
        one.warnings.length > 0 || one.error ? (
          <Group gap={6} wrap="nowrap" c="var(--look)">
            <IconAlertTriangle size={16} aria-hidden style={{ flex: 'none' }} />
            <Text size="sm" lineClamp={1}>
              <Told text={one.error ?? one.warnings[0]?.message ?? ''} />
              {one.warnings.length > 1 && ` and ${count(one.warnings.length - 1)} more`}
            </Text>
          </Group>
        ) : null,
    },
    { id: 'fields', header: 'Fields', align: 'right', cell: (one) => count(one.fields), hide: 'phone' },
    { id: 'changed', header: 'Changed', cell: (one) => <Ago at={one.changed_at} />, hide: 'tablet' },
  ];
  return (
    <>
      <Group mb="sm" gap="xs">
        <TextInput
          size="xs"
          w={240}
          aria-label="Search event types"
          placeholder="Event type or table"
          leftSection={<IconSearch size={14} />}
          value={text}
          onChange={(event) => type(event.currentTarget.value)}
        />
        <Select
          size="xs"
          w={190}
          aria-label="Status"
          placeholder="Every status"
          clearable
          value={status}
          onChange={(value) => set({ status: value })}
          data={[
            { value: 'LOOK', label: 'Needs a look' },
            { value: 'MAPPED', label: 'Mapped' },
            { value: 'INCOMPLETE', label: 'Mapped in part' },
            { value: 'UNMAPPED', label: 'Not mapped' },
            { value: 'IGNORED', label: 'Left out' },
            { value: 'MAPPING_IN_PROGRESS', label: 'Being mapped' },
          ]}
        />
        <div style={{ flex: 1 }} />
        <AutoMapping pipeline={pipeline} size="xs" />
        {chosen > 0 && (
          <Menu>
            <Menu.Target>
              <Button size="xs" variant="default" rightSection={<IconChevronDown size={14} />}>
                {count(chosen)} chosen
              </Button>
            </Menu.Target>
            <Menu.Dropdown>
              {(Object.keys(BULK) as Bulk[]).map((what) => (
                <Menu.Item
                  key={what}
                  onClick={() => ask(what)}
                  color={BULK[what].harmful ? 'red' : undefined}
                >
                  {BULK[what].label}
                </Menu.Item>
              ))}
            </Menu.Dropdown>
          </Menu>
        )}
        {list.data && (
          <Button
            size="xs"
            variant="default"
            leftSection={<IconFileCode size={14} />}
            onClick={() => ask('yaml')}
          >
            As YAML
          </Button>
        )}
      </Group>
      <div className="card">
        <DataTable
          label="Event types"
          columns={columns}
          {...paged(list)}
          id={(one) => one.event_type}
          open={(one) => navigate(mapperAt(pipeline, one.event_type))}
          selected={may('mappings.edit') ? selected : undefined}
          select={may('mappings.edit') ? select : undefined}
          rowHeight={41}
          empty={
            wanted || status ? (
              <Empty icon={IconTableOptions} title="No event type is like that" />
            ) : (
              <Empty icon={IconTableOptions} title="Nothing to map yet">
                With the first rows, each event type comes here with its table and its columns.
              </Empty>
            )
          }
        />
      </div>
      {asking === 'yaml' && (
        <Yaml
          title={chosen ? `${some(chosen, 'mapping')} as YAML` : `All mappings of ${pipeline} as YAML`}
          pipelines={[pipeline]}
          mappings={Object.keys(selected)}
          close={() => ask(null)}
        />
      )}
      {asking && asking !== 'yaml' && (
        <Review
          pipeline={pipeline}
          change={bulk(
            pipeline,
            asking,
            Object.keys(selected),
            `${BULK[asking].label}: ${some(chosen, 'event type')}?`,
          )}
          close={() => ask(null)}
          done={() => select({})}
        />
      )}
    </>
  );
}
