import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { failed } from '~/parts/notices';
import { useReversible, useSeen } from '~/parts/reversible';
import { statusQuery } from './here';

type Status = Schemas['PipelineStatus'];

/** What can be done with a pipeline from anywhere. What was paused or resumed by mistake is taken back with one click. */
export function useActions(pipeline: string) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const seen = useSeen();
  const params = { path: { pipeline } };
  const state = useReversible<Status['state'], unknown>({
    ask: (to) =>
      body(
        to === 'PAUSED'
          ? api.POST('/api/millrace/v1/pipelines/{pipeline}/pause', { params })
          : api.POST('/api/millrace/v1/pipelines/{pipeline}/resume', { params }),
      ),
    said: (_, to) => (to === 'PAUSED' ? `${pipeline} is paused` : `${pipeline} runs by its schedule again`),
    seen: (to) => seen<Status>(statusQuery(pipeline).queryKey, (kept) => ({ ...kept, state: to })),
    stale: ['pipelines', 'jobs'],
  });
  const run = useMutation({
    mutationFn: (kind: 'run' | 'load') =>
      body(api.POST('/api/millrace/v1/pipelines/{pipeline}/jobs', { params, body: { kind } })),
    onSuccess: (job) => navigate(at.job(pipeline, job.run.id)),
    onError: failed,
    onSettled: () =>
      Promise.all(['pipelines', 'jobs'].map((noun) => client.invalidateQueries({ queryKey: [noun] }))),
  });
  return { run, state };
}
