import { Switch } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { failed } from '~/parts/notices';
import { useReversible, useSeen } from '~/parts/reversible';

type Told = Schemas['AutoMapping'];

/** Whether tables and columns of a whole pipeline are made by themselves. */
export function AutoMapping({ pipeline, size = 'sm' }: { pipeline: string; size?: 'xs' | 'sm' }) {
  const may = useMay();
  const seen = useSeen();
  const params = { path: { pipeline } };
  const queryKey = ['mappings', pipeline, 'auto'];
  const told = useQuery({
    queryKey,
    queryFn: () => body(api.GET('/api/millrace/v1/pipelines/{pipeline}/auto-mapping', { params })),
  });
  const save = useReversible<boolean, Told>({
    ask: (on) =>
      body(api.PUT('/api/millrace/v1/pipelines/{pipeline}/auto-mapping', { params, body: { on } })),
    said: ({ on }) => `Auto mapping of ${pipeline} is ${on ? 'on' : 'off'} from the next run on`,
    seen: (on) => seen<Told>(queryKey, (kept) => ({ ...kept, on })),
    of: `auto mapping of ${pipeline}`,
    stale: ['mappings'],
  });
  return (
    <Switch
      size={size}
      label="Auto mapping"
      checked={told.data?.on ?? false}
      disabled={!told.data || !may('pipelines.edit')}
      onChange={({ currentTarget: { checked } }) =>
        save.mutate({ to: checked, from: !checked }, { onError: failed })
      }
    />
  );
}
