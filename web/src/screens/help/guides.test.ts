import { expect, test } from 'vitest';
import { GROUPS } from './groups';
import { pageOf, texts } from './guides';

const pages = GROUPS.flatMap(({ pages }) => pages);

test('every page that comes with this version is listed once, by its own title', async () => {
  expect(pages.map(({ name }) => name).sort()).toEqual([...texts.keys()].sort());
  for (const { name, title } of pages) {
    expect([name, /^# .*$/m.exec((await texts.get(name)?.()) ?? '')?.[0]]).toEqual([name, `# ${title}`]);
  }
});

test('links lead to pages that are there, and to nothing else', () => {
  expect(pageOf('usage.md#limits')).toEqual({ name: 'usage', hash: 'limits' });
  expect(pageOf('../reference/errors.md')).toEqual({ name: 'errors', hash: '' });
  expect([
    pageOf('../../src/millrace/sources/files/README.md'),
    pageOf('../screenshots/x.png'),
    pageOf('#a'),
  ]).toEqual([null, null, null]);
});
