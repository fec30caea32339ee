import { useQuery } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';

export interface Table {
  table: string;
  pipeline: string;
  stream: string;
  rows: number;
  waiting: number;
  loadedAt: string | null;
}

/** The tables that pipelines load into at a destination, with how fresh they are. */
export function useTables(destination: string) {
  return useQuery({
    queryKey: ['pipelines', 'status'],
    queryFn: () => body(api.GET('/api/millrace/v1/status')),
    refetchInterval: 30_000,
    select: (all): Table[] => all.filter((one) => one.destination === destination).flatMap(tablesOf),
  });
}

function tablesOf(pipeline: Schemas['PipelineStatus']): Table[] {
  return pipeline.streams
    .flatMap((stream) => stream.tables)
    .filter((one) => !one.fresh)
    .map((one) => ({
      table: one.table,
      pipeline: pipeline.name,
      stream: one.stream,
      rows: one.rows_loaded,
      waiting: one.waiting_rows,
      loadedAt: one.last_loaded_at,
    }));
}
