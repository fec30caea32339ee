/** The texts of the guides: each is fetched from the server itself, when it is opened. */

const files = import.meta.glob<string>(
  ['/../docs/guides/*.md', '/../docs/reference/{connectors,errors,pipelines,types}.md'],
  { query: '?raw', import: 'default' },
);

/** How the text of each page is fetched, by its name. */
export const texts = new Map(
  Object.entries(files).map(([path, read]) => [nameOf(path) ?? path, read] as const),
);

/** The page that a link of a page leads to, with its place in it; null where there is none. */
export function pageOf(href: string): { name: string; hash: string } | null {
  const [path = '', hash = ''] = href.split('#');
  const name = nameOf(path);
  return name !== null && texts.has(name) ? { name, hash } : null;
}

function nameOf(path: string): string | null {
  return /(?:^|\/)([\w-]+)\.md$/.exec(path)?.[1] ?? null;
}
