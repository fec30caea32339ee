import type { Schemas } from '~/api/client';

export type Wanted = Schemas['Wanted'];
export type Quiet = Schemas['Quiet'];
export type Severity = Wanted['least'];
export type Category = NonNullable<Wanted['categories']>[number];

/** Each kind of alert, in the order of the API. */
export const CATEGORIES: Record<Category, { label: string; told: string }> = {
  pipeline: { label: 'Pipelines', told: 'A source or a job fails, or a pipeline is late.' },
  destination: { label: 'Destinations', told: 'A destination does not take rows.' },
  failed_events: { label: 'Failed events', told: 'A digest every three hours: what failed, and why.' },
  schema: { label: 'Schema', told: 'Columns and tables that came, changed or went.' },
  usage: { label: 'Usage', told: 'Limits, unusual days, and what was loaded yesterday.' },
  load: { label: 'Every load', told: 'Each run, whether it went well or not.' },
};
const ALL = Object.keys(CATEGORIES) as Category[];
/** What is told where nobody chose. */
const USUAL = ALL.filter((one) => one !== 'load');

/** One wish, so that taking it back leaves those that were changed since. */
export type Change =
  | { wish: 'category'; category: Category; on: boolean }
  | { wish: 'least'; least: Severity }
  | { wish: 'quiet'; quiet: Quiet | null };

export const chosen = (wanted: Wanted): readonly Category[] => wanted.categories ?? USUAL;

export function changed(wanted: Wanted, change: Change): Wanted {
  if (change.wish === 'least') return { ...wanted, least: change.least };
  if (change.wish === 'quiet') return { ...wanted, quiet: change.quiet };
  const had = chosen(wanted);
  const now = ALL.filter((one) => (one === change.category ? change.on : had.includes(one)));
  const usual = now.length === USUAL.length && !now.includes('load');
  return { ...wanted, categories: usual ? null : now };
}

/** What takes a change of these wishes back. */
export function opposite(wanted: Wanted, change: Change): Change {
  if (change.wish === 'least') return { ...change, least: wanted.least };
  if (change.wish === 'quiet') return { ...change, quiet: wanted.quiet };
  return { ...change, on: chosen(wanted).includes(change.category) };
}
