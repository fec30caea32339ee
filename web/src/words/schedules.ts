const ONE: Record<number, string> = { 60: 'minute', 3600: 'hour', 86400: 'day' };

/** "every 6h" → "every 6 h", "every 1h" → "every hour" */
function spelled(text: string): string {
  return text
    .replace(/^every 1m$/, 'every minute')
    .replace(/^every 1h$/, 'every hour')
    .replace(/^every (24h|1d)$/, 'every day')
    .replace(/^(every \d+)m$/, '$1 min')
    .replace(/^(every \d+)([hs])$/, '$1 $2');
}

/** "every 6 h", "daily at 04:30 UTC": a schedule as the API keeps it. */
export function told(schedule: unknown): string {
  if (typeof schedule === 'string') return spelled(schedule) || 'on demand';
  if (!schedule || typeof schedule !== 'object') return 'on demand';
  const { every_s, cron, timezone, at } = schedule as {
    every_s?: number;
    cron?: string;
    timezone?: string;
    at?: string;
  };
  if (cron) return `cron ${cron} (${timezone ?? 'UTC'})`;
  if (!every_s) return 'on demand';
  if (at) return `daily at ${at} UTC`;
  if (ONE[every_s]) return `every ${ONE[every_s]}`;
  for (const [unit, length] of [
    ['days', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const) {
    if (every_s % length === 0) return `every ${every_s / length} ${unit}`;
  }
  return `every ${every_s} s`;
}
