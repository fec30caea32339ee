/** A chain of blocks as a tree, what can be done to it, and where its parts stand on the canvas. */
import { exactly } from '~/api/exact';

export interface Filter {
  on: string;
  field?: string | null;
  op?: string | null;
  value?: unknown;
  /** Of a range alone. */
  from?: unknown;
  to?: unknown;
  inclusive?: boolean | null;
}

/** What an If-Else asks of an event: all parts hold, or one of them does. A part may be such a group itself. */
export interface Group {
  all?: readonly Part[] | null;
  any?: readonly Part[] | null;
}
export type Part = Filter | Group;

export interface Block {
  id?: string;
  type: string;
  settings?: Record<string, unknown>;
  event_filters?: Filter[];
  field_filters?: Filter[];
  condition?: Group | Filter[];
  true?: Block[];
  false?: Block[];
}

export interface Chain {
  kind: 'DRAG_DROP';
  version: 1;
  blocks: Block[];
}

export const isFilter = (part: Part): part is Filter => 'on' in part;

/** The parts of a condition, and whether all of them must hold or any; a list alone is all. */
export function partsOf(condition: Block['condition']): { parts: readonly Part[]; how: 'all' | 'any' } {
  if (Array.isArray(condition)) return { parts: condition, how: 'all' };
  const { all, any } = (condition ?? {}) as Group;
  return any ? { parts: any, how: 'any' } : { parts: all ?? [], how: 'all' };
}

/** The way to a list of blocks: of a branch, the numbers and names that lead to it from the first list. */
export type Way = readonly (number | 'true' | 'false')[];

export interface Place {
  way: Way;
  index: number;
}

/** The chain of a text; null where the text is none. A list alone is its blocks. */
export function chainOf(text: string): Chain | null {
  try {
    const found = exactly<Chain | Block[]>(text);
    if (Array.isArray(found)) return { kind: 'DRAG_DROP', version: 1, blocks: found };
    return Array.isArray(found?.blocks) ? found : null;
  } catch {
    return null;
  }
}

export const textOf = (chain: Chain): string => JSON.stringify(chain, null, 2);

const copied = (chain: Chain): Chain => exactly(JSON.stringify(chain));

function listAt(chain: Chain, way: Way): Block[] {
  let list = chain.blocks;
  for (let at = 0; at + 1 < way.length; at += 2) {
    const block = list[way[at] as number];
    const branch = way[at + 1] as 'true' | 'false';
    if (!block) return [];
    block[branch] ??= [];
    list = block[branch];
  }
  return list;
}

export const blockAt = (chain: Chain, { way, index }: Place): Block | undefined => listAt(chain, way)[index];

/** The chain with a block at a place. An If-Else ends its chain: what stood behind it goes into its true branch. */
export function inserted(chain: Chain, { way, index }: Place, block: Block): Chain {
  const next = copied(chain);
  const list = listAt(next, way);
  const put = { ...block };
  if (put.type === 'IF_ELSE') put.true = [...(put.true ?? []), ...list.splice(index)];
  list.splice(index, 0, put);
  return next;
}

export function removed(chain: Chain, { way, index }: Place): Chain {
  const next = copied(chain);
  listAt(next, way).splice(index, 1);
  return next;
}

export function replaced(chain: Chain, { way, index }: Place, block: Block): Chain {
  const next = copied(chain);
  listAt(next, way)[index] = block;
  return next;
}

/** The chain with a block elsewhere; itself where a block would go into its own branch. */
export function moved(chain: Chain, from: Place, to: Place): Chain {
  const inside = [...from.way, from.index].every((step, at) => to.way[at] === step);
  const block = blockAt(chain, from);
  if (inside || !block) return chain;
  const sameList = to.way.length === from.way.length && to.way.every((step, at) => from.way[at] === step);
  if (sameList && block.type === 'IF_ELSE') return chain;
  const without = removed(chain, from);
  // Numbers behind the block count one less, in its own list and on the way through it.
  const shifted = from.way.every((step, at) => to.way[at] === step);
  const at = from.way.length;
  const way = to.way.map((step, level) =>
    shifted && level === at && typeof step === 'number' && step > from.index ? step - 1 : step,
  );
  const index = sameList && to.index > from.index ? to.index - 1 : to.index;
  return inserted(without, { way, index }, block);
}

export interface Spot {
  kind: 'start' | 'block' | 'slot';
  id: string;
  x: number;
  y: number;
  place: Place;
  block?: Block;
}

export interface Line {
  from: string;
  to: string;
  label?: string;
}

const COLUMN = 280;
const ROW = 84;
const SLOT = 44;

const wide = (blocks: readonly Block[]): number =>
  Math.max(
    1,
    ...blocks.map((one) => (one.type === 'IF_ELSE' ? wide(one.true ?? []) + wide(one.false ?? []) : 1)),
  );

/** Where everything stands: chains from above to below, branches beside each other. */
export function laidOut(chain: Chain): { spots: Spot[]; lines: Line[] } {
  const spots: Spot[] = [{ kind: 'start', id: 'start', x: 0, y: 0, place: { way: [], index: 0 } }];
  const lines: Line[] = [];
  const put = (blocks: readonly Block[], way: Way, x: number, y: number, above: string, label?: string) => {
    let last = above;
    let down = y;
    const slot = (index: number) => {
      const id = `slot ${[...way, index].join(' ')}`;
      spots.push({ kind: 'slot', id, x, y: down, place: { way, index } });
      lines.push({ from: last, to: id, label: index === 0 ? label : undefined });
      last = id;
      down += SLOT;
    };
    blocks.forEach((block, index) => {
      slot(index);
      const id = `block ${[...way, index].join(' ')}`;
      spots.push({ kind: 'block', id, x, y: down, place: { way, index }, block });
      lines.push({ from: last, to: id });
      last = id;
      down += ROW;
      if (block.type !== 'IF_ELSE') return;
      const [yes, no] = [block.true ?? [], block.false ?? []];
      const all = wide(yes) + wide(no);
      const left = x - ((all - wide(yes)) / 2) * COLUMN;
      const right = x + ((all - wide(no)) / 2) * COLUMN;
      put(yes, [...way, index, 'true'], left, down + 16, id, 'if so');
      put(no, [...way, index, 'false'], right, down + 16, id, 'else');
    });
    if (blocks.at(-1)?.type !== 'IF_ELSE') slot(blocks.length);
  };
  put(chain.blocks, [], 0, 60, 'start');
  return { spots, lines };
}
