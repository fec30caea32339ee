import { expect, test } from 'vitest';
import { blocksOf, spansOf } from './markdown';

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

test('a list that an example divides goes on with its number', () => {
  const list = ['1. Name it:', '```', 'path: x', '```', '2. Check it'];
  expect(blocksOf(list.join('\n'))).toEqual([
    { kind: 'list', ordered: true, start: 1, items: ['Name it:'] },
    { kind: 'code', text: 'path: x' },
    { kind: 'list', ordered: true, start: 2, items: ['Check it'] },
  ]);
});

test('an address between angle brackets is a link', () => {
  expect(spansOf('See <https://duckdb.org/docs/>, <name>.')).toEqual([
    { kind: 'text', text: 'See ' },
    { kind: 'link', text: 'https://duckdb.org/docs/', href: 'https://duckdb.org/docs/' },
    { kind: 'text', text: ', <name>.' },
  ]);
});
