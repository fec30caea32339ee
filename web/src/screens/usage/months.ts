/** Months, UTC, as an address names them: 2026-11. */

export interface Month {
  name: string;
  since: Date;
  /** Where the next one begins. */
  until: Date;
}

/** The month of that name; the one of `now` where it is none, or has not begun. */
export function monthOf(name: string | null, now: Date): Month {
  const [year = 0, month = 0] = /^\d{4}-(0[1-9]|1[0-2])$/.test(name ?? '')
    ? (name ?? '').split('-').map(Number)
    : [];
  const asked = Date.UTC(year, month - 1);
  const since =
    year > 0 && asked <= now.getTime()
      ? new Date(asked)
      : new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth()));
  return {
    name: since.toISOString().slice(0, 7),
    since,
    until: new Date(Date.UTC(since.getUTCFullYear(), since.getUTCMonth() + 1)),
  };
}

/** Those that can be chosen, the present one first: two years, and the one that is shown. */
export function offered(shown: Month, now: Date): string[] {
  const last = Array.from({ length: 24 }, (_, back) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back)).toISOString().slice(0, 7),
  );
  return last.includes(shown.name) ? last : [...last, shown.name];
}

/** November 2026 */
export const told = (name: string): string =>
  new Date(`${name}-01T00:00:00Z`).toLocaleDateString('en', {
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC',
  });
