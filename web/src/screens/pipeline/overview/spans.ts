export type Span = '24h' | '7d' | '30d';

export const SPANS = [
  { span: '24h', label: '24 h', by: 'hour', hours: 24 },
  { span: '7d', label: '7 days', by: 'day', hours: 7 * 24 },
  { span: '30d', label: '30 days', by: 'day', hours: 30 * 24 },
] as const;

const HOUR_MS = 3_600_000;

/** Where the span began: the start of an hour, or of a day, in UTC. */
export function since(span: Span, now: Date): Date {
  const { hours, by } = SPANS.find((one) => one.span === span) ?? SPANS[1];
  const unit = by === 'day' ? 24 * HOUR_MS : HOUR_MS;
  return new Date(Math.floor((now.getTime() - (hours - (by === 'day' ? 24 : 1)) * HOUR_MS) / unit) * unit);
}

/** Each hour or day of the span, with what was counted in it, or nothing. */
export function filled<T extends { at: string }>(
  lines: readonly T[],
  by: 'hour' | 'day',
  from: Date,
  now: Date,
) {
  const step = by === 'day' ? 24 * HOUR_MS : HOUR_MS;
  const known = new Map(lines.map((line) => [new Date(line.at).getTime(), line]));
  const found: { at: Date; line: T | null }[] = [];
  for (let moment = from.getTime(); moment <= now.getTime(); moment += step) {
    found.push({ at: new Date(moment), line: known.get(moment) ?? null });
  }
  return found;
}
