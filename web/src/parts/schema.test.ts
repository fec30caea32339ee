import { expect, test } from 'vitest';
import { fieldsOf } from './schema';

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
