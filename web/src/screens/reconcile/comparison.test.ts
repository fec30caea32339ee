import { describe, expect, it } from 'vitest';
import {
  alike,
  byKeys,
  dayOf,
  explained,
  type Reconciliation,
  remedy,
  scope,
  type Unlike,
  unexplained,
  type Values,
} from './comparison';

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
  values: null,
});
const unlike = (kind: Unlike['kind'], rows: number): Unlike => ({
  name: 'all rows',
  kind,
  rows,
  first: '1',
  last: '9',
  columns: {},
});
const values = (rows: Unlike[], more: Partial<Values> = {}): Values => ({
  rows: 1000,
  unlike: rows,
  why_not: '',
  read_again: 0,
  why_whole: '',
  items: {},
  left_out: {},
  ...more,
});

describe('a comparison', () => {
  it('is since a day, and since nothing that is none', () => {
    expect(dayOf('2024-02-29')).toBe('2024-02-29');
    for (const none of [null, '', 'garbage', '2024', '2023-02-29', '2024-02-29T10:00:00Z', '12024-01-01'])
      expect(dayOf(none)).toBe('');
  });

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

  it('of values says how many rows are alike, or why none were compared', () => {
    expect(alike(values([]))).toBe('1,000 rows compared value by value: all alike.');
    const told = alike(values([unlike('other', 2), unlike('missing', 1)], { read_again: 1 }));
    expect(told).toBe('1,000 rows compared value by value: 3 rows not alike. 1 row read once more.');
    const beside = {
      items: { orders_lines: 2500 },
      left_out: { orders_tags: 'orders_tags is not at the destination' },
    };
    expect(alike(values([], beside))).toBe(
      '1,000 rows compared value by value: all alike. Rows of items of arrays: orders_lines 2,500. ' +
        'Not compared: orders_tags is not at the destination.',
    );
    expect(alike(values([], { why_not: 'rows are appended' }))).toBe(
      'Values were not compared: rows are appended.',
    );
  });

  it('offers to read rows once more where that may mend them, and then says what else there is', () => {
    expect(byKeys(null)).toBe(false);
    expect(byKeys(values([unlike('other', 2)]))).toBe(true);
    expect(remedy(values([unlike('other', 2)]))).toBe('');
    expect(byKeys(values([unlike('extra', 2)]))).toBe(false);
    expect(remedy(values([unlike('extra', 2)]))).toContain('in the table alone');
    expect(byKeys(values([unlike('other', 2)], { read_again: 2 }))).toBe(false);
    expect(remedy(values([unlike('other', 2)], { read_again: 2 }))).toContain('into a fresh table');
    expect(remedy(values([unlike('other', 2)], { why_whole: 'more than 9 rows differ' }))).toContain(
      'more than 9',
    );
  });
});
