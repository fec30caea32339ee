import { Group, Text, Tooltip, VisuallyHidden } from '@mantine/core';
import { useLocalStorage } from '@mantine/hooks';
import { IconLayoutSidebarLeftCollapse, IconLayoutSidebarLeftExpand } from '@tabler/icons-react';
import type { ReactElement, ReactNode } from 'react';
import { Link, NavLink } from 'react-router';
import { useMay } from '~/api/session';
import { count, short } from '~/words/numbers';
import { type Entry, entries } from '../rail';
import { useOpenAlerts } from './alerts';
import { useFailedRows } from './failed';

/** The way to all screens. It can be made narrow, which this browser remembers. */
export function Rail() {
  const [narrow, setNarrow] = useLocalStorage({ key: 'millrace-rail-narrow', defaultValue: false });
  return (
    <nav className="rail" data-narrow={narrow || undefined} aria-label="Main">
      <Link to="/" aria-label="Millrace, to the pipelines" style={{ marginBottom: 8 }}>
        <img src="/mark.svg" alt="" width={24} height={24} style={{ flex: 'none', marginLeft: -2 }} />
        {!narrow && (
          <Text fw={700} size="lg">
            Millrace
          </Text>
        )}
      </Link>
      <Entries narrow={narrow} />
      <button type="button" className="entry" onClick={() => setNarrow(!narrow)} aria-expanded={!narrow}>
        {narrow ? <IconLayoutSidebarLeftExpand size={20} /> : <IconLayoutSidebarLeftCollapse size={20} />}
        {narrow ? <VisuallyHidden>Make wide</VisuallyHidden> : <span>Make narrow</span>}
      </button>
    </nav>
  );
}

/** The entries in both their groups, as the phone's drawer shows them too. */
export function Entries({ narrow = false, chosen }: { narrow?: boolean; chosen?: () => void }) {
  const may = useMay();
  const failed = useFailedRows();
  const alerts = useOpenAlerts();
  const shown = entries.filter((one) => !one.needs || may(one.needs));
  const line = (one: Entry) => (
    <Hint key={one.to} label={narrow ? one.label : null}>
      <NavLink to={one.to} onClick={chosen} aria-label={narrow ? one.label : undefined}>
        <one.icon size={20} stroke={1.75} aria-hidden />
        {!narrow && (
          <Group justify="space-between" flex={1} wrap="nowrap">
            <span>{one.label}</span>
            {one.label === 'Failed events' && failed > 0 && (
              <span className="badge">
                {failed > 9999 ? short(failed) : count(failed)}
                <VisuallyHidden> wait for a cure</VisuallyHidden>
              </span>
            )}
            {one.label === 'Alerts' && alerts && (
              <span className="badge">
                {alerts}
                <VisuallyHidden> open</VisuallyHidden>
              </span>
            )}
          </Group>
        )}
      </NavLink>
    </Hint>
  );
  return (
    <>
      {shown.filter((one) => !one.below).map(line)}
      <div style={{ flex: 1 }} />
      {shown.filter((one) => one.below).map(line)}
    </>
  );
}

function Hint({ label, children }: { label: string | null; children: ReactNode }) {
  return label ? (
    <Tooltip label={label} position="right">
      {children as ReactElement}
    </Tooltip>
  ) : (
    children
  );
}
