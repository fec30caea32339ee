import { expect, test } from 'vitest';
import { blocksOf } from './markdown';

test('rows of a table have the names of its columns above them, and another table begins anew', () => {
  const table = [
    '`url` says it:',
    '',
    '| `url` | beside it |',
    '|---|---|',
    '| `/data` | nothing |',
    '| `s3://x` | a key |',
    '',
    '![A picture](x.png)',
    '| a | b |',
    '|---|---|',
  ];
  expect(blocksOf(table.join('\n'))).toEqual([
    { kind: 'text', text: '`url` says it:' },
    {
      kind: 'table',
      head: ['`url`', 'beside it'],
      rows: [
        ['`/data`', 'nothing'],
        ['`s3://x`', 'a key'],
      ],
    },
    { kind: 'table', head: ['a', 'b'], rows: [] },
  ]);
});
