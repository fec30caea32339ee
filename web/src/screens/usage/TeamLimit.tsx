import { Paper, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import { useMay } from '~/api/session';
import { LimitForm } from '~/parts/LimitForm';
import { count } from '~/words/numbers';

/** How many rows the team may load in a month; who may not change that sees it where there is one. */
export function TeamLimit() {
  const may = useMay();
  const limits = useQuery({
    queryKey: ['usage', 'limits'],
    queryFn: async () => {
      // That of the team may stand behind those of many pipelines.
      for (let after: string | undefined; ; ) {
        const query = { limit: 100, after };
        const page = await body(api.GET('/api/millrace/v1/usage/limits', { params: { query } }));
        const kept = page.items.find((one) => one.pipeline === null);
        if (kept || !page.next) return { kept: kept ?? null };
        after = page.next;
      }
    },
  });
  if (!limits.data) return null;
  const { kept } = limits.data;
  const edits = may('settings.edit');
  if (!edits && kept === null) return null;
  return (
    <Paper className="card" p="md" mt="md" component="section" aria-label="Limit of the team">
      <Text fw={600}>Limit of the team</Text>
      <Text size="sm" c="dimmed" mb="sm">
        Billable rows that all pipelines together may load in a month.
        {kept && ` At this pace the month ends with ${count(kept.forecast)}.`}
      </Text>
      {edits ? (
        <LimitForm
          of="the team"
          kept={kept}
          period="month"
          suggested={null}
          ask={(to): Promise<unknown> =>
            to === null
              ? api.DELETE('/api/millrace/v1/usage/limit')
              : api.PUT('/api/millrace/v1/usage/limit', { body: to })
          }
        />
      ) : (
        <Text size="sm">
          This month {count(kept?.used ?? 0)} of {count(kept?.rows ?? 0)} so far.
        </Text>
      )}
    </Paper>
  );
}
