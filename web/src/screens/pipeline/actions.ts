import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { done, failed } from '~/parts/notices';

/** What can be done with a pipeline from anywhere. What was paused or resumed by mistake is taken back with one click. */
export function useActions(pipeline: string) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const params = { path: { pipeline } };
  const fresh = () =>
    Promise.all(['pipelines', 'jobs'].map((noun) => client.invalidateQueries({ queryKey: [noun] })));
  const resume = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/pipelines/{pipeline}/resume', { params })),
    onSuccess: () => done(`${pipeline} runs by its schedule again`, () => pause.mutate()),
    onError: failed,
    onSettled: fresh,
  });
  const pause = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/pipelines/{pipeline}/pause', { params })),
    onSuccess: () => done(`${pipeline} is paused`, () => resume.mutate()),
    onError: failed,
    onSettled: fresh,
  });
  const run = useMutation({
    mutationFn: (kind: 'run' | 'load') =>
      body(api.POST('/api/millrace/v1/pipelines/{pipeline}/jobs', { params, body: { kind } })),
    onSuccess: (job) => navigate(at.job(pipeline, job.run.id)),
    onError: failed,
    onSettled: fresh,
  });
  return { run, pause, resume };
}
