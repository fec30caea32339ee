import type { Schemas } from '~/api/client';
import { Chart } from '~/parts/Chart';
import { day } from '~/words/times';
import type { Month } from './months';

const DAY_MS = 86_400_000;

/** Rows by day of the month, as far as it has come, those without any too, the oldest first. */
export default function DayChart({ lines, month }: { lines: readonly Schemas['UsageLine'][]; month: Month }) {
  const known = new Map(lines.map((line) => [new Date(line.at ?? 0).getTime(), line]));
  const days: { at: Date; line?: Schemas['UsageLine'] | undefined }[] = [];
  for (let at = month.since.getTime(); at < Math.min(month.until.getTime(), Date.now()); at += DAY_MS)
    days.push({ at: new Date(at), line: known.get(at) });
  return (
    <Chart
      label="Rows ingested and loaded, day by day"
      categories={days.map(({ at }) => day(at, 'UTC').slice(0, -5))}
      series={[
        { name: 'Ingested', colour: 'ingested', values: days.map(({ line }) => line?.ingested ?? 0) },
        { name: 'Loaded', colour: 'loaded', values: days.map(({ line }) => line?.loaded ?? 0) },
      ]}
      told={[
        { name: 'Of history', values: days.map(({ line }) => line?.historical ?? 0) },
        { name: 'Billable elsewhere', values: days.map(({ line }) => line?.billable ?? 0) },
      ]}
    />
  );
}
