import { crc32 as nativeCrc32 } from "@node-rs/crc32";

/** Below this size a table in JavaScript is faster than the call into native code, bytes. */
const NATIVE_SIZE_MIN = 256;
const SLICES = 8;
const TABLES: Uint32Array = makeTables();

/** CRC-32 (zlib's polynomial) of bytes[start, end), as an unsigned number. */
export function crc32(bytes: Buffer, start: number, end: number): number {
  if (end - start >= NATIVE_SIZE_MIN) return nativeCrc32(bytes.subarray(start, end));
  let crc = -1;
  let at = start;
  const t = TABLES;
  for (; end - at >= SLICES; at += SLICES) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[1792 + (low & 255)]! ^
      t[1536 + ((low >>> 8) & 255)]! ^
      t[1280 + ((low >>> 16) & 255)]! ^
      t[1024 + (low >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = t[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Slicing-by-8: table k gives the effect of a byte that k more bytes follow. */
function makeTables(): Uint32Array {
  const tables = new Uint32Array(256 * SLICES);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) tables[at] = tables[tables[at - 256]! & 255]! ^ (tables[at - 256]! >>> 8);
  return tables;
}
