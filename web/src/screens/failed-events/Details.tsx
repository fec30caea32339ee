import '~/parts/panes.css';
import { Alert, Button, Group as Line, Loader, Skeleton, Stack, Text } from '@mantine/core';
import { IconBulb, IconDownload, IconReload } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { api, body, type Schemas, segment, send } from '~/api/client';
import { useErrand } from '~/api/errands';
import { exactly } from '~/api/exact';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Confirm } from '~/parts/Confirm';
import { Empty } from '~/parts/Empty';
import { capital, ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { Side } from '~/parts/Side';
import { Told } from '~/parts/Told';
import { count, some } from '~/words/numbers';
import { again, choice, groupQuery, listAt, type Named, STAGES } from './questions';
import { Row } from './Row';

type Run = Schemas['RunRecord'];
type Rejected = Schemas['Rejected'];

const SHOWN = 20;

/** One group: why its events failed, the events, and the ways on: cure and replay, mend by hand, give up. */
export function Component() {
  const { pipeline: own, of, stream = '', stage = '', code = '' } = useParams();
  const pipeline = of ?? own ?? '';
  const named = { pipeline, stream, stage, code } as Named;
  const client = useQueryClient();
  const navigate = useNavigate();
  const may = useMay();
  const [limit, setLimit] = useState(SHOWN);
  const [mended, mend] = useState<Record<string, string>>({});
  const [asking, ask] = useState(false);
  const found = useQuery(groupQuery(named));
  const group = found.data;
  const rows = useQuery({
    queryKey: ['rejects', 'rows', named, limit],
    queryFn: () =>
      body(api.GET('/api/millrace/v1/rejects/rows', { params: { query: { ...choice(named), limit } } })),
    placeholderData: (before) => before,
  });
  const changed = () => {
    void client.invalidateQueries({ queryKey: ['rejects'] });
    void client.invalidateQueries({ queryKey: ['pipelines'] });
  };
  const ended = (run: Run, asked: string) => {
    mend({});
    changed();
    const { staged, rejected_rows: rejected } = run.balance;
    done(
      `${some(staged, 'event')} ${staged === 1 ? 'is' : 'are'} on the way${rejected ? `, ${count(rejected)} failed again` : ''}.`,
    );
    if (asked === 'all' && rejected === 0) navigate(listAt(own));
  };
  const replay = useErrand<Run, string>(
    () =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/rejects/replay', {
          params: { path: { pipeline } },
          body: { object: stream, stage: named.stage, code },
        }),
      ),
    ended,
  );
  const fix = useErrand<Run, string>(
    () =>
      send(
        `/api/millrace/v1/pipelines/${segment(pipeline)}/rejects/mend?name=mended.jsonl`,
        'POST',
        new Blob(
          (rows.data ?? [])
            .filter((one) => one.id in mended)
            .map((one) => lineOf(one, mended[one.id] ?? one.row)),
        ),
      ),
    ended,
  );
  const discard = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/rejects/discard', { body: choice(named) })),
    onSuccess: ({ rows: gone }) => {
      changed();
      done(`${some(gone, 'event')} given up.`);
      navigate(listAt(own));
    },
  });
  const edits = may('pipelines.edit');
  const fixed = Object.keys(mended).length;
  const busy = replay.isPending || fix.isPending;
  return (
    <Side
      wide
      back={listAt(own)}
      title={group ? capital(group.resolution.title) : 'Failed events'}
      told={
        <>
          {group ? `${some(group.rows, 'event')} of ` : ''}
          {stream}, {STAGES[stage] ?? stage} · {pipeline} · <span className="mono">{code}</span>
        </>
      }
      actions={
        group &&
        edits && (
          <>
            <Button
              leftSection={<IconReload size={16} />}
              loading={replay.isPending}
              disabled={fix.isPending}
              onClick={() => replay.mutate('all')}
            >
              Replay all
            </Button>
            <Button
              component="a"
              href={`/api/millrace/v1/rejects/export?${new URLSearchParams(choice(named))}`}
              download="failed-events.jsonl"
              variant="default"
              leftSection={<IconDownload size={16} />}
            >
              Export
            </Button>
            <Button variant="subtle" color="red" onClick={() => ask(true)}>
              Give up
            </Button>
          </>
        )
      }
    >
      <Stack gap="md">
        <ErrorNote error={replay.error ?? fix.error ?? found.error ?? rows.error} />
        {group && (
          <Alert color="teal" variant="light" icon={<IconBulb size={20} />}>
            <Text size="sm" fw={500} c="var(--mantine-color-text)">
              <Told text={group.resolution.hint} />
            </Text>
            <Text size="sm" mt={2} c="var(--mantine-color-text)">
              {again(group)}
            </Text>
            <Line gap="xs" mt="xs">
              {stage !== 'load' && group.resolution.cures.includes('transformation') && (
                <Button
                  component={Link}
                  to={`${at.pipeline(pipeline, 'transformations')}?events=failed`}
                  size="compact-sm"
                  variant={stage === 'steps' ? 'filled' : 'default'}
                >
                  Open the transformation
                </Button>
              )}
              {group.resolution.cures.includes('mapping') && (
                <Button
                  component={Link}
                  to={at.pipeline(pipeline, `mapper/${encodeURIComponent(stream)}`)}
                  size="compact-sm"
                  variant={stage === 'steps' ? 'default' : 'filled'}
                >
                  Open the mapping
                </Button>
              )}
            </Line>
          </Alert>
        )}
        {busy && (
          <Line gap="xs">
            <Loader size="xs" />
            <Text size="sm" c="dimmed">
              {count((replay.progress ?? fix.progress)?.read ?? 0)} events went again
            </Text>
          </Line>
        )}
        {group === null && !busy && (
          <Empty icon={IconReload} title="Nothing waits here any more">
            These events were replayed, mended or given up.
          </Empty>
        )}
        {group && rows.isPending && <Skeleton height={160} />}
        {group && rows.data && (
          <div className="card">
            {rows.data.map((one) => (
              <Row
                key={`${one.file}-${one.number}`}
                row={one}
                pipeline={pipeline}
                own={own}
                mended={mended[one.id]}
                mend={
                  edits
                    ? (text) =>
                        mend((all) => {
                          const { [one.id]: _, ...rest } = all;
                          return text === null ? rest : { ...rest, [one.id]: text };
                        })
                    : undefined
                }
              />
            ))}
          </div>
        )}
        {group && rows.data && rows.data.length >= limit && rows.data.length < group.rows && (
          <Button
            variant="default"
            size="compact-sm"
            onClick={() => setLimit(limit * 5)}
            loading={rows.isFetching}
          >
            Show more of {count(group.rows)}
          </Button>
        )}
        {fixed > 0 && (
          <Line justify="flex-end" className="sticky-foot">
            <Button variant="default" onClick={() => mend({})}>
              Undo my changes
            </Button>
            <Button loading={fix.isPending} onClick={() => fix.mutate('mended')}>
              Replay {some(fixed, 'mended event')}
            </Button>
          </Line>
        )}
      </Stack>
      {asking && group && (
        <Confirm
          title="Give these events up?"
          verb="Give up"
          act={() => discard.mutateAsync()}
          close={() => ask(false)}
        >
          {some(group.rows, 'event')} will not reach {pipeline}'s tables and cannot be replayed. Loaded rows
          stay in the warehouse. Export them first if you may want them.
        </Confirm>
      )}
    </Side>
  );
}

/** A line as the server takes mended rows: what an export has, with another row. */
function lineOf({ row: _, ...told }: Rejected, text: string): string {
  return `${JSON.stringify(told).slice(0, -1)},"row":${JSON.stringify(exactly(text))}}\n`;
}
