import type { Schemas } from '~/api/client';
import { Chart } from '~/parts/Chart';
import { day } from '~/words/times';

/** Rows by day, the oldest first. */
export default function DayChart({ lines }: { lines: readonly Schemas['UsageLine'][] }) {
  const days = [...lines].reverse();
  return (
    <Chart
      label="Rows ingested and loaded, day by day"
      categories={days.map((line) => day(new Date(line.at ?? 0), 'UTC').slice(0, -5))}
      series={[
        { name: 'Ingested', colour: 'ingested', values: days.map((line) => line.ingested) },
        { name: 'Loaded', colour: 'loaded', values: days.map((line) => line.loaded) },
      ]}
    />
  );
}
