import { Button } from '@mantine/core';
import { IconPlus, IconRipple } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { PageHead } from '~/parts/PageHead';
import { StatusBadge } from '~/parts/StatusBadge';
import { count, some } from '~/words/numbers';

type Row = Schemas['PipelineStatus'];

const COLUMNS: readonly Column<Row>[] = [
  { id: 'name', header: 'Pipeline', cell: (row) => <Link to={at.pipeline(row.name)}>{row.name}</Link> },
  {
    id: 'status',
    header: 'Status',
    cell: (row) => (
      <StatusBadge name={row.state === 'ACTIVE' ? (row.last_run?.status ?? 'NEW') : row.state} />
    ),
  },
  { id: 'run', header: 'Last run', cell: (row) => <Ago at={row.last_run?.started_at} /> },
  { id: 'rows', header: 'Rows', align: 'right', cell: (row) => count(row.rows_loaded) },
  { id: 'failed', header: 'Failed', align: 'right', cell: (row) => count(row.open_rejects) },
];

/** Is my data on time, is it whole, what needs me: pipeline by pipeline. */
export function Component() {
  const navigate = useNavigate();
  const may = useMay();
  const pipelines = useQuery({
    queryKey: ['pipelines', 'status'],
    queryFn: () => body(api.GET('/api/millrace/v1/status')),
    refetchInterval: 15_000,
  });
  const create = may('pipelines.create') && (
    <Button component={Link} to={at.newPipeline} leftSection={<IconPlus size={16} />}>
      Create pipeline
    </Button>
  );
  return (
    <div className="content">
      <PageHead
        title="Pipelines"
        told={pipelines.data && some(pipelines.data.length, 'pipeline')}
        actions={create}
      />
      <div className="card">
        <DataTable
          label="Pipelines"
          columns={COLUMNS}
          rows={pipelines.data}
          id={(row) => row.name}
          error={pipelines.error}
          again={() => void pipelines.refetch()}
          open={(row) => navigate(at.pipeline(row.name))}
          empty={
            <Empty icon={IconRipple} title="No pipelines yet" action={create}>
              A pipeline brings rows from a source into tables of a destination, and keeps them up to date.
            </Empty>
          }
        />
      </div>
    </div>
  );
}
