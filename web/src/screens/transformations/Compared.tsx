import { Text, VisuallyHidden } from '@mantine/core';
import { IconMinus, IconPencil, IconPlus } from '@tabler/icons-react';
import { Scroll } from '~/parts/Scroll';
import type { Event } from './questions';

interface Props {
  before: Event | null;
  after: Event | null;
}

type Change = 'same' | 'added' | 'gone' | 'changed';

const MARKS = {
  added: { icon: IconPlus, word: 'added' },
  gone: { icon: IconMinus, word: 'taken away' },
  changed: { icon: IconPencil, word: 'changed' },
} as const;

const text = (value: unknown): string =>
  value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value, null, 2);

/** One event field by field, before and after; what changed is marked, and stands first. */
export function Compared({ before, after }: Props) {
  const old = before?.properties ?? {};
  const now = after?.properties ?? {};
  const alone = before === null;
  const names = [...Object.keys(old), ...Object.keys(now).filter((name) => !(name in old))];
  const fields = names.map(
    (name) => ({ name, change: alone ? 'same' : changeOf(old[name], now[name]) }) as const,
  );
  fields.sort((a, b) => Number(a.change === 'same') - Number(b.change === 'same'));
  return (
    <Scroll label="Before and after">
      <table className="table compared" aria-label="Fields before and after">
        <thead>
          <tr>
            <th scope="col">Field</th>
            {!alone && <th scope="col">Before</th>}
            <th scope="col">{alone ? 'Value' : 'After'}</th>
          </tr>
        </thead>
        <tbody>
          {fields.map(({ name, change }) => {
            const mark = change === 'same' ? null : MARKS[change];
            return (
              <tr key={name} data-change={change}>
                <th scope="row" className="mono">
                  {mark && <mark.icon size={12} aria-label={mark.word} />} {name}
                </th>
                {!alone && (
                  <td className="mono">
                    <Value of={old[name]} />
                  </td>
                )}
                <td className="mono">
                  <Value of={now[name]} />
                </td>
              </tr>
            );
          })}
          {names.length === 0 && (
            <tr>
              <td colSpan={3}>
                <Text size="sm" c="dimmed">
                  No fields.
                </Text>
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </Scroll>
  );
}

function Value({ of }: { of: unknown }) {
  return of === undefined ? <VisuallyHidden>not there</VisuallyHidden> : text(of);
}

function changeOf(old: unknown, now: unknown): Change {
  if (old === undefined) return 'added';
  if (now === undefined) return 'gone';
  return JSON.stringify(old) === JSON.stringify(now) ? 'same' : 'changed';
}
