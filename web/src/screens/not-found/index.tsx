import { Button } from '@mantine/core';
import { IconMapOff } from '@tabler/icons-react';
import { Link } from 'react-router';
import { at } from '~/app/places';
import { Empty } from '~/parts/Empty';

export function Component() {
  return (
    <Empty
      icon={IconMapOff}
      title="There is nothing at this address"
      action={
        <Button component={Link} to={at.pipelines}>
          To the pipelines
        </Button>
      }
    >
      It may have been deleted or renamed.
    </Empty>
  );
}
