import {
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconCircleXFilled,
  IconLoader2,
  IconPlayerPauseFilled,
} from '@tabler/icons-react';
import { type Status, status, type Tone } from '~/words/statuses';

const ICONS = {
  well: IconCircleCheckFilled,
  look: IconAlertTriangleFilled,
  failed: IconCircleXFilled,
  working: IconLoader2,
  quiet: IconPlayerPauseFilled,
} satisfies Record<Tone, unknown>;

/** The icon of a tone alone, for where the word stands beside it already. */
export function ToneIcon({ tone, size = 16 }: { tone: Tone; size?: number }) {
  const Picture = tone === 'quiet' ? QuietDot : ICONS[tone];
  return <Picture size={size} color={`var(--${tone})`} style={{ flex: 'none' }} aria-hidden />;
}

function QuietDot({ size, color }: { size: number; color: string }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden style={{ flex: 'none' }}>
      <circle cx="8" cy="8" r="5" fill="none" stroke={color} strokeWidth="2" />
    </svg>
  );
}

/** Icon and word of a status of the API. */
export function StatusBadge({ name, as }: { name: string; as?: Status }) {
  const { tone, word } = as ?? status(name);
  return (
    <span className="status" data-tone={tone}>
      <ToneIcon tone={tone} />
      <span>{word}</span>
    </span>
  );
}
