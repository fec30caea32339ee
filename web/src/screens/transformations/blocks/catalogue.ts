/** Which blocks there are, in the words of the server's JSON Schema, and how they are shown. */
import { queryOptions } from '@tanstack/react-query';
import { api, body } from '~/api/client';
import type { Block } from './chain';

export interface Property {
  description?: string;
  title?: string;
  type?: string;
  enum?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  anyOf?: Property[];
}

export interface Kind {
  type: string;
  label: string;
  told: string;
  settings: Record<string, Property>;
  required: string[];
  hasFieldFilters: boolean;
}

export interface Catalogue {
  kinds: Record<string, Kind>;
  operators: string[];
}

interface Def {
  description?: string;
  properties?: Record<string, Property & { const?: string; $ref?: string }>;
  required?: string[];
}

export const GROUPS: readonly (readonly [title: string, types: readonly string[]])[] = [
  [
    'Events',
    ['ADD_FIELD', 'CHANGE_FIELD_VALUES', 'DROP_EVENTS', 'DROP_FIELDS', 'RENAME_EVENTS', 'RENAME_FIELDS'],
  ],
  ['Control', ['IF_ELSE']],
  ['Dates', ['CHANGE_DATETIME_FIELD_VALUES', 'FORMAT_DATE_TO_STRING', 'PARSE_DATE_FROM_STRING']],
  ['Numbers', ['FORMAT_NUMBER_TO_STRING', 'PARSE_NUMBER_FROM_STRING', 'ROUND_OFF_DECIMAL_FIELDS']],
  ['Text', ['FIND_REPLACE', 'MODIFY_TEXT_CASING', 'SPLIT_FIELDS']],
  ['JSON', ['FLATTEN_JSON', 'PARSE_JSON_FROM_STRING']],
  ['Security', ['HASH_FIELDS', 'MASK_FIELDS', 'TOKENISE_FIELDS', 'DETOKENISE_FIELDS']],
];

export const catalogueQuery = queryOptions({
  queryKey: ['block-schema'],
  staleTime: Number.POSITIVE_INFINITY,
  queryFn: async () => read(await body(api.GET('/api/millrace/v1/transformations/block-schema'))),
});

function read(schema: Record<string, unknown>): Catalogue {
  const defs = schema.$defs as Record<string, Def>;
  const kinds: Record<string, Kind> = {};
  for (const def of Object.values(defs)) {
    const type = def.properties?.type?.const;
    if (!def.properties || !type) continue;
    const settings = defs[def.properties.settings?.$ref?.split('/').at(-1) ?? ''];
    kinds[type] = {
      type,
      label: labelOf(type),
      told: def.description ?? '',
      settings: settings?.properties ?? {},
      required: settings?.required ?? [],
      hasFieldFilters: 'field_filters' in def.properties,
    };
  }
  const op = defs.EventFilter?.properties?.op;
  return { kinds, operators: op?.anyOf?.find((one) => one.enum)?.enum ?? op?.enum ?? [] };
}

export function labelOf(type: string): string {
  if (type === 'IF_ELSE') return 'If-Else';
  const words = type.replaceAll('_', ' ').toLowerCase().replace('json', 'JSON');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A new block with what its settings need, as far as the schema knows it. */
export function fresh(kind: Kind): Block {
  if (kind.type === 'IF_ELSE') return { type: kind.type, condition: { all: [] }, true: [], false: [] };
  const settings = Object.fromEntries(
    kind.required.map((name) => [
      name,
      kind.settings[name]?.enum?.[0] ?? (kind.settings[name]?.type === 'integer' ? 0 : ''),
    ]),
  );
  return Object.keys(kind.settings).length ? { type: kind.type, settings } : { type: kind.type };
}
