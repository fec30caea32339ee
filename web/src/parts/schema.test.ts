import { expect, test } from 'vitest';
import { fieldsOf, isAsked } from './schema';

test('a setting that may be on, off or left out is chosen, and one that is always on or off is switched', () => {
  const properties = {
    failover_slot: { anyOf: [{ type: 'boolean' }, { type: 'null' }], default: null },
    use_ssl: { type: 'boolean', default: false },
    variant: { enum: ['generic', 'rds'], type: 'string' },
  };
  const found = fieldsOf({ properties }, [], false).map(({ key, kind, choices }) => [key, kind, choices]);
  expect(found).toEqual([
    ['failover_slot', 'choice', [true, false]],
    ['use_ssl', 'switch', []],
    ['variant', 'choice', ['generic', 'rds']],
  ]);
});

test('a file of names is told from other files', () => {
  const properties = {
    events_file: { anyOf: [{ type: 'string' }, { type: 'null' }], format: 'path', 'x-names': true },
    key_file: { type: 'string', format: 'path' },
  };
  const found = fieldsOf({ properties }, [], true).map(({ key, kind, names }) => [key, kind, names]);
  expect(found).toEqual([
    ['events_file', 'file', true],
    ['key_file', 'file', false],
  ]);
});

test('a setting that another one calls for is asked for where that is so, and stays where it says something', () => {
  const properties = {
    url: { type: 'string' },
    region: { type: 'string', 'x-when': { url: '^s3://', path: '^s3://' } },
  };
  const [url, region] = fieldsOf({ properties, required: ['url'] }, [], false);
  if (!url || !region) throw new Error('fields are missing');
  expect([url.when.length, region.first]).toEqual([0, true]);
  expect(isAsked(url, {})).toBe(true);
  expect(isAsked(region, {})).toBe(false);
  expect(isAsked(region, { url: 'gs://bucket' })).toBe(false);
  expect(isAsked(region, { url: 's3://bucket' })).toBe(true);
  expect(isAsked(region, { url: '/srv/files', region: 'eu-west-1' })).toBe(true);
});
