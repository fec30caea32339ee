/** Failed events of objects: they go again, or are given up. */
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { api, body, type Schemas } from '~/api/client';
import { followed } from '~/api/errands';
import { each, type Outcome } from '~/parts/each';
import { done, failed } from '~/parts/notices';
import { count, some } from '~/words/numbers';

type Group = Schemas['Grouped'];
type Run = Schemas['RunRecord'];

export function useFailedOf(pipeline: string, came: (verb: string, outcome: Outcome) => void) {
  const client = useQueryClient();
  const settled = () => {
    for (const noun of ['rejects', 'objects', 'pipelines', 'jobs'])
      void client.invalidateQueries({ queryKey: [noun] });
  };
  const waiting = async (object: string): Promise<Group[]> =>
    body(api.GET('/api/millrace/v1/rejects', { params: { query: { pipeline, object } } }));
  const replay = useMutation({
    mutationFn: async (objects: readonly string[]) => {
      const sum = { staged: 0, again: 0 };
      // One after the other: a pipeline does one thing at a time.
      const outcome = await each(
        objects,
        async (object) => {
          if ((await waiting(object)).length === 0) return;
          const path = { pipeline };
          const run = await followed<Run>(
            await body(
              api.POST('/api/millrace/v1/pipelines/{pipeline}/rejects/replay', {
                params: { path },
                body: { object },
              }),
            ),
          );
          sum.staged += run.balance.staged;
          sum.again += run.balance.rejected_rows;
        },
        1,
      );
      return { ...sum, outcome };
    },
    onSuccess: ({ staged, again, outcome }) => {
      if (staged + again > 0 || outcome.refused.length === 0) {
        done(
          staged + again === 0
            ? 'No failed events wait'
            : `${some(staged, 'event')} ${staged === 1 ? 'is' : 'are'} on the way${again ? `, ${count(again)} failed again` : ''}`,
        );
      }
      came('Replay failed events', outcome);
    },
    onError: failed,
    onSettled: settled,
  });
  const giveUp = async (objects: readonly string[]) => {
    let gone = 0;
    const outcome = await each(objects, async (object) => {
      if ((await waiting(object)).length === 0) return;
      const { rows } = await body(
        api.POST('/api/millrace/v1/rejects/discard', { body: { pipeline, object } }),
      );
      // Not in one line with the question: others are on their way too.
      gone += rows;
    });
    if (gone > 0 || outcome.refused.length === 0)
      done(gone === 0 ? 'No failed events wait' : `${some(gone, 'event')} given up`);
    came('Give up failed events', outcome);
    settled();
  };
  return { replay, giveUp };
}
