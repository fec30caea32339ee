/** What the time of a job went into. */
import type { Schemas } from '~/api/client';

export interface Stage {
  name: 'waited' | 'read' | 'loaded';
  ms: number;
  /** Whether it is the one at work. */
  going: boolean;
}

/** The stages of a job in their order, up to `now`. Rows are loaded while others are read: the last stage is the rest. */
export function stagesOf(job: Schemas['Job'], now: Date): Stage[] {
  const { requested_at, began_at, ingested_at, run } = job;
  // What only loads reads nothing.
  const work = run.kind === 'LOAD' ? 'loaded' : 'read';
  const spans: [Stage['name'], string | null, string | null][] = [
    ['waited', requested_at, began_at ?? run.ended_at],
    [work, began_at, ingested_at ?? run.ended_at],
    ['loaded', ingested_at, run.ended_at],
  ];
  return spans.flatMap(([name, from, to]) => {
    if (from === null) return [];
    const ms = Math.max(0, (to === null ? now : new Date(to)).getTime() - new Date(from).getTime());
    return [{ name, ms, going: to === null }];
  });
}
