/** Moments and durations as people read them: in the zone of the user, with UTC where it counts. */

const UNITS: readonly (readonly [string, number])[] = [
  ['day', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
];

/** "4 min": how long, in its largest unit that has passed. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1).replace('.0', '')} s`;
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ['s', 1];
  const whole = Math.floor(seconds / length);
  return `${whole} ${unit === 'day' && whole > 1 ? 'days' : unit}`;
}

/** "4 min ago", "in 2 h", "now". */
export function relative(moment: Date, now: Date): string {
  const ms = now.getTime() - moment.getTime();
  if (Math.abs(ms) < 5000) return 'now';
  const long = Math.floor(Math.abs(ms) / 1000) * 1000;
  if (long > 30 * 86_400_000) return day(moment);
  return ms > 0 ? `${duration(long)} ago` : `in ${duration(long)}`;
}

/** 28 Nov 2026 */
export const day = (moment: Date, timeZone?: string): string =>
  new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone }).format(
    moment,
  );

/** 28 Nov 2026, 18:42:10 */
export const exact = (moment: Date, timeZone?: string): string =>
  new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium', timeZone }).format(moment);

/** 28 Nov, 18:42 */
export const brief = (moment: Date, timeZone?: string): string =>
  new Intl.DateTimeFormat('en-GB', {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    timeZone,
  }).format(moment);
