import { describe, expect, it } from 'vitest';
import { monthOf, offered, told } from './months';

const NOW = new Date('2026-11-30T01:00:00Z');

describe('a month', () => {
  it('ends where the next one begins, over the end of a year too', () => {
    const { since, until } = monthOf('2025-12', NOW);
    expect([since.toISOString(), until.toISOString()]).toEqual([
      '2025-12-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z',
    ]);
  });
  it('is the present one where an address names none, or one that has not begun', () => {
    for (const name of [null, '', '2026-13', 'soon', '2026-12'])
      expect(monthOf(name, NOW).name).toBe('2026-11');
    expect(monthOf('2026-11', NOW).name).toBe('2026-11');
  });
  it('is offered beside those of two years, however old it is', () => {
    const names = offered(monthOf('2020-02', NOW), NOW);
    expect([names[0], names[1], names.at(-1), names.length]).toEqual(['2026-11', '2026-10', '2020-02', 25]);
    expect(offered(monthOf(null, NOW), NOW)).toHaveLength(24);
    expect(told('2026-02')).toBe('February 2026');
  });
});
