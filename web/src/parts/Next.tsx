import { Ago, useNow } from './Ago';

/** ", next in 12 min": when a pipeline runs by its schedule; nothing while nothing is planned. */
export function Next({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return null;
  if (new Date(at) <= now) return ', due now';
  return (
    <>
      , next <Ago at={at} />
    </>
  );
}
