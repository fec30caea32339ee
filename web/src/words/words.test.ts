import { describe, expect, it } from 'vitest';
import { matching } from '~/app/frame/commands';
import { rules } from '~/screens/welcome/rules';
import { agent } from './agents';
import { policy } from './loading';
import { bytes, count, share, some } from './numbers';
import { leftOut } from './rows';
import { sentence, status } from './statuses';
import { duration, relative } from './times';

const NOW = new Date('2026-11-28T18:00:00Z');
const passed = (seconds: number) => relative(new Date(NOW.getTime() - seconds * 1000), NOW);

describe('rows that were left out', () => {
  it('say why, also for reasons that no list knows', () => {
    expect([leftOut('repeated'), leftOut('unknown_column')]).toEqual([
      'were read before',
      'by the mapping: unknown column',
    ]);
  });
});

describe('times', () => {
  it('are told in their largest unit, and never rounded up to one that has not passed', () => {
    expect([passed(0), passed(42), passed(119), passed(3599)]).toEqual([
      'now',
      '42 s ago',
      '1 min ago',
      '59 min ago',
    ]);
    expect([passed(3600), passed(86_399), passed(86_400), passed(172_800)]).toEqual([
      '1 h ago',
      '23 h ago',
      '1 day ago',
      '2 days ago',
    ]);
  });
  it('to come are told as such, and those long gone as a day', () => {
    expect(passed(-7200)).toBe('in 2 h');
    expect(passed(40 * 86_400)).toBe('19 Oct 2026');
  });
  it('that things took have a digit more while they are short', () => {
    expect([duration(0), duration(999), duration(1500), duration(61_000)]).toEqual([
      '0 ms',
      '999 ms',
      '1.5 s',
      '1 min',
    ]);
  });
});

describe('numbers', () => {
  it('have their digits in groups, and the word in its number', () => {
    expect([count(12481), some(1, 'row'), some(0, 'row'), bytes(1), bytes(1_440_000)]).toEqual([
      '12,481',
      '1 row',
      '0 rows',
      '1 byte',
      '1.4 MB',
    ]);
  });
  it('of shares say neither nothing nor all before it is so', () => {
    expect([share(0), share(0.0001), share(0.5), share(0.9999), share(1)]).toEqual([
      '0%',
      '1%',
      '50%',
      '99%',
      '100%',
    ]);
  });
});

describe('statuses', () => {
  it('that are new here are shown by their own name', () => {
    expect(status('COMPLETED').tone).toBe('well');
    expect(status('SOMETHING_NEW')).toEqual({ tone: 'quiet', word: sentence('SOMETHING_NEW') });
  });
});

describe('policies', () => {
  it("are told by what they do, presets and those of one's own", () => {
    expect(policy('ALLOW_ALL')).toBe('take in everything');
    expect(policy('tables=evolve columns=discard_value types=freeze')).toBe(
      'a field without a column: load the row without it; a value that its column cannot hold: let the row wait as a failed event',
    );
  });
});

describe('the palette', () => {
  const named = (label: string) => ({
    label,
    kind: 'Pipeline',
    icon: (() => null) as never,
    to: `/${label}`,
  });
  it('finds names by all words, those that begin with the text first', () => {
    const all = ['My events', 'Events to warehouse', 'Event', 'Orders'].map(named);
    expect(matching(all, 'event').map((one) => one.label)).toEqual([
      'Event',
      'Events to warehouse',
      'My events',
    ]);
    expect(matching(all, 'ware ev').map((one) => one.label)).toEqual(['Events to warehouse']);
    expect(matching(all, '')).toHaveLength(4);
  });
});

describe('passwords', () => {
  it('are asked for what the server asks of them', () => {
    const unmet = (text: string) => rules(text).filter((rule) => !rule.met).length;
    expect([unmet(''), unmet('Correct-horse-7'), unmet('correct-horse-7')]).toEqual([5, 0, 1]);
  });
});

describe('sessions', () => {
  it('are named by the browser and its system, programs by their own name', () => {
    expect(
      [
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36',
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 Edg/142.0',
        'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1',
        'python-httpx/0.28.1',
        null,
      ].map(agent),
    ).toEqual(['Chrome on Linux', 'Edge on Windows', 'Safari on iPhone', 'python-httpx', 'A program']);
  });
});
