import { Button } from '@mantine/core';
import { IconDatabase, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useTitle } from '~/parts/connectors';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { PageHead } from '~/parts/PageHead';
import { Waiting } from '~/parts/Waiting';
import { count, some } from '~/words/numbers';

type Saved = Schemas['Saved'];

/** So many pipelines are named in a row. */
const NAMED = 3;

/** `title`: what a type is called. */
const columns = (title: (type: string) => string): Column<Saved>[] => [
  {
    id: 'name',
    header: 'Destination',
    cell: (one) => (
      <Link to={at.destination(one.name)} className="plain">
        {one.name}
      </Link>
    ),
  },
  { id: 'type', header: 'Type', cell: (one) => title(one.type) },
  { id: 'loaded', header: 'Last load', cell: (one) => <Ago at={one.last_loaded_at} /> },
  { id: 'waiting', header: 'Waiting', align: 'right', cell: (one) => <Waiting rows={one.waiting_rows} /> },
  {
    id: 'pipelines',
    header: 'Pipelines',
    hide: 'phone',
    cell: (one) => {
      const more = one.pipelines.length - NAMED;
      const named = one.pipelines.slice(0, NAMED).join(', ');
      return named ? `${named}${more > 0 ? ` and ${count(more)} more` : ''}` : 'none';
    },
  },
];

/** Where rows go. */
export function Component() {
  const navigate = useNavigate();
  const may = useMay();
  const title = useTitle('destination');
  const destinations = useQuery({
    queryKey: ['destinations'],
    queryFn: () => body(api.GET('/api/millrace/v1/destinations')),
  });
  const make = may('destinations.create') && (
    <Button component={Link} to={at.newDestination} leftSection={<IconPlus size={16} />}>
      New destination
    </Button>
  );
  return (
    <div className="content">
      <PageHead
        title="Destinations"
        told={destinations.data && some(destinations.data.length, 'destination')}
        actions={make}
      />
      <div className="card">
        <DataTable
          label="Destinations"
          columns={columns(title)}
          rows={destinations.data}
          id={(one) => one.name}
          error={destinations.error}
          again={() => void destinations.refetch()}
          open={(one) => navigate(at.destination(one.name))}
          empty={
            <Empty icon={IconDatabase} title="No destinations yet" action={make}>
              A destination is the warehouse, database or folder that pipelines load into. Make one here, or
              with the first pipeline.
            </Empty>
          }
        />
      </div>
    </div>
  );
}
