/** What the rail leads to, and the palette too: one line for each. */
import {
  IconActivity,
  IconAdjustments,
  IconBell,
  IconChartBar,
  IconDatabase,
  IconHeartbeat,
  IconKey,
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
  icon: typeof IconBell;
  below?: boolean;
  /** Without it the entry is not shown. */
  needs?: Permission;
}

export const entries: readonly Entry[] = [
  { to: at.pipelines, label: 'Pipelines', icon: IconRipple },
  { to: at.destinations, label: 'Destinations', icon: IconDatabase },
  { to: at.failed, label: 'Failed events', icon: IconUrgent },
  { to: at.alerts, label: 'Alerts', icon: IconBell },
  { to: at.activity, label: 'Activity', icon: IconActivity },
  { to: at.usage, label: 'Usage', icon: IconChartBar, needs: 'usage.view' },
  { to: at.team, label: 'Team', icon: IconUsers, below: true },
  { to: at.keys, label: 'API keys', icon: IconKey, below: true },
  { to: at.security, label: 'Security', icon: IconShieldLock, below: true },
  { to: at.settings, label: 'Settings', icon: IconAdjustments, below: true },
  { to: at.health, label: 'System health', icon: IconHeartbeat, below: true },
];
