// After the build: packs each file beside itself for browsers that take it so, and weighs what loads before the first
// screen shows. Too much fails the build.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const MOST_KB = 400;
const WORTH_PACKING_BYTES = 1000;
const folder = new URL('../../src/millrace/rest/web/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8'));

for (const name of readdirSync(folder, { recursive: true })) {
  const file = new URL(name.replaceAll('\\', '/'), folder);
  // The page itself is never packed: it is another one in each answer.
  if (!/\.(js|css|svg)$/.test(name) || statSync(file).size < WORTH_PACKING_BYTES) continue;
  const whole = readFileSync(file);
  writeFileSync(new URL(`${file.href}.br`), brotliCompressSync(whole));
  writeFileSync(new URL(`${file.href}.gz`), gzipSync(whole, { level: 9 }));
}

/** The files of a chunk and of all that it imports at once. */
function files(key, found = new Set(['index.html'])) {
  const chunk = manifest[key];
  if (!chunk || found.has(chunk.file)) return found;
  found.add(chunk.file);
  for (const style of chunk.css ?? []) found.add(style);
  for (const below of chunk.imports ?? []) files(below, found);
  return found;
}

const first = files('src/screens/pipelines/index.tsx', files('index.html'));
// Of the fonts, browsers fetch the Latin part.
const type = readdirSync(new URL('assets/', folder))
  .filter((name) => /^inter-latin-wght.*\.woff2$/.test(name))
  .reduce((sum, name) => sum + statSync(new URL(`assets/${name}`, folder)).size, 0);
const text = [...first].reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, folder))).length, 0);
rmSync(new URL('manifest.json', folder));

const kb = (bytes) => (bytes / 1000).toFixed(0);
console.log(
  `First load: ${kb(text + type)} kB compressed (script and style ${kb(text)}, type ${kb(type)}); at most ${MOST_KB}.`,
);
if (text + type > MOST_KB * 1000) process.exit(1);
