/** JSON with numbers as they are written: large integers and decimals have more digits than JavaScript's numbers keep. */

interface Source {
  source?: string;
}
type WithRaw = typeof JSON & { rawJSON?: (text: string) => unknown };

/** The value of a text. Numbers that would change are kept as their text, and written so again. */
export function exactly<T>(text: string): T {
  const raw = (JSON as WithRaw).rawJSON;
  return JSON.parse(text, ((_: string, value: unknown, context?: Source) =>
    typeof value === 'number' && raw && context?.source && String(value) !== context.source
      ? raw(context.source)
      : value) as (key: string, value: unknown) => unknown) as T;
}
