import { Button } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { PageHead } from '~/parts/PageHead';
import { ActivityList } from './ActivityList';

const FORMATS = [
  ['csv', 'As CSV'],
  ['jsonl', 'As JSON'],
] as const;

/** Who did what, and when: all of the team. */
export function Component() {
  return (
    <div className="content">
      <PageHead
        title="Activity"
        told="Who changed what. These lines are never changed themselves."
        actions={FORMATS.map(([format, label]) => (
          <Button
            key={format}
            component="a"
            href={`/api/millrace/v1/activity/export?format=${format}`}
            download={`activity.${format}`}
            variant="default"
            leftSection={<IconDownload size={16} />}
          >
            {label}
          </Button>
        ))}
      />
      <ActivityList />
    </div>
  );
}
