/** The rows of a result as the series of a chart. */

/** More bars than that are no picture any more. */
export const MOST = 500;

export const isNumber = ({ type }: { type: string }): boolean =>
  /^(u?int|float|double|decimal|halffloat)/.test(type);

/** A number as it is drawn. Numbers with many digits come as texts, for no digit of them may be lost elsewhere. */
export function drawn(value: unknown): number {
  if (typeof value === 'object' && value !== null && 'rawJSON' in value) return Number(value.rawJSON);
  return value === null || value === undefined ? Number.NaN : Number(value);
}

const word = (value: unknown): string =>
  value === null || value === undefined ? 'null' : typeof value === 'string' ? value : JSON.stringify(value);

export interface Charted {
  categories: string[];
  /** One list for each column that goes up. */
  values: number[][];
  /** Rows that are not drawn. */
  left: number;
}

/** Column `x` along and columns `y` up, row by row. */
export function charted(
  names: readonly string[],
  rows: readonly (readonly unknown[])[],
  x: string,
  y: readonly string[],
): Charted {
  const shown = rows.slice(0, MOST);
  const along = names.indexOf(x);
  return {
    categories: shown.map((row) => word(row[along])),
    values: y.map((name) => {
      const at = names.indexOf(name);
      return shown.map((row) => drawn(row[at]));
    }),
    left: rows.length - shown.length,
  };
}
