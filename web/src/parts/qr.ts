/** QR codes (ISO/IEC 18004) of short texts: bytes, the lowest level of correction, up to version 12. */

// By version, from 1 on: all codewords, those of each block that correct, blocks.
const TOTAL = [0, 26, 44, 70, 100, 134, 172, 196, 242, 292, 346, 404, 466];
const CHECK = [0, 7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24];
const BLOCKS = [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4];
const MIDDLE = [0, 0, 0, 0, 0, 0, 0, 22, 24, 26, 28, 30, 32];

const MASKS: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

export type Modules = boolean[][];

/** Whether a text is short enough. */
export const fits = (text: string): boolean => sized(new TextEncoder().encode(text)) > 0;

/** The dark modules, row by row, without the quiet zone; null where the text is too long. */
export function qr(text: string): Modules | null {
  const bytes = [...new TextEncoder().encode(text)];
  const version = sized(bytes);
  if (version < 0) return null;
  const words = interleaved(version, framed(version, bytes));
  const drawn = MASKS.map((_, mask) => draw(version, words, mask));
  return drawn.reduce((best, one) => (unrest(one) < unrest(best) ? one : best));
}

/** The least version that holds the bytes; below 0 where none does. */
const sized = (bytes: ArrayLike<number>): number =>
  TOTAL.findIndex((_, one) => one > 0 && bytes.length + (one < 10 ? 2 : 3) <= room(one));

const at = (list: readonly number[], index: number): number => list[index] ?? 0;

/** How many codewords are data. */
const room = (version: number): number => at(TOTAL, version) - at(CHECK, version) * at(BLOCKS, version);

/** The bytes with what says how they are meant and how many they are, filled up. */
function framed(version: number, bytes: readonly number[]): number[] {
  const bits: number[] = [];
  const put = (value: number, length: number) => {
    for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
  };
  put(0b0100, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  put(0, Math.min(4, room(version) * 8 - bits.length));
  put(0, -bits.length & 7);
  const words = Array.from({ length: bits.length / 8 }, (_, word) =>
    bits.slice(word * 8, word * 8 + 8).reduce((sum, bit) => sum * 2 + bit, 0),
  );
  for (let filler = 0xec; words.length < room(version); filler ^= 0xec ^ 0x11) words.push(filler);
  return words;
}

/** Data in blocks, each with what corrects it, one word of each block after the other. */
function interleaved(version: number, data: readonly number[]): number[] {
  const [total, check, count] = [at(TOTAL, version), at(CHECK, version), at(BLOCKS, version)];
  const short = Math.floor(total / count) - check;
  const shorts = count - (total % count);
  const parts: number[][] = [];
  for (let block = 0, from = 0; block < count; block += 1) {
    const size = short + (block < shorts ? 0 : 1);
    parts.push(data.slice(from, from + size));
    from += size;
  }
  const checks = parts.map((part) => remainder(part, check));
  const across = (lists: readonly number[][], length: number) =>
    Array.from({ length }, (_, index) => lists.flatMap((one) => one.slice(index, index + 1))).flat();
  return [...across(parts, short + 1), ...across(checks, check)];
}

/** The product in the field of 256 elements. */
function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((b >> bit) & 1) * a;
  }
  return product;
}

/** Reed-Solomon: what the data leave when they are divided by the polynomial of that degree. */
function remainder(data: readonly number[], degree: number): number[] {
  let divisor = [...Array<number>(degree - 1).fill(0), 1];
  for (let root = 1, power = 0; power < degree; power += 1, root = times(root, 2)) {
    divisor = divisor.map((one, index) => times(one, root) ^ at(divisor, index + 1));
  }
  let left = Array<number>(degree).fill(0);
  for (const byte of data) {
    const factor = byte ^ at(left, 0);
    left = [...left.slice(1), 0].map((one, index) => one ^ times(at(divisor, index), factor));
  }
  return left;
}

/** A value with the bits that correct it. */
function coded(value: number, generator: number, bits: number): number {
  let left = value;
  for (let bit = 0; bit < bits; bit += 1) left = (left << 1) ^ ((left >> (bits - 1)) * generator);
  return (value << bits) | left;
}

function draw(version: number, words: readonly number[], mask: number): Modules {
  const size = version * 4 + 17;
  const dark: Modules = Array.from({ length: size }, () => Array<boolean>(size).fill(false));
  const fixed: Modules = Array.from({ length: size }, () => Array<boolean>(size).fill(false));
  const set = (x: number, y: number, on: boolean) => {
    const [row, kept] = [dark[y], fixed[y]];
    if (!row || !kept || x < 0 || x >= size) return;
    row[x] = on;
    kept[x] = true;
  };
  const rings = (x: number, y: number, radius: number, light: readonly number[]) => {
    for (let dy = -radius; dy <= radius; dy += 1)
      for (let dx = -radius; dx <= radius; dx += 1)
        set(x + dx, y + dy, !light.includes(Math.max(Math.abs(dx), Math.abs(dy))));
  };
  for (let step = 0; step < size; step += 1) {
    set(6, step, step % 2 === 0);
    set(step, 6, step % 2 === 0);
  }
  const last = size - 7;
  const middle = at(MIDDLE, version);
  const places = version === 1 ? [] : [6, ...(middle ? [middle] : []), last];
  const corners = [`6 6`, `6 ${last}`, `${last} 6`];
  for (const x of places) for (const y of places) if (!corners.includes(`${x} ${y}`)) rings(x, y, 2, [1]);
  for (const [x, y] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ] as const)
    rings(x, y, 4, [2, 4]);
  // Level L is 01 there.
  const format = coded((0b01 << 3) | mask, 0x537, 10) ^ 0x5412;
  for (let bit = 0; bit < 15; bit += 1) {
    const on = ((format >> bit) & 1) === 1;
    if (bit < 8) {
      set(8, bit < 6 ? bit : bit + 1, on);
      set(size - 1 - bit, 8, on);
    } else {
      set(bit === 8 ? 7 : 14 - bit, 8, on);
      set(8, size - 15 + bit, on);
    }
  }
  set(8, size - 8, true);
  if (version >= 7) {
    const told = coded(version, 0x1f25, 12);
    for (let bit = 0; bit < 18; bit += 1) {
      const [a, b] = [size - 11 + (bit % 3), Math.floor(bit / 3)];
      set(a, b, ((told >> bit) & 1) === 1);
      set(b, a, ((told >> bit) & 1) === 1);
    }
  }
  // Two columns at a time, from the right, up and down in turns; the column of the timing is left out.
  let bit = 0;
  for (let right = size - 1; right > 0; right -= right === 8 ? 3 : 2) {
    const upward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step += 1)
      for (const x of [right, right - 1]) {
        const y = upward ? size - 1 - step : step;
        const row = dark[y];
        if (!row || fixed[y]?.[x]) continue;
        const on = ((at(words, bit >> 3) >> (7 - (bit & 7))) & 1) === 1;
        row[x] = on !== (MASKS[mask]?.(x, y) ?? false);
        bit += 1;
      }
  }
  return dark;
}

/** How much of one colour lies together, which readers do not like. */
function unrest(modules: Modules): number {
  let found = 0;
  for (const [y, row] of modules.entries())
    for (const [x, on] of row.entries()) {
      const run = (dx: number, dy: number, length: number) =>
        Array.from({ length }, (_, step) => modules[y + dy * (step + 1)]?.[x + dx * (step + 1)] === on).every(
          Boolean,
        );
      if (run(1, 0, 1) && run(0, 1, 1) && run(1, 1, 1)) found += 3;
      found += (run(1, 0, 4) ? 2 : 0) + (run(0, 1, 4) ? 2 : 0);
    }
  return found;
}
