interface Props {
  values: readonly number[];
  /** What the line shows, for those who do not see it. */
  label: string;
  width?: number;
  height?: number;
}

/** Bars without axes: the shape of the last days. */
export function Sparkline({ values, label, width = 72, height = 20 }: Props) {
  const most = Math.max(1, ...values);
  const step = width / Math.max(1, values.length);
  return (
    <svg width={width} height={height} role="img" aria-label={label} style={{ display: 'block' }}>
      {values.map((value, index) => {
        const tall = value > 0 ? Math.max(2, (value / most) * height) : 1;
        return (
          <rect
            key={index}
            x={index * step}
            y={height - tall}
            width={Math.max(1, step - 1.5)}
            height={tall}
            rx={1}
            fill={value > 0 ? 'var(--series-loaded)' : 'var(--border)'}
          />
        );
      })}
    </svg>
  );
}
