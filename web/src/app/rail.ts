/** What the rail leads to, and the palette too: one line for each. */
import {
  IconActivity,
  IconAdjustments,
  IconBell,
  IconChartBar,
  IconDatabase,
  IconHeartbeat,
  IconHelp,
  IconKey,
  IconPlayerPlay,
  IconRipple,
  IconShieldLock,
  IconUrgent,
  IconUsers,
} from '@tabler/icons-react';
import type { Permission } from '~/api/session';
import { at } from './places';

export interface Entry {
  to: string;
  label: string;
  /** With G before it, this letter leads there. */
  key: string;
  icon: typeof IconBell;
  below?: boolean;
  /** Without it the entry is not shown. */
  needs?: Permission;
}

export const entries: readonly Entry[] = [
  { to: at.pipelines, key: 'p', label: 'Pipelines', icon: IconRipple },
  { to: at.jobs, key: 'j', label: 'Jobs', icon: IconPlayerPlay },
  { to: at.destinations, key: 'd', label: 'Destinations', icon: IconDatabase },
  { to: at.failed, key: 'f', label: 'Failed events', icon: IconUrgent },
  { to: at.alerts, key: 'a', label: 'Alerts', icon: IconBell },
  { to: at.activity, key: 'v', label: 'Activity', icon: IconActivity },
  { to: at.usage, key: 'u', label: 'Usage', icon: IconChartBar, needs: 'usage.view' },
  { to: at.team, key: 't', label: 'Team', icon: IconUsers, below: true },
  { to: at.keys, key: 'k', label: 'API keys', icon: IconKey, below: true },
  { to: at.security, key: 'y', label: 'Security', icon: IconShieldLock, below: true },
  { to: at.settings, key: 's', label: 'Settings', icon: IconAdjustments, below: true },
  { to: at.health, key: 'h', label: 'System health', icon: IconHeartbeat, below: true },
  { to: at.help(), key: 'e', label: 'Help', icon: IconHelp, below: true },
];
