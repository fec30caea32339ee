import { ActionIcon, Menu } from '@mantine/core';
import { IconDots } from '@tabler/icons-react';
import { Link } from 'react-router';
import { at } from '~/app/places';
import { CHANGES, type What } from './Change';
import { type Action, ALLOWED, type Row, VERBS } from './verbs';

interface Props {
  pipeline: string;
  object: Row;
  queried: boolean;
  edits: boolean;
  act: (action: Action) => void;
  change: (what: What) => void;
  replay: () => void;
  giveUp: () => void;
}

/** What can be done with one object, and where else it is seen. */
export function Actions({ pipeline, object, queried, edits, act, change, replay, giveUp }: Props) {
  const of = new URLSearchParams({ object: object.name });
  const sought = new URLSearchParams({ search: object.name });
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon aria-label={`Actions of ${object.name}`}>
          <IconDots size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {edits && (
          <>
            {ALLOWED[object.state].map((action) => (
              <Menu.Item key={action} onClick={() => act(action)}>
                {VERBS[action]}
              </Menu.Item>
            ))}
            {object.state !== 'SKIPPED' && (
              <>
                <Menu.Divider />
                {(Object.keys(CHANGES) as What[])
                  .filter((what) => what !== 'mode' || queried)
                  .filter((what) => what !== 'since' || 'incremental' in object.positions)
                  .map((what) => (
                    <Menu.Item key={what} onClick={() => change(what)}>
                      {CHANGES[what]}
                    </Menu.Item>
                  ))}
              </>
            )}
            <Menu.Divider />
          </>
        )}
        <Menu.Item component={Link} to={`${at.pipeline(pipeline, 'transformations')}?${of}`}>
          Sample events
        </Menu.Item>
        <Menu.Item component={Link} to={`${at.pipeline(pipeline, 'failed-events')}?${sought}`}>
          Failed events
        </Menu.Item>
        {edits && (
          <>
            <Menu.Item onClick={replay}>Replay its failed events</Menu.Item>
            <Menu.Item color="red" onClick={giveUp}>
              Give up its failed events
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
