import { expect, test } from 'vitest';
import { blocksOf } from './markdown';

test('rows of a table are lines of a list, without the names of its columns', () => {
  const table = [
    '`url` says it:',
    '',
    '| `url` | beside it |',
    '|---|---|',
    '| `/data` | nothing |',
    '| `s3://x` | a key |',
  ];
  expect(blocksOf(table.join('\n'))).toEqual([
    { kind: 'text', text: '`url` says it:' },
    { kind: 'list', ordered: false, items: ['`/data`: nothing', '`s3://x`: a key'] },
  ]);
});
