import { Alert, Button, Checkbox, Code, Group, Modal, Skeleton, Stack, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { ErrorNote } from '~/parts/ErrorNote';
import { done as told } from '~/parts/notices';
import { Told } from '~/parts/Told';
import { some } from '~/words/numbers';
import type { Plan } from './questions';

/** One way to change mappings; asked first what it would change, then for the change. */
export interface Change {
  /** Tells this change from others. */
  id: string;
  title: string;
  /** What it means, before what it changes. */
  words?: ReactNode;
  verb?: string;
  /** Something is lost with it. */
  harmful?: boolean;
  /** A further wish that it may need, such as that rows may go. */
  wish?: string;
  plan: (asked: { dry_run: boolean; reason: string | null; wished: boolean }) => Promise<Plan[]>;
}

interface Props {
  pipeline: string;
  change: Change;
  close: () => void;
  done?: () => void;
}

const SHOWN = 20;

/** What a change makes of mappings and of tables, before it is made. */
export function Review({ pipeline, change, close, done }: Props) {
  const client = useQueryClient();
  const [reason, say] = useState('');
  const [wished, wish] = useState(false);
  const plan = useQuery({
    queryKey: ['mappings', pipeline, 'plan', change.id, wished],
    queryFn: () => change.plan({ dry_run: true, reason: null, wished }),
    staleTime: 0,
    gcTime: 0,
    retry: false,
    refetchOnWindowFocus: false,
  });
  const apply = useMutation({
    mutationFn: () => change.plan({ dry_run: false, reason: reason || null, wished }),
    onSuccess: (made) => {
      done?.();
      close();
      const changed = made.filter((one) => one.changed);
      told(
        changed.length === 1
          ? `Version ${changed[0]?.version} of the mapping is made.`
          : `${some(changed.length, 'mapping')} changed.`,
      );
      for (const noun of ['mappings', 'rejects', 'pipelines', 'tables'])
        void client.invalidateQueries({ queryKey: [noun] });
    },
  });
  const changed = plan.data?.filter((one) => one.changed) ?? [];
  const many = (plan.data?.length ?? 0) !== 1;
  return (
    <Modal
      opened
      onClose={close}
      size={680}
      title={<Text fw={600}>{change.title}</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (changed.length > 0) apply.mutate();
        }}
      >
        <Stack gap="md">
          {change.words && <Text component="div">{change.words}</Text>}
          <ErrorNote error={plan.error ?? apply.error} />
          {change.wish && (
            <Checkbox
              label={change.wish}
              checked={wished}
              onChange={(event) => wish(event.currentTarget.checked)}
            />
          )}
          {plan.isPending && <Skeleton height={120} />}
          {plan.data && many && (
            <Text size="sm">
              {changed.length === 0
                ? 'Nothing would change.'
                : `${some(changed.length, 'mapping')} would change:`}
            </Text>
          )}
          {(many ? changed : (plan.data ?? [])).slice(0, SHOWN).map((one) => (
            <section key={one.event_type} aria-label={`Changes of ${one.event_type}`}>
              {many && (
                <Text size="sm" fw={600} mb={2}>
                  {one.event_type}
                </Text>
              )}
              <PlanShown plan={one} />
            </section>
          ))}
          {changed.length > SHOWN && (
            <Text size="sm" c="dimmed">
              And {some(changed.length - SHOWN, 'other')}.
            </Text>
          )}
          {changed.length > 0 && (
            <TextInput
              label="Why"
              description="Kept with the version."
              value={reason}
              maxLength={10_000}
              onChange={(event) => say(event.currentTarget.value)}
            />
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Keep it as it is
            </Button>
            <Button
              type="submit"
              color={change.harmful ? 'red' : undefined}
              loading={apply.isPending}
              disabled={changed.length === 0}
            >
              {change.verb ?? 'Apply'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** What differs, what to beware of, and the statements. */
export function PlanShown({ plan }: { plan: Plan }) {
  return (
    <Stack gap="xs">
      {!plan.changed && <Text size="sm">Nothing would change.</Text>}
      <div>
        {plan.differences.map((one, index) => (
          <Text key={index} size="sm">
            {one.what}: {one.before !== null && <s className="mono">{one.before}</s>}{' '}
            {one.after !== null && <b className="mono">{one.after}</b>}
          </Text>
        ))}
      </div>
      {plan.warnings.map((one) => (
        <Alert
          key={one.code + (one.field ?? '')}
          color="orange"
          variant="light"
          icon={<IconAlertTriangle size={18} />}
        >
          <Text size="sm" c="var(--mantine-color-text)">
            {one.field && <span className="mono">{one.field}: </span>}
            <Told text={`${one.message} ${one.hint}`} />
          </Text>
        </Alert>
      ))}
      {plan.unasked ? (
        <Text size="sm" c="dimmed">
          What the table becomes could not be asked: <Told text={plan.unasked} />
        </Text>
      ) : plan.ddl && plan.ddl.length > 0 ? (
        <div>
          <Text size="sm" fw={600} mb={4}>
            {plan.at_once ? 'It runs at once' : 'The next load of rows runs'}
          </Text>
          <Code block>{plan.ddl.join(';\n')}</Code>
        </div>
      ) : (
        plan.changed && (
          <Text size="sm" c="dimmed">
            The table stays as it is.
          </Text>
        )
      )}
      {plan.waiting_rows > 0 && (
        <Text size="sm" c="dimmed">
          {some(plan.waiting_rows, 'row')} wait on the stage; they are loaded as they were staged.
        </Text>
      )}
    </Stack>
  );
}
