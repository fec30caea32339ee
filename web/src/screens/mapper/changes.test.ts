import { describe, expect, it } from 'vitest';
import {
  bringsOf,
  changes,
  freed,
  ignored,
  isChanged,
  keyed,
  NOTHING,
  placed,
  renamed,
  typed,
  undone,
} from './changes';

describe('changes of a mapping', () => {
  it('are none when they are taken back one by one', () => {
    const some = keyed(typed(renamed(NOTHING, 'a', 'a', 'b'), 'a', 'LONG', 'VARCHAR'), ['__id'], 'a');
    expect([changes(some), some.key]).toEqual([3, ['a']]);
    expect(changes({ ...undone(some, 'a'), key: null })).toBe(0);
    expect(changes(renamed(renamed(NOTHING, 'a', 'a', 'b'), 'a', 'a', 'a'))).toBe(0);
  });
  it('of a field that is left out are not asked for beside', () => {
    const out = ignored(freed(renamed(NOTHING, 'a', 'a', 'b'), 'a'), 'a');
    expect(out).toEqual({ ...NOTHING, ignore: ['a'] });
    expect([isChanged(out, 'a'), isChanged(out, 'b')]).toEqual([true, false]);
  });
  it('of a field without a column are one: it gets one of its type, which follows its values', () => {
    const some = placed(NOTHING, { field: 'a', type: 'LONG', reason: 'UNMAPPED_FIELD' });
    expect([changes(some), some.types, some.free]).toEqual([1, { a: 'LONG' }, ['a']]);
    expect(changes(undone(some, 'a'))).toBe(0);
    expect(placed(NOTHING, { field: 'a', type: null, reason: 'IGNORED' }).unignore).toEqual(['a']);
  });
  it('may follow the type that a warning tells of', () => {
    const message = 'amount brings DECIMAL(38,9); of those perhaps not all fit the column amount (DOUBLE)';
    expect([bringsOf(message), bringsOf('amount has no column')]).toEqual(['DECIMAL(38,9)', null]);
  });
});
