import { describe, expect, it } from 'vitest';
import { explained, type Reconciliation, scope, unexplained } from './comparison';

const row = (name: string, source_rows: number, table_rows: number, causes: [string, number][] = []) => ({
  name,
  day: '2026-11-29',
  source_rows,
  table_rows,
  causes: causes.map(([code, rows]) => ({ code, rows, message: code })),
});
const found = (compared: Reconciliation['compared'], ranges = true): Reconciliation => ({
  pipeline: 'Orders',
  stream: 'orders',
  table: 'orders',
  timezone: 'Asia/Kolkata',
  compared,
  unreadable: {},
  rejected: {},
  again: [],
  ranges,
});

describe('a comparison', () => {
  it('is of ranges as they are now, or of days in the zone of the source', () => {
    expect(scope(found([]))).toBe('ranges of the key, as they are now');
    expect(scope(found([], false))).toBe('days in Asia/Kolkata');
  });

  it('says what no cause accounts for, in ranges that have more and in those that have less', () => {
    const rows = [row('id from 1 to 50', 50, 47, [['rejected', 2]]), row('id from 51', 10, 12)];
    expect(rows.map(unexplained)).toEqual([1, -2]);
    expect(explained(found(rows))).toBe('60 at the source, 59 in the table: 3 not explained');
  });

  it('is at its end where every difference has its cause, or there is none', () => {
    expect(explained(found([row('all rows', 5, 3, [['late', 2]])]))).toContain(
      'every difference is explained',
    );
    expect(explained(found([row('all rows', 5, 5)]))).toContain('nothing is missing');
  });
});
