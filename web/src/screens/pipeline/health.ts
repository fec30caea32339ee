import type { Schemas } from '~/api/client';

/** How a pipeline is, in one word of `words/statuses`. */
export function health(pipeline: Schemas['PipelineStatus']): string {
  if (pipeline.state !== 'ACTIVE') return pipeline.state;
  if (pipeline.running) return 'WORKING';
  const last = pipeline.last_run?.status;
  if (last === undefined) return 'NEW';
  if (last === 'QUEUED' || last === 'IN_PROGRESS' || last === 'CANCELLING') return 'WORKING';
  if (last === 'FAILED') return 'FAILING';
  const partly = pipeline.open_rejects > 0 || pipeline.failed_files > 0 || last.endsWith('WITH_FAILURES');
  return partly ? 'LOOK' : 'WELL';
}
