import { Button, Grid, Group, Loader, Paper, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useLocation, useNavigate, useSearchParams } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { at } from '~/app/places';
import { connectorQuery, wrongOf } from '~/parts/connections';
import { ErrorNote } from '~/parts/ErrorNote';
import { Guide } from '~/parts/Guide';
import { SchemaForm } from '~/parts/SchemaForm';
import type { Settings } from '~/parts/schema';
import { Verdicts } from '~/parts/Verdicts';
import { chosenOf, draftQuery, NOTHING } from './draft';

interface Props {
  type: string;
  draft: Schemas['Draft'] | null;
}

/** How to reach the source: a form from the connector's schema, its guide beside it, and a test. */
export function Connect({ type, draft }: Props) {
  const client = useQueryClient();
  const navigate = useNavigate();
  // What the first test found comes along to the address that the draft has from then on.
  const found = (useLocation().state as { checked?: Schemas['Checked'] } | null)?.checked ?? null;
  const connector = useQuery(connectorQuery('source', type));
  // A pipeline may be begun from a destination: that is chosen then.
  const destination = useSearchParams()[0].get('destination');
  const [name, setName] = useState(draft?.name ?? '');
  const [config, setConfig] = useState<Settings>({ ...draft?.config });
  const [verdicts, setVerdicts] = useState<Schemas['Checked'] | null>(found);

  const save = async () => {
    const chosen = {
      ...(draft ? chosenOf(draft) : { ...NOTHING, destination }),
      step: 'source',
    } as unknown as Record<string, unknown>;
    const wanted = { name: name.trim(), type, config, chosen };
    const saved = await body(
      draft
        ? api.PUT('/api/millrace/v1/drafts/{draft}', {
            params: { path: { draft: draft.number } },
            body: wanted,
          })
        : api.POST('/api/millrace/v1/drafts', { body: wanted }),
    );
    client.setQueryData(draftQuery(saved.number).queryKey, saved);
    await client.invalidateQueries({ queryKey: ['drafts'], exact: true });
    return saved;
  };
  const test = useMutation({
    mutationFn: async (then: 'stay' | 'go') => {
      const saved = await save();
      const path = { draft: saved.number };
      const checked = await body(api.POST('/api/millrace/v1/drafts/{draft}/check', { params: { path } }));
      return { saved, checked, then };
    },
    onSuccess: ({ saved, checked, then }) => {
      setVerdicts(checked);
      if (then === 'go' && checked.passed) navigate(`${at.draft(saved.number)}?step=objects`);
      else if (!draft)
        navigate(`${at.draft(saved.number)}?step=source`, { replace: true, state: { checked } });
    },
  });
  const keep = useMutation({
    mutationFn: save,
    onSuccess: () => navigate(at.pipelines),
  });
  const error = test.error ?? keep.error;
  // One at a time: each keeps the draft, and a draft that is not there yet would be made twice.
  const busy = test.isPending || keep.isPending;
  return (
    <>
      <ErrorNote error={connector.error} again={() => void connector.refetch()} />
      {connector.isPending && <Loader />}
      {connector.data && (
        <Grid gap="xl">
          <Grid.Col span={{ base: 12, md: 7 }}>
            <form
              onSubmit={(event) => {
                event.preventDefault();
                if (!busy) test.mutate('go');
              }}
            >
              <Stack gap="md">
                <Title order={2}>Connect {connector.data.title}</Title>
                <TextInput
                  label="Name"
                  description="Of the pipeline and of this source; you can change it at the end"
                  required
                  value={name}
                  placeholder={`${connector.data.title} → Warehouse`}
                  onChange={(event) => setName(event.currentTarget.value)}
                />
                <SchemaForm
                  schema={connector.data.config}
                  secrets={connector.data.secrets}
                  kept={draft?.secret_keys ?? []}
                  sends={type}
                  of={draft ? { draft: draft.number } : undefined}
                  value={config}
                  change={setConfig}
                  wrong={wrongOf(error)}
                />
                <ErrorNote error={error} />
                {verdicts && <Verdicts checked={verdicts} />}
                <Group justify="space-between">
                  <Button
                    variant="subtle"
                    color="gray"
                    loading={keep.isPending}
                    onClick={() => keep.mutate()}
                    disabled={!name.trim() || busy}
                  >
                    Keep and leave
                  </Button>
                  <Group gap="xs">
                    <Button
                      variant="default"
                      loading={test.isPending && test.variables === 'stay'}
                      disabled={!name.trim() || busy}
                      onClick={() => test.mutate('stay')}
                    >
                      Test connection
                    </Button>
                    <Button type="submit" loading={test.isPending && test.variables === 'go'} disabled={busy}>
                      Test and go on
                    </Button>
                  </Group>
                </Group>
              </Stack>
            </form>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 5 }}>
            <Paper className="card" p="lg" component="aside" aria-label="Guide">
              {connector.data.guide ? (
                <Guide text={connector.data.guide} />
              ) : (
                <Text c="dimmed">This source needs no more than what stands here.</Text>
              )}
            </Paper>
          </Grid.Col>
        </Grid>
      )}
    </>
  );
}
