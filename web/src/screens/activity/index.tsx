import { Button } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { PageHead } from '~/parts/PageHead';
import { ActivityList } from './ActivityList';

/** Who did what, and when: all of the team. */
export function Component() {
  return (
    <div className="content">
      <PageHead
        title="Activity"
        told="Who changed what. These lines are never changed themselves."
        actions={
          <Button
            component="a"
            href="/api/millrace/v1/activity/export?format=csv"
            download="activity.csv"
            variant="default"
            leftSection={<IconDownload size={16} />}
          >
            As CSV
          </Button>
        }
      />
      <ActivityList />
    </div>
  );
}
