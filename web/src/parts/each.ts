/** The same, done with several things: each by itself, so that one that refuses keeps no other from it. */
import type { Problem } from '~/api/client';

export interface Why {
  message: string;
  hint?: string | null;
}

export interface Outcome {
  ok: readonly string[];
  /** `error`: as it was thrown. */
  refused: readonly { name: string; problem: Why; error?: Error }[];
}

/** So many requests are on their way at once. */
const AT_ONCE = 6;

export async function each(
  names: readonly string[],
  ask: (name: string) => Promise<unknown>,
  atOnce = AT_ONCE,
): Promise<Outcome> {
  const errors = new Map<string, Error>();
  let next = 0;
  const work = async () => {
    for (let name = names[next++]; name !== undefined; name = names[next++]) {
      try {
        await ask(name);
      } catch (error) {
        errors.set(name, error as Error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, names.length) }, work));
  return {
    ok: names.filter((name) => !errors.has(name)),
    refused: names.flatMap((name) => {
      const error = errors.get(name);
      return error ? [{ name, problem: whyOf(error), error }] : [];
    }),
  };
}

/** In the words of the API, where they are its. */
const whyOf = (error: Error): Why => (error as Partial<Problem>).fault ?? { message: error.message };

/** What is still chosen: what was done is not. */
export const without = (chosen: Record<string, true>, names: readonly string[]): Record<string, true> => {
  const left = { ...chosen };
  for (const name of names) delete left[name];
  return left;
};
