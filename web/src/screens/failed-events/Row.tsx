import { Button, Group, Skeleton, Text } from '@mantine/core';
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { lazy, Suspense, useState } from 'react';
import { Link } from 'react-router';
import type { Schemas } from '~/api/client';
import { exactly } from '~/api/exact';
import { Ago } from '~/parts/Ago';
import { Told } from '~/parts/Told';
import { listAt } from './questions';

const Code = lazy(() => import('~/parts/Code'));

interface Props {
  row: Schemas['Rejected'];
  pipeline: string;
  own: string | undefined;
  mended: string | undefined;
  /** Left out: whoever looks may not. Null takes the change back. */
  mend: ((text: string | null) => void) | undefined;
}

/** One failed event: its reason in a line, itself when it is opened; it can be mended there. */
export function Row({ row, pipeline, own, mended, mend }: Props) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useState(() => pretty(row.row));
  const wrong = open ? mistake(text) : null;
  const key = keyOf(row.row);
  const Mark = open ? IconChevronDown : IconChevronRight;
  return (
    <div style={{ borderBottom: '1px solid var(--border)' }}>
      <button
        type="button"
        className="choice"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        style={{ border: 0 }}
      >
        <Mark size={16} aria-hidden style={{ flex: 'none' }} />
        <Text size="sm" flex={1} lineClamp={open ? undefined : 1}>
          <Told text={row.message} />
        </Text>
        {mended !== undefined && (
          <Text size="xs" fw={600} c="var(--accent)">
            mended
          </Text>
        )}
        <Text size="xs" c="dimmed" component="span">
          <Ago at={row.rejected_at} />
        </Text>
      </button>
      {open && (
        <div style={{ borderTop: '1px solid var(--border)' }}>
          <Suspense fallback={<Skeleton height={120} />}>
            <Code
              label="Event"
              language="json"
              value={text}
              change={
                mend &&
                ((now) => {
                  setText(now);
                  mend(now === pretty(row.row) || mistake(now) ? null : now);
                })
              }
            />
          </Suspense>
          <Group justify="space-between" px={12} pb={8} gap="xs">
            <Text size="xs" c={wrong ? 'var(--failed)' : 'dimmed'}>
              {wrong ?? (mend ? 'Change what is wrong, then replay the mended events.' : '')}
            </Text>
            {key && (
              <Button
                component={Link}
                to={`${listAt(own)}/trace?${new URLSearchParams({ pipeline, key })}`}
                size="compact-xs"
                variant="subtle"
              >
                Trace this event
              </Button>
            )}
          </Group>
        </div>
      )}
    </div>
  );
}

const pretty = (row: string): string => JSON.stringify(exactly(row), null, 2);

function mistake(text: string): string | null {
  try {
    const found = exactly(text);
    return typeof found === 'object' && found !== null && !Array.isArray(found)
      ? null
      : 'An event is an object.';
  } catch {
    return 'This is no JSON yet.';
  }
}

/** FIELD=VALUE that says best which row it is: of the first field that looks like a key. */
function keyOf(row: string): string | null {
  const fields = Object.entries(exactly<Record<string, unknown>>(row)).filter(
    ([, value]) => typeof value === 'string' || typeof value === 'number',
  );
  const [name, value] = fields.find(([name]) => /(^|_)id$|Id$/i.test(name)) ?? fields[0] ?? [];
  return name === undefined ? null : `${name}=${String(value)}`;
}
