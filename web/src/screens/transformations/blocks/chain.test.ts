import { describe, expect, it } from 'vitest';
import { type Block, type Chain, chainOf, inserted, laidOut, moved, removed, textOf } from './chain';

const block = (type: string): Block => ({ type });
const chain = (...types: string[]): Chain => ({ kind: 'DRAG_DROP', version: 1, blocks: types.map(block) });
const types = (blocks: Block[] | undefined) => blocks?.map((one) => one.type);

describe('a chain of blocks', () => {
  it('keeps what stood behind a new If-Else in its true branch', () => {
    const next = inserted(chain('A', 'B'), { way: [], index: 1 }, { type: 'IF_ELSE', false: [] });
    expect(types(next.blocks)).toEqual(['A', 'IF_ELSE']);
    expect(types(next.blocks[1]?.true)).toEqual(['B']);
  });
  it('has each block once wherever it is moved, and none moves into itself', () => {
    const split = inserted(chain('A', 'B'), { way: [], index: 1 }, { type: 'IF_ELSE', false: [] });
    const into = moved(split, { way: [], index: 0 }, { way: [1, 'false'], index: 0 });
    expect(types(into.blocks)).toEqual(['IF_ELSE']);
    expect([types(into.blocks[0]?.true), types(into.blocks[0]?.false)]).toEqual([['B'], ['A']]);
    expect(moved(split, { way: [], index: 1 }, { way: [1, 'true'], index: 0 })).toBe(split);
    expect(types(moved(chain('A', 'B', 'C'), { way: [], index: 0 }, { way: [], index: 2 }).blocks)).toEqual([
      'B',
      'A',
      'C',
    ]);
  });
  it('is drawn with a place to add at each end, and none behind an If-Else', () => {
    const { spots } = laidOut(inserted(chain('A'), { way: [], index: 1 }, { type: 'IF_ELSE' }));
    expect(spots.filter((one) => one.kind === 'slot')).toHaveLength(4);
    expect(new Set(spots.map((one) => one.id)).size).toBe(spots.length);
  });
  it('is read as it was written, and what is none is told from it', () => {
    expect(chainOf(textOf(removed(chain('A'), { way: [], index: 0 })))?.blocks).toEqual([]);
    expect([chainOf('nothing'), chainOf('{}')]).toEqual([null, null]);
  });
});
