/** Numbers as people read them. */

const WHOLE = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** 12,481 */
export const count = (value: number): string => WHOLE.format(value);

/** 12.5K: on axes only. */
export const short = (value: number): string => SHORT.format(value);

/** "1 row", "2 rows" */
export const some = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** 1.4 MB, in powers of 1000. */
export function bytes(value: number): string {
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return unit === 0
    ? some(value, 'byte')
    : `${size < 10 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

/** 45%; a small share is never shown as nothing, and an unfinished one never as all. */
export function share(value: number): string {
  if (value <= 0) return '0%';
  if (value >= 1) return '100%';
  return `${Math.min(99, Math.max(1, Math.round(value * 100)))}%`;
}
