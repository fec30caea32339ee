/** Which operators go with what a filter looks at, what each of them is given, and a block in a line. */
import { type Block, type Filter, isFilter, type Part, partsOf } from './chain';

const RANGES = ['IN_RANGE', 'NOT_IN_RANGE'];
const EMPTY = ['IS_EMPTY', 'IS_NOT_EMPTY'];
const OF_EVENTS = ['HAS_FIELD', 'DOES_NOT_HAVE_FIELD'];
const OF_VALUES = ['IS_NULL', 'IS_NOT_NULL', 'IS_TRUE', 'IS_FALSE'];
const BARE = [...EMPTY, ...OF_EVENTS, ...OF_VALUES];

export const isRange = (op: string | null | undefined): boolean => RANGES.includes(op ?? '');
export const isBare = (op: string | null | undefined): boolean => BARE.includes(op ?? '');

/** Those that the server takes: names are text, and whether a field is there is asked of events. */
export function operatorsOf(on: string, operators: readonly string[]): readonly string[] {
  if (on === 'EVENT_TYPE' || on === 'FIELD_NAME')
    return operators.filter((op) => !isRange(op) && (EMPTY.includes(op) || !isBare(op)));
  return on === 'FIELD_VALUE' ? operators.filter((op) => !OF_EVENTS.includes(op)) : operators;
}

/** The filter with another operator: what that one is given stays, and nothing else. */
export function compared({ value, from, to, inclusive, ...rest }: Filter, op: string): Filter {
  if (isRange(op))
    return { ...rest, op, from: from ?? '', to: to ?? '', ...(inclusive === false && { inclusive }) };
  return isBare(op) ? { ...rest, op } : { ...rest, op, value: value ?? '' };
}

/** The filter of something else, with an operator that goes with it. */
export function about({ field, ...rest }: Filter, on: string, operators: readonly string[]): Filter {
  const op = rest.op ?? 'EQUALS';
  const kept = operatorsOf(on, operators).includes(op) ? op : 'EQUALS';
  return compared({ ...rest, on, ...(on === 'EVENT_FIELD' && { field: field ?? '' }) }, kept);
}

const text = (value: unknown): string => (value === undefined || value === null ? '' : String(value));

const said = (one: Part): string => {
  if (!isFilter(one)) return `(${together(one)})`;
  const range = one.from === undefined && one.to === undefined ? '' : `${text(one.from)} … ${text(one.to)}`;
  return [one.field, one.op?.replaceAll('_', ' ').toLowerCase() ?? '', text(one.value), range]
    .filter(Boolean)
    .join(' ');
};

const together = (condition: Block['condition']): string => {
  const { parts, how } = partsOf(condition);
  return parts.map(said).join(how === 'any' ? ' or ' : ' and ');
};

/** A block in a line: what it is for, and with what. */
export function summary(block: Block): string {
  const filters = [...(block.event_filters ?? []), ...(block.field_filters ?? [])];
  const settings = Object.values(block.settings ?? {}).filter(
    (one) => one !== '' && one !== null && one !== false,
  );
  const parts = [
    settings.map(String).join(', '),
    together(block.condition),
    filters.map(said).join(' and '),
  ].filter(Boolean);
  return parts.join(' · ') || 'all events';
}
