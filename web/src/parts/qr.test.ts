import { describe, expect, it } from 'vitest';
import { fits, type Modules, qr } from './qr';

// What readers of others read back (ZXing), as they did every version up to the longest.
const SHORT = [
  '111111100101101111111',
  '100000100111001000001',
  '101110101101101011101',
  '101110100101001011101',
  '101110100010101011101',
  '100000100000101000001',
  '111111101010101111111',
  '000000001101100000000',
  '111011111111011000100',
  '001011010010001000110',
  '000010111110100010001',
  '110101000110001000100',
  '110011110000101010101',
  '000000001101010101011',
  '111111101001011101111',
  '100000101111110111000',
  '101110101011011101101',
  '101110100010001000110',
  '101110101100100010001',
  '100000101100001000110',
  '111111101100101010111',
];
const LONG = { text: `${'x'.repeat(189)}äb`, size: 49, sum: 1229132929 };

const rows = (modules: Modules | null) => modules?.map((row) => row.map(Number).join('')) ?? [];

/** FNV-1a. */
const sum = (text: string): number =>
  [...text].reduce((hash, sign) => Math.imul(hash ^ sign.charCodeAt(0), 0x01000193) >>> 0, 0x811c9dc5);

describe('a QR code', () => {
  it('says a short text, and a long one in several blocks', () => {
    expect(rows(qr('a'))).toEqual(SHORT);
    const long = rows(qr(LONG.text));
    expect([long.length, sum(long.join('\n'))]).toEqual([LONG.size, LONG.sum]);
  });
  it('is as large as its text needs, and none where that is too long', () => {
    expect(qr('x'.repeat(17))?.length).toBe(21);
    expect(qr('x'.repeat(18))?.length).toBe(25);
    expect(qr('x'.repeat(367))?.length).toBe(65);
    expect(qr('x'.repeat(368))).toBeNull();
    expect([fits('x'.repeat(367)), fits('x'.repeat(368)), fits('ä'.repeat(184))]).toEqual([
      true,
      false,
      false,
    ]);
  });
});
