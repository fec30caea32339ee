import { Button } from '@mantine/core';
import { IconSettings } from '@tabler/icons-react';
import { Link, Outlet, useLocation } from 'react-router';
import { at } from '~/app/places';
import { PageHead } from '~/parts/PageHead';

const TABS = [
  { to: at.alerts, label: 'Alerts' },
  { to: at.told(), label: 'What I am told' },
  { to: at.deliveries(), label: 'Deliveries' },
];

/** What people are told: the alerts, who hears of which, and what was sent. */
export function Component() {
  const { pathname } = useLocation();
  // Channels open beside the list.
  const current = TABS.find(({ to }) => to !== at.alerts && pathname.startsWith(to))?.to ?? at.alerts;
  return (
    <div className="content">
      <PageHead
        title="Alerts"
        told="What is wrong now, and what was; who is told, and whether that arrived."
        actions={
          <Button
            component={Link}
            to={at.channels}
            variant="default"
            leftSection={<IconSettings size={16} />}
          >
            Channels
          </Button>
        }
      />
      <nav className="tabs" aria-label="Screens of alerts">
        {TABS.map(({ to, label }) => (
          <Link key={to} to={to} aria-current={to === current ? 'page' : undefined}>
            {label}
          </Link>
        ))}
      </nav>
      <div style={{ paddingTop: 20 }}>
        <Outlet />
      </div>
    </div>
  );
}
