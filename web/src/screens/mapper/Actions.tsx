import { ActionIcon, Menu } from '@mantine/core';
import {
  IconActivity,
  IconArrowBackUp,
  IconDots,
  IconEye,
  IconEyeOff,
  IconFileCode,
  IconSettingsAutomation,
  IconTableMinus,
  IconTableOptions,
  IconTrash,
  IconUnlink,
} from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'react-router';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Yaml } from '~/parts/Yaml';
import { usePipelineName } from '~/screens/pipeline/here';
import { BULK, bulk, changing, deletingTable } from './asking';
import { MapTo } from './MapTo';
import { Policy } from './Policy';
import type { Shown } from './questions';
import { type Change, Review } from './Review';

interface Props {
  mapping: Shown;
  /** Changes of fields that are not made yet come first: these would be gone. */
  disabled: boolean;
}

/** What can be done with the mapping of an event type as a whole. */
export function Actions({ mapping, disabled }: Props) {
  const pipeline = usePipelineName();
  const may = useMay();
  const [change, review] = useState<Change | null>(null);
  const [asking, ask] = useState<'table' | 'policy' | 'yaml' | null>(null);
  const { event_type: eventType, table, status, auto_mapping: auto } = mapping.overview;
  const of = { pipeline, eventType };
  const skipped = status === 'SKIPPED';
  const one = (what: 'skip' | 'include' | 'reset') =>
    review(bulk(pipeline, what, [eventType], `${BULK[what].label}: ${eventType}?`));
  const edits = may('mappings.edit');
  return (
    <>
      <Menu>
        <Menu.Target>
          <ActionIcon variant="default" size={30} aria-label="More for this mapping" disabled={disabled}>
            <IconDots size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconFileCode size={16} />} onClick={() => ask('yaml')}>
            As YAML
          </Menu.Item>
          <Menu.Item
            component={Link}
            to={`${at.pipeline(pipeline, 'activity')}?${new URLSearchParams({ type: eventType })}`}
            leftSection={<IconActivity size={16} />}
          >
            Who changed it
          </Menu.Item>
          {edits && (
            <>
              <Menu.Item leftSection={<IconTableOptions size={16} />} onClick={() => ask('table')}>
                {table ? 'Map to another table' : 'Map to a table'}
              </Menu.Item>
              <Menu.Item leftSection={<IconSettingsAutomation size={16} />} onClick={() => ask('policy')}>
                What happens to what is new
              </Menu.Item>
              <Menu.Item
                leftSection={skipped ? <IconEye size={16} /> : <IconEyeOff size={16} />}
                onClick={() => one(skipped ? 'include' : 'skip')}
              >
                {skipped ? 'Take in again' : 'Leave out'}
              </Menu.Item>
              {table && !skipped && (
                <Menu.Item
                  leftSection={<IconUnlink size={16} />}
                  onClick={() =>
                    review(
                      changing(
                        of,
                        `Unmap ${eventType}?`,
                        auto ? { auto: 'off', unmap: true } : { unmap: true },
                        {
                          words: `Its rows wait as failed events until it is mapped again. The table stays.${
                            auto ? ' Auto mapping is switched off, or it would be mapped again at once.' : ''
                          }`,
                          verb: 'Unmap',
                        },
                      ),
                    )
                  }
                >
                  Unmap
                </Menu.Item>
              )}
              <Menu.Divider />
              {!skipped && (
                <Menu.Item
                  color="red"
                  leftSection={<IconArrowBackUp size={16} />}
                  onClick={() => one('reset')}
                >
                  Reset the mapping
                </Menu.Item>
              )}
              {table && (
                <Menu.Item
                  color="red"
                  leftSection={<IconTableMinus size={16} />}
                  rightSection={<IconTrash size={14} aria-hidden />}
                  onClick={() => review(deletingTable(of, table, mapping.waiting_rows))}
                >
                  Delete the table
                </Menu.Item>
              )}
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      {asking === 'yaml' && (
        <Yaml
          title={`The mapping of ${eventType} as YAML`}
          pipelines={[pipeline]}
          mappings={[eventType]}
          close={() => ask(null)}
        />
      )}
      {asking === 'table' && (
        <MapTo
          mapping={mapping}
          close={() => ask(null)}
          chosen={(asked) => {
            ask(null);
            review(changing(of, `Map ${eventType} to ${asked.table}?`, asked));
          }}
        />
      )}
      {asking === 'policy' && (
        <Policy
          now={mapping.policy}
          close={() => ask(null)}
          chosen={(asked) => {
            ask(null);
            review(changing(of, 'Change what happens to what is new?', asked));
          }}
        />
      )}
      {change && <Review pipeline={pipeline} change={change} close={() => review(null)} />}
    </>
  );
}
