import { expect, test } from 'vitest';
import { each, without } from './each';

test('one that refuses keeps no other from it, and all are told in their order', async () => {
  const asked: string[] = [];
  const outcome = await each(
    ['a', 'b', 'c', 'd'],
    async (name) => {
      asked.push(name);
      if (name === 'b')
        throw Object.assign(new Error('409'), {
          fault: { code: 'wrong_state', message: 'b is paused', hint: 'Resume it.' },
        });
      if (name === 'd') throw new Error('the line is cut');
    },
    2,
  );
  expect(asked.sort()).toEqual(['a', 'b', 'c', 'd']);
  expect(outcome.ok).toEqual(['a', 'c']);
  expect(outcome.refused.map(({ name, problem }) => [name, problem.message, problem.hint ?? null])).toEqual([
    ['b', 'b is paused', 'Resume it.'],
    ['d', 'the line is cut', null],
  ]);
});

test('no more are on their way at once than may be', async () => {
  let now = 0;
  let most = 0;
  await each(
    Array.from({ length: 20 }, (_, number) => `${number}`),
    async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      now--;
    },
    3,
  );
  expect(most).toBe(3);
  expect(await each([], async () => undefined)).toEqual({ ok: [], refused: [] });
});

test('what was done is chosen no more', () => {
  expect(without({ a: true, b: true }, ['a', 'c'])).toEqual({ b: true });
});
