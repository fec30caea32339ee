/** As much of Markdown as guides use. */

export type Block =
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'text' | 'code'; text: string }
  | { kind: 'list'; ordered: boolean; start: number; items: string[] }
  | { kind: 'table'; head: string[]; rows: string[][] };

export interface Span {
  kind: 'text' | 'code' | 'strong' | 'link';
  text: string;
  href?: string;
}

/** Headings, paragraphs, lists, code and tables. Pictures are left out. */
export function blocksOf(text: string): Block[] {
  const found: Block[] = [];
  let paragraph: string[] = [];
  let fence: string[] | null = null;
  let follows = false;
  const flush = () => {
    if (paragraph.length) found.push({ kind: 'text', text: paragraph.join(' ') });
    paragraph = [];
  };
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) {
      flush();
      if (fence) found.push({ kind: 'code', text: fence.join('\n') });
      fence = fence ? null : [];
      continue;
    }
    if (fence) {
      fence.push(line);
      continue;
    }
    if (/^!\[.*\]\(.*\)$/.test(line)) continue;
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    const item = /^\s*(?:([-*])|(\d+)\.)\s+(.*)$/.exec(line);
    const row = /^\|(.+)\|\s*$/.exec(line);
    const last = found.at(-1);
    const above = follows;
    follows = row !== null;
    if (heading?.[1] && heading[2]) {
      flush();
      found.push({ kind: 'heading', level: heading[1].length, text: heading[2] });
    } else if (item?.[3] !== undefined) {
      flush();
      const ordered = item[1] === undefined;
      const before = found.at(-1);
      if (before?.kind === 'list' && before.ordered === ordered) before.items.push(item[3]);
      else found.push({ kind: 'list', ordered, start: Number(item[2] ?? 1), items: [item[3]] });
    } else if (row?.[1] !== undefined) {
      flush();
      if (/^[\s|:-]+$/.test(row[1])) continue;
      const cells = row[1].split('|').map((cell) => cell.trim());
      // The first row names the columns.
      if (last?.kind === 'table' && above) last.rows.push(cells);
      else found.push({ kind: 'table', head: cells, rows: [] });
    } else if (line.trim() === '') flush();
    else if (/^\s{2,}/.test(line) && last?.kind === 'list' && paragraph.length === 0) {
      last.items[last.items.length - 1] += ` ${line.trim()}`;
    } else paragraph.push(line.trim());
  }
  flush();
  return found;
}

/** Code, strong words and links; everything else is text. */
export function spansOf(text: string): Span[] {
  const found: Span[] = [];
  let rest = text;
  while (rest) {
    const hit =
      /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)\s]+)\)|\*([^*\s][^*]*)\*|<(https?:\/\/[^>\s]+)>/.exec(
        rest,
      );
    if (!hit) break;
    if (hit.index > 0) found.push({ kind: 'text', text: rest.slice(0, hit.index) });
    if (hit[1] !== undefined) found.push({ kind: 'code', text: hit[1] });
    else if (hit[2] !== undefined) found.push({ kind: 'strong', text: hit[2] });
    else if (hit[3] !== undefined) found.push({ kind: 'link', text: hit[3], href: hit[4] ?? '' });
    else if (hit[5] !== undefined) found.push({ kind: 'strong', text: hit[5] });
    else if (hit[6] !== undefined) found.push({ kind: 'link', text: hit[6], href: hit[6] });
    rest = rest.slice(hit.index + hit[0].length);
  }
  if (rest) found.push({ kind: 'text', text: rest });
  return found;
}
