import type { Schemas } from '~/api/client';
import { useZone } from '~/parts/Ago';
import { Chart } from '~/parts/Chart';
import { count } from '~/words/numbers';
import { brief, day } from '~/words/times';
import { filled } from './spans';

interface Props {
  lines: readonly Schemas['Moved'][];
  by: 'hour' | 'day';
  from: Date;
}

/** Rows ingested, loaded and failed, hour by hour or day by day. */
export default function ActivityChart({ lines, by, from }: Props) {
  const zone = useZone();
  const bars = filled(lines, by, from, new Date());
  const ingested = bars.map(({ line }) => line?.ingested ?? 0);
  const loaded = bars.map(({ line }) => line?.loaded ?? 0);
  const failed = bars.map(({ line }) => line?.failed ?? 0);
  const billable = bars.map(({ line }) => line?.billable ?? 0);
  const historical = bars.map(({ line }) => line?.historical ?? 0);
  const sum = (values: number[]) => count(values.reduce((all, one) => all + one, 0));
  return (
    <Chart
      label={`Rows by ${by}: ${sum(ingested)} ingested, ${sum(loaded)} loaded, ${sum(failed)} failed; of those loaded ${sum(historical)} of history, ${sum(billable)} billable elsewhere`}
      categories={bars.map(({ at }) => (by === 'day' ? day(at, 'UTC').slice(0, -5) : brief(at, zone)))}
      series={[
        { name: 'Ingested', colour: 'ingested', values: ingested },
        { name: 'Loaded', colour: 'loaded', values: loaded },
        { name: 'Failed', colour: 'failed', values: failed },
      ]}
      told={[
        { name: 'Of history', values: historical },
        { name: 'Billable elsewhere', values: billable },
      ]}
    />
  );
}
