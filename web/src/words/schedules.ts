/** "every 6 h", "daily at 04:30 UTC": a schedule as the API keeps it. */
export function told(schedule: unknown): string {
  if (typeof schedule === 'string')
    return (
      schedule.replace(/^(every \d+)m$/, '$1 min').replace(/^(every \d+)([hs])$/, '$1 $2') || 'on demand'
    );
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
  if (every_s === 86_400) return 'every day';
  for (const [unit, length] of [
    ['days', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const) {
    if (every_s % length === 0) return `every ${every_s / length} ${unit}`;
  }
  return `every ${every_s} s`;
}
