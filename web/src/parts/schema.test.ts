import { expect, test } from 'vitest';
import { fieldsOf, isAsked, matches, type Settings } from './schema';

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
    events_file: {
      anyOf: [{ type: 'string' }, { type: 'null' }],
      format: 'path',
      'x-names': { event_source: '^(schema|both)$' },
    },
    event_source: { enum: ['file', 'schema', 'both'], type: 'string' },
    key_file: { type: 'string', format: 'path' },
  };
  const found = fieldsOf({ properties }, [], true);
  expect(found.map(({ key, kind, names }) => [key, kind, names.length])).toEqual([
    ['events_file', 'file', 1],
    ['event_source', 'choice', 0],
    ['key_file', 'file', 0],
  ]);
  const asks = (value: Settings) => matches(found[0]?.names ?? [], value);
  expect([{}, { event_source: 'file' }, { event_source: 'both' }].map(asks)).toEqual([false, false, true]);
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

test('what a connector says must be seen stands before the rest, and what it knows of is offered', () => {
  const properties = {
    region: { type: 'string', default: 'EU', examples: ['EU', 'US'], 'x-first': true },
    project_id: { type: 'string', examples: ['AAA-BBB-CCCC'] },
  };
  const found = fieldsOf({ properties, required: ['project_id'] }, [], false);
  expect(found.map(({ key, first, known }) => [key, first, known])).toEqual([
    ['project_id', true, []],
    ['region', true, ['EU', 'US']],
  ]);
});
