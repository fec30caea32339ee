import { Kbd, Modal, Text } from '@mantine/core';
import { Fragment, useEffect, useRef } from 'react';
import { useNavigate } from 'react-router';
import { useMay } from '~/api/session';
import { at } from '../places';
import { entries } from '../rail';

interface Props {
  /** Whether the list of shortcuts is shown. */
  opened: boolean;
  open: (opened: boolean) => void;
  search: () => void;
}

// So long a G waits for the letter of a screen.
const WAIT_MS = 1500;

/** Single keys for those who do not reach for the mouse; where one types, they are letters. */
export function Shortcuts({ opened, open, search }: Props) {
  const navigate = useNavigate();
  const may = useMay();
  const going = useRef(0);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target))
        return;
      const key = event.key.toLowerCase();
      const screen = entries.find((one) => one.key === key && (!one.needs || may(one.needs)));
      if (event.timeStamp - going.current < WAIT_MS && screen) navigate(screen.to);
      else if (key === '?') open(true);
      else if (key === '/') (field() ?? { focus: search }).focus();
      else if (key === 'c' && may('pipelines.create')) navigate(at.newPipeline);
      else {
        going.current = key === 'g' ? event.timeStamp : 0;
        return;
      }
      going.current = 0;
      event.preventDefault();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, [navigate, may, open, search]);
  return (
    <Modal
      opened={opened}
      onClose={() => open(false)}
      title={
        <Text fw={600} tabIndex={-1} data-autofocus className="heard">
          Keyboard shortcuts
        </Text>
      }
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <dl className="facts">
        <Line keys={['Ctrl', 'K']} told="Search or go to" />
        <Line keys={['/']} told="Search this list" />
        {may('pipelines.create') && <Line keys={['C']} told="Create pipeline" />}
        {entries
          .filter((one) => !one.needs || may(one.needs))
          .map((one) => (
            <Line key={one.to} keys={['G', one.key.toUpperCase()]} told={one.label} />
          ))}
        <Line keys={['Esc']} told="Close what lies above" />
        <Line keys={['?']} told="These shortcuts" />
      </dl>
    </Modal>
  );
}

function Line({ keys, told }: { keys: readonly string[]; told: string }) {
  return (
    <>
      <dt>
        {keys.map((one, index) => (
          <Fragment key={one}>
            {index > 0 && ' '}
            <Kbd size="sm">{one}</Kbd>
          </Fragment>
        ))}
      </dt>
      <dd>{told}</dd>
    </>
  );
}

/** The field that searches what the screen lists. */
const field = () => document.querySelector<HTMLInputElement>('main input[data-search]');

/** Whether keys are text there, or belong to something that lies above the screen. */
function isTyping(target: EventTarget | null): boolean {
  if (document.querySelector('[role="dialog"]')) return true;
  return (
    target instanceof Element &&
    target.closest('input, textarea, select, [contenteditable="true"], .react-flow') !== null
  );
}
