import { useMemo } from 'react';
import { qr } from './qr';

// Readers need that much white around it.
const QUIET = 4;

/** A text to be read by the camera of a phone; nothing where it is too long for that. */
export function Qr({ text, label, width = 200 }: { text: string; label: string; width?: number }) {
  const modules = useMemo(() => qr(text), [text]);
  if (!modules) return null;
  const size = modules.length + 2 * QUIET;
  const dark = modules.flatMap((row, y) =>
    row.flatMap((on, x) => (on ? [`M${x + QUIET} ${y + QUIET}h1v1h-1z`] : [])),
  );
  return (
    <svg
      width={width}
      height={width}
      viewBox={`0 0 ${size} ${size}`}
      shapeRendering="crispEdges"
      role="img"
      aria-label={label}
    >
      <rect width={size} height={size} fill="#fff" />
      <path d={dark.join('')} fill="#000" />
    </svg>
  );
}
