import { describe, expect, it } from 'vitest';
import { partsOf } from './chain';
import { about, compared, operatorsOf, summary } from './filters';

const OPERATORS = ['EQUALS', 'GREATER_THAN', 'IN_RANGE', 'IS_NULL', 'HAS_FIELD', 'IS_EMPTY', 'CONTAINS'];

describe('a filter', () => {
  it('is offered the operators that go with what it looks at', () => {
    expect(operatorsOf('EVENT_FIELD', OPERATORS)).toEqual(OPERATORS);
    expect(operatorsOf('FIELD_NAME', OPERATORS)).toEqual(['EQUALS', 'GREATER_THAN', 'IS_EMPTY', 'CONTAINS']);
    expect(operatorsOf('FIELD_VALUE', OPERATORS)).not.toContain('HAS_FIELD');
  });
  it('has what its operator is given, and nothing else', () => {
    const equals = { on: 'EVENT_FIELD', field: 'price', op: 'EQUALS', value: '5' };
    const range = compared(equals, 'IN_RANGE');
    expect(range).toEqual({ on: 'EVENT_FIELD', field: 'price', op: 'IN_RANGE', from: '', to: '' });
    expect(compared({ ...range, from: '1', to: '9' }, 'NOT_IN_RANGE')).toMatchObject({ from: '1', to: '9' });
    expect(compared(range, 'IS_NULL')).toEqual({ on: 'EVENT_FIELD', field: 'price', op: 'IS_NULL' });
    expect(about(range, 'EVENT_TYPE', OPERATORS)).toEqual({ on: 'EVENT_TYPE', op: 'EQUALS', value: '' });
  });
});

describe('a condition', () => {
  const cheap = { on: 'EVENT_FIELD', field: 'price', op: 'IN_RANGE', from: '1', to: '9' };
  const deals = { on: 'EVENT_TYPE', op: 'EQUALS', value: 'deals' };
  it('is of all its parts or of any, however it was written', () => {
    expect(partsOf([cheap, deals])).toEqual({ parts: [cheap, deals], how: 'all' });
    expect(partsOf({ any: [cheap] })).toEqual({ parts: [cheap], how: 'any' });
    expect(partsOf({ all: [] })).toEqual({ parts: [], how: 'all' });
  });
  it('is told in a line, with the groups in it', () => {
    const condition = { any: [cheap, { all: [deals, deals] }] };
    expect(summary({ type: 'IF_ELSE', condition })).toBe(
      'price in range 1 … 9 or (equals deals and equals deals)',
    );
  });
});
