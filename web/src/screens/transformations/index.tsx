import '~/parts/panes.css';
import { Button, Group, Menu, SegmentedControl, Skeleton, Text } from '@mantine/core';
import { IconDots, IconFlask, IconHistory, IconPlayerPlay, IconRocket } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react';
import { Link, Outlet, useLocation, useParams } from 'react-router';
import { api, body, Problem, type Schemas } from '~/api/client';
import { useMay } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { Confirm } from '~/parts/Confirm';
import { ErrorNote } from '~/parts/ErrorNote';
import { done } from '~/parts/notices';
import { chainOf } from './blocks/chain';
import { completing } from './completions';
import { Deploy } from './Deploy';
import { DryRun } from './DryRun';
import { asLine, attempt, EMPTY_CHAIN, type Kind, standingQuery, TEMPLATE } from './questions';
import { Samples, useChosen } from './Samples';
import { useDraft } from './useDraft';

const Code = lazy(() => import('~/parts/Code'));
const Canvas = lazy(() => import('./blocks/Canvas'));

const PREVIEW_MS = 600;

/** What happens to rows in flight: written, tried on samples and on failed events, deployed. */
export function Component() {
  const pipeline = useParams().pipeline ?? '';
  const standing = useQuery(standingQuery(pipeline));
  if (standing.error && !standing.data) {
    return <ErrorNote error={standing.error} again={() => void standing.refetch()} />;
  }
  if (!standing.data) return <Skeleton height={480} />;
  return (
    <>
      <Workbench key={pipeline} pipeline={pipeline} standing={standing.data} />
      <Outlet />
    </>
  );
}

/** Where work goes on: at the draft, else at what is deployed, else at the template. */
function beginning(standing: Schemas['Standing']): { kind: Kind; text: string } {
  for (const one of [standing.draft, standing.deployed]) {
    if (one && one.kind !== 'none') return { kind: one.kind, text: one.text };
  }
  return { kind: 'python', text: TEMPLATE };
}

function Workbench({ pipeline, standing }: { pipeline: string; standing: Schemas['Standing'] }) {
  const client = useQueryClient();
  const { search } = useLocation();
  const may = useMay();
  const edits = may('transformations.edit');
  const [first] = useState(() => beginning(standing));
  const draft = useDraft(pipeline, first, edits);
  const state = useChosen(pipeline);
  const [asking, ask] = useState<'deploy' | 'dry-run' | 'remove' | null>(null);
  const { chosen } = state;
  const test = useMutation({
    mutationFn: async (written: string | null) =>
      attempt(pipeline, {
        kind: draft.kind,
        text: draft.text,
        line: written === null ? null : line(written),
        object: chosen.object,
        failed: chosen.failed,
      }),
  });
  const fields = useMemo(
    () => [...new Set(state.samples.data?.flatMap((one) => Object.keys(one.properties)))],
    [state.samples.data],
  );
  const complete = useMemo(() => completing(fields), [fields]);
  const run = () => test.mutate(chosen.written);
  const remove = useMutation({
    mutationFn: () =>
      body(
        api.POST('/api/millrace/v1/pipelines/{pipeline}/transformation/remove', {
          params: { path: { pipeline } },
          body: { reason: null },
        }),
      ),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ['transformation', pipeline] });
      done('Rows pass as they are again.');
    },
  });
  const wrong = useMemo(() => {
    const failed = test.data?.outcomes[chosen.written === null ? chosen.index : 0]?.error;
    if (failed?.line) return { line: failed.line, message: failed.message };
    const place = test.error instanceof Problem ? /^line (\d+)/.exec(test.error.fault.field ?? '') : null;
    return place && test.error ? { line: Number(place[1]), message: test.error.message } : null;
  }, [test.data, test.error, chosen.index, chosen.written]);
  const chain = useMemo(
    () => (draft.kind === 'blocks' ? chainOf(draft.text) : null),
    [draft.kind, draft.text],
  );
  // Blocks are tried as they are changed; a script when somebody asks for it, for it may be half a line.
  const preview = useRef(run);
  preview.current = run;
  // biome-ignore lint/correctness/useExhaustiveDependencies: each text is tried once, when it has come to rest
  useEffect(() => {
    if (draft.kind !== 'blocks' || !edits || chosen.events.length === 0) return;
    const timer = setTimeout(() => preview.current(), PREVIEW_MS);
    return () => clearTimeout(timer);
  }, [draft.kind, draft.text, edits, chosen.failed, chosen.object, chosen.events.length > 0]);
  const deployed = standing.deployed?.kind === 'none' ? null : standing.deployed;
  const same = deployed !== null && deployed.kind === draft.kind && deployed.text === draft.text;
  const swap = (kind: string) => {
    const kept = [standing.draft, standing.deployed].find((one) => one?.kind === kind)?.text;
    draft.change(kind as Kind, kept ?? (kind === 'python' ? TEMPLATE : EMPTY_CHAIN));
    test.reset();
  };
  return (
    <>
      <Group mb="sm" gap="sm">
        <SegmentedControl
          size="xs"
          aria-label="Kind"
          value={draft.kind}
          onChange={swap}
          disabled={!edits}
          data={[
            { value: 'python', label: 'Python' },
            { value: 'blocks', label: 'Blocks' },
          ]}
        />
        <Text size="sm" c="dimmed">
          {deployed ? (
            <>
              Version {deployed.version} is deployed, <Ago at={deployed.created_at} />
            </>
          ) : (
            'Nothing is deployed: rows pass as they are'
          )}
          {edits && !same && ` · ${draft.saving ? 'keeping the draft …' : 'the draft is kept'}`}
        </Text>
        <div style={{ flex: 1 }} />
        <Button
          component={Link}
          to={{ pathname: at.pipeline(pipeline, 'transformations/versions'), search }}
          variant="subtle"
          color="gray"
          size="xs"
          leftSection={<IconHistory size={16} />}
        >
          Versions
        </Button>
        {edits && (
          <>
            <Button
              variant="default"
              size="xs"
              leftSection={<IconFlask size={16} />}
              loading={test.isPending}
              onClick={run}
            >
              Test
            </Button>
            <Button
              variant="default"
              size="xs"
              leftSection={<IconPlayerPlay size={16} />}
              onClick={() => ask('dry-run')}
            >
              Dry run
            </Button>
            <Button
              size="xs"
              leftSection={<IconRocket size={16} />}
              disabled={same}
              onClick={() => ask('deploy')}
            >
              Deploy
            </Button>
            {deployed && (
              <Menu>
                <Menu.Target>
                  <Button variant="default" size="xs" px={8} aria-label="More actions">
                    <IconDots size={16} />
                  </Button>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item
                    onClick={() => draft.change(deployed.kind as Kind, deployed.text)}
                    disabled={same}
                  >
                    Begin again from version {deployed.version}
                  </Menu.Item>
                  <Menu.Item color="red" onClick={() => ask('remove')}>
                    Remove the transformation
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            )}
          </>
        )}
      </Group>
      {draft.error && (
        <div style={{ marginBottom: 12 }}>
          <ErrorNote error={draft.error} />
        </div>
      )}
      <div className="panes">
        <section className="card pane" aria-label={draft.kind === 'python' ? 'Script' : 'Blocks'}>
          <Suspense fallback={<Skeleton height={420} />}>
            {chain ? (
              <Canvas
                chain={chain}
                fields={fields}
                change={edits ? (text) => draft.change('blocks', text) : undefined}
              />
            ) : (
              <Code
                label="Script"
                language={draft.kind === 'python' ? 'python' : 'json'}
                value={draft.text}
                change={edits ? (text) => draft.change(draft.kind, text) : undefined}
                complete={draft.kind === 'python' ? complete : undefined}
                run={edits ? run : undefined}
                wrong={wrong}
                height="max(460px, calc(100dvh - 320px))"
              />
            )}
          </Suspense>
        </section>
        <Samples
          state={{
            ...state,
            write: (text: string | null) => {
              state.write(text);
              if (text === null) test.reset();
              else if (chosen.written !== null) test.mutate(text);
            },
            setObject: (object) => {
              test.reset();
              state.setObject(object);
            },
            setFailed: (failed) => {
              test.reset();
              state.setFailed(failed);
            },
          }}
          tried={test.data ?? null}
          error={test.error}
          busy={test.isPending}
          test={run}
        />
      </div>
      {asking === 'deploy' && (
        <Deploy
          pipeline={pipeline}
          kind={draft.kind}
          text={draft.text}
          deployed={deployed}
          failedRows={chosen.failed ? chosen.events.length : 0}
          close={() => ask(null)}
        />
      )}
      {asking === 'dry-run' && (
        <DryRun pipeline={pipeline} kind={draft.kind} text={draft.text} close={() => ask(null)} />
      )}
      {asking === 'remove' && (
        <Confirm
          title="Remove the transformation?"
          verb="Remove"
          act={() => remove.mutateAsync()}
          close={() => ask(null)}
        >
          Rows that are read from now on pass as they are. All versions stay, and you can go back to each of
          them; loaded rows stay as they are.
        </Confirm>
      )}
    </>
  );
}

/** What somebody wrote as one line for the server, which says what is wrong with it. */
function line(written: string): string {
  try {
    return asLine(written);
  } catch {
    return written.replaceAll('\n', ' ');
  }
}
