import { Alert, Button, List, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { count } from '~/words/numbers';
import { capital } from './ErrorNote';
import type { Outcome } from './each';
import { Told } from './Told';

const SHOWN = 10;

interface Props {
  /** What was asked for: "Pause". */
  verb: string;
  /** What it was asked of, as a word for one of them: "pipeline". */
  noun: string;
  outcome: Outcome;
  close: () => void;
}

/** Of what of several things was not done, and why; nothing where all was. They stay chosen. */
export function Refused({ verb, noun, outcome: { ok, refused }, close }: Props) {
  if (refused.length === 0) return null;
  const all = ok.length + refused.length;
  return (
    <Alert
      color="red"
      variant="light"
      mb="sm"
      role="alert"
      icon={<IconAlertTriangle size={20} />}
      title={`${verb}: not done for ${count(refused.length)} of ${count(all)} ${noun}${all === 1 ? '' : 's'}`}
    >
      <Reasons of={refused} />
      <Button mt="xs" size="compact-sm" variant="default" onClick={close}>
        Dismiss
      </Button>
    </Alert>
  );
}

/** Why, of each. */
export function Reasons({ of }: { of: Outcome['refused'] }) {
  return (
    <>
      <List size="sm">
        {of.slice(0, SHOWN).map(({ name, problem }) => (
          <List.Item key={name}>
            {!problem.message.includes(name) && <b>{name}: </b>}
            <Told text={[capital(problem.message), problem.hint].filter(Boolean).join('. ')} />
          </List.Item>
        ))}
      </List>
      {of.length > SHOWN && <Text size="sm">And {count(of.length - SHOWN)} more.</Text>}
    </>
  );
}
