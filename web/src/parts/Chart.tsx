import { useComputedColorScheme } from '@mantine/core';
import { BarChart, LineChart } from 'echarts/charts';
import { AriaComponent, GridComponent, LegendComponent, TooltipComponent } from 'echarts/components';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { useEffect, useRef } from 'react';
import { count, short } from '~/words/numbers';

use([BarChart, LineChart, GridComponent, LegendComponent, TooltipComponent, AriaComponent, SVGRenderer]);

interface Series {
  name: string;
  colour: 'ingested' | 'loaded' | 'failed' | 'fourth' | 'fifth';
  values: readonly number[];
}

interface Told {
  name: string;
  values: readonly number[];
}

interface Props {
  /** What the chart says, for those who do not see it. */
  label: string;
  categories: readonly string[];
  series: readonly Series[];
  /** What is not drawn, but said of each category where somebody rests on it. */
  told?: readonly Told[];
  kind?: 'bar' | 'line';
  height?: number;
}

/**
 * Bars or lines over categories. Import it lazily: the library is large. Its tooltip is drawn, not written as HTML: the
 * policy of the pages takes no styles that come as text.
 */
export function Chart({ label, categories, series, told = [], kind = 'bar', height = 220 }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme('light');
  // Whoever shows it makes its lists anew each time; it is drawn again only when what stands in them is another.
  const shown = JSON.stringify([categories, series, told]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `shown` stands for the lists
  useEffect(() => {
    if (!place.current) return;
    const chart = init(place.current, null, { renderer: 'svg' });
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const muted = colour('--muted');
    const type = {
      fontFamily: 'Inter Variable',
      fontSize: 12,
      color: scheme === 'dark' ? '#b4bfce' : '#526077',
    };
    chart.setOption({
      animation: false,
      textStyle: type,
      color: series.map((one) => colour(`--series-${one.colour}`)),
      grid: { left: 8, right: 8, top: 36, bottom: 4, containLabel: true },
      legend: {
        data: series.map((one) => one.name),
        top: 0,
        left: 0,
        itemWidth: 10,
        itemHeight: 10,
        textStyle: type,
        icon: 'roundRect',
      },
      tooltip: {
        trigger: 'axis',
        renderMode: 'richText',
        axisPointer: { type: 'shadow' },
        backgroundColor: colour('--surface'),
        borderColor: colour('--border'),
        textStyle: type,
        valueFormatter: (value: unknown) => count(Number(value)),
      },
      xAxis: {
        type: 'category',
        data: [...categories],
        axisTick: { show: false },
        axisLine: { lineStyle: { color: colour('--border') } },
        axisLabel: { ...type, hideOverlap: true },
      },
      yAxis: {
        type: 'value',
        minInterval: 1,
        axisLabel: { ...type, formatter: (value: number) => short(value) },
        splitLine: { lineStyle: { color: colour('--border') } },
        axisPointer: { lineStyle: { color: muted } },
      },
      series: [
        ...series.map((one) => ({
          name: one.name,
          type: kind,
          data: [...one.values],
          barMaxWidth: 18,
          showSymbol: false,
          itemStyle: kind === 'bar' ? { borderRadius: [2, 2, 0, 0] } : undefined,
        })),
        ...told.map((one) => ({
          name: one.name,
          type: 'line' as const,
          data: [...one.values],
          color: 'transparent',
          symbol: 'none',
        })),
      ],
    });
    const sized = new ResizeObserver(() => chart.resize());
    sized.observe(place.current);
    return () => {
      sized.disconnect();
      chart.dispose();
    };
  }, [shown, kind, scheme]);
  return (
    <div ref={place} className="chart" role="img" aria-label={label} style={{ height, width: '100%' }} />
  );
}
