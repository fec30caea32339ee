import { describe, expect, it } from 'vitest';
import { charted, drawn, isNumber, MOST } from './series';

describe('a result as a chart', () => {
  it('has one value for each row, in its order', () => {
    const rows = [
      ['a', 1, '2.50'],
      ['b', null, 3],
    ];
    const found = charted(['name', 'n', 'amount'], rows, 'name', ['amount', 'n']);
    expect(found).toEqual({
      categories: ['a', 'b'],
      values: [
        [2.5, 3],
        [1, Number.NaN],
      ],
      left: 0,
    });
  });
  it('draws some rows and tells of the others', () => {
    const rows = Array.from({ length: MOST + 7 }, (_, index) => [index]);
    const found = charted(['n'], rows, 'n', ['n']);
    expect([found.categories.length, found.left]).toEqual([MOST, 7]);
  });
  it('knows columns of numbers, and numbers that came as they are written', () => {
    expect(
      ['int64', 'uint8', 'double', 'decimal128(38, 9)', 'string', 'bool'].map((type) => isNumber({ type })),
    ).toEqual([true, true, true, true, false, false]);
    expect(drawn({ rawJSON: '12.50' })).toBe(12.5);
  });
});
