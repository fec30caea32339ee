/** As much of Markdown as the guides of connectors use. */

export type Block =
  | { kind: 'heading' | 'text' | 'code'; text: string }
  | { kind: 'list'; ordered: boolean; items: string[] };

export interface Span {
  kind: 'text' | 'code' | 'strong' | 'link';
  text: string;
  href?: string;
}

/** Headings, paragraphs, lists, code and tables (whose rows become lines of a list). */
export function blocksOf(text: string): Block[] {
  const found: Block[] = [];
  let paragraph: string[] = [];
  let fence: string[] | null = null;
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
    const heading = /^#{1,6}\s+(.*)$/.exec(line);
    const item = /^\s*(?:([-*])|\d+\.)\s+(.*)$/.exec(line);
    const row = /^\|(.+)\|\s*$/.exec(line);
    const last = found.at(-1);
    if (heading?.[1]) {
      flush();
      found.push({ kind: 'heading', text: heading[1] });
    } else if (item?.[2] !== undefined) {
      flush();
      const ordered = item[1] === undefined;
      const before = found.at(-1);
      if (before?.kind === 'list' && before.ordered === ordered) before.items.push(item[2]);
      else found.push({ kind: 'list', ordered, items: [item[2]] });
    } else if (row?.[1] !== undefined) {
      flush();
      // What stands above it are the names of columns, which say nothing beside one row.
      if (/^[\s|:-]+$/.test(row[1])) {
        if (last?.kind === 'list') last.items.pop();
        continue;
      }
      const cells = row[1].split('|').map((cell) => cell.trim());
      const words = cells.filter(Boolean).join(': ');
      const before = found.at(-1);
      if (before?.kind === 'list' && !before.ordered) before.items.push(words);
      else found.push({ kind: 'list', ordered: false, items: [words] });
    } else if (line.trim() === '') flush();
    else if (/^\s{2,}/.test(line) && last?.kind === 'list' && paragraph.length === 0) {
      last.items[last.items.length - 1] += ` ${line.trim()}`;
    } else paragraph.push(line.trim());
  }
  flush();
  return found;
}

/** Code, strong words and links to the web; everything else is text. */
export function spansOf(text: string): Span[] {
  const found: Span[] = [];
  let rest = text;
  while (rest) {
    const hit = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)\s]+)\)|\*([^*\s][^*]*)\*/.exec(rest);
    if (!hit) break;
    if (hit.index > 0) found.push({ kind: 'text', text: rest.slice(0, hit.index) });
    if (hit[1] !== undefined) found.push({ kind: 'code', text: hit[1] });
    else if (hit[2] !== undefined) found.push({ kind: 'strong', text: hit[2] });
    else if (hit[3] !== undefined) {
      const href = hit[4] ?? '';
      found.push(
        /^https?:\/\//.test(href) ? { kind: 'link', text: hit[3], href } : { kind: 'text', text: hit[3] },
      );
    } else if (hit[5] !== undefined) found.push({ kind: 'strong', text: hit[5] });
    rest = rest.slice(hit.index + hit[0].length);
  }
  if (rest) found.push({ kind: 'text', text: rest });
  return found;
}
