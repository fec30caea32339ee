import { expect, test } from 'vitest';
import { type Change, changed, opposite, type Wanted } from './wishes';

const USUAL: Wanted = { categories: null, least: 'INFO', quiet: null };
const quiet = { start: '22:00', end: '07:00', time_zone: 'Europe/Berlin' };

test('what is usual stays usual when a kind is left out and comes back', () => {
  const less = changed(USUAL, { wish: 'category', category: 'usage', on: false });
  expect(less.categories).toEqual(['pipeline', 'destination', 'failed_events', 'schema']);
  expect(changed(less, { wish: 'category', category: 'usage', on: true })).toEqual(USUAL);
  expect(changed(USUAL, { wish: 'category', category: 'load', on: true }).categories).toHaveLength(6);
});

test('a change that is taken back leaves those that were made since', () => {
  const first: Change = { wish: 'category', category: 'schema', on: false };
  for (const later of [
    { wish: 'category', category: 'load', on: true },
    { wish: 'least', least: 'ERROR' },
    { wish: 'quiet', quiet },
  ] satisfies Change[]) {
    const both = changed(changed(USUAL, first), later);
    expect(changed(both, opposite(USUAL, first))).toEqual(changed(USUAL, later));
    expect(changed(both, opposite(USUAL, later))).toEqual(changed(USUAL, first));
  }
});
