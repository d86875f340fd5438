import { createRequire } from "node:module";
import zlib from "node:zlib";

/**
 * Below this size the table is faster than the call into native code and the view that it needs, bytes.
 * Measured by bench/micro/crc32.bench.ts.
 */
const NATIVE_SIZE_MIN = 192;
const SLICES = 8;
const TABLES: Uint32Array = makeTables();

/** CRC-32 (zlib's polynomial) of bytes[start, end), as an unsigned number. RocketMQ stores its lower 31 bits. */
export function crc32(bytes: Buffer, start: number, end: number): number {
  return end - start < NATIVE_SIZE_MIN ? crc32ByTable(bytes, start, end) : nativeCrc32(bytes, start, end);
}

/** Picked at load: the fastest that this platform and Node have. */
export const nativeCrc32: (bytes: Buffer, start: number, end: number) => number = pickNative();

function pickNative(): typeof nativeCrc32 {
  try {
    const { crc32: nodeRs } = createRequire(import.meta.url)("@node-rs/crc32") as { crc32: (bytes: Uint8Array) => number };
    if (nodeRs(Buffer.from("123456789")) === 0xcbf4_3926) return (bytes, start, end) => nodeRs(bytes.subarray(start, end));
  } catch {
    // No build for this platform; the next best follows.
  }
  const ofNode: ((bytes: Uint8Array) => number) | undefined = zlib.crc32; // Since Node 20.15.
  return ofNode === undefined ? crc32ByTable : (bytes, start, end) => ofNode(bytes.subarray(start, end));
}

/** The same in JavaScript alone. */
export function crc32ByTable(bytes: Buffer, start: number, end: number): number {
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
