import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { api, body } from '~/api/client';
import { type Kind, standingQuery } from './questions';

const PAUSE_MS = 800;

/** The text that is worked on. What is typed is kept as the draft after a pause, and when the screen is left. */
export function useDraft(pipeline: string, first: { kind: Kind; text: string }, may: boolean) {
  const client = useQueryClient();
  const [now, setNow] = useState(first);
  const [dirty, setDirty] = useState(false);
  const pending = useRef<{ kind: Kind; text: string } | null>(null);
  const save = useMutation({
    mutationFn: (asked: { kind: Kind; text: string }) =>
      body(
        api.PUT('/api/millrace/v1/pipelines/{pipeline}/transformation/draft', {
          params: { path: { pipeline } },
          body: asked,
        }),
      ),
    onSuccess: (draft, asked) => {
      if (pending.current === null || pending.current === asked) setDirty(false);
      client.setQueryData(standingQuery(pipeline).queryKey, (old) => old && { ...old, draft });
    },
  });
  const { mutate } = save;
  const change = (kind: Kind, text: string) => {
    setNow({ kind, text });
    if (!may) return;
    pending.current = { kind, text };
    setDirty(true);
  };
  useEffect(() => {
    if (!dirty || now.text === '') return;
    const timer = setTimeout(() => {
      pending.current = null;
      mutate(now);
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [now, dirty, mutate]);
  useEffect(
    () => () => {
      if (pending.current) mutate(pending.current);
    },
    [mutate],
  );
  return { ...now, change, saving: dirty || save.isPending, error: save.error };
}
