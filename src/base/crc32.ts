import { createRequire } from "node:module";
import zlib from "node:zlib";

/**
 * Below this size the table is faster than the call into native code and the view that it needs, bytes.
 * Measured by bench/micro/crc32.bench.ts.
 */
const NATIVE_SIZE_MIN = 192;
const SLICES = 16;
/** Slicing-by-16. */
export const CRC32_TABLES: Int32Array = makeTables();

/** CRC-32 (zlib's polynomial) of bytes[start, end), as an unsigned number. RocketMQ stores its lower 31 bits. */
export function crc32(bytes: Buffer, start: number, end: number): number {
  return end - start < NATIVE_SIZE_MIN ? crc32ByTable(bytes, start, end) : nativeCrc32(bytes, start, end);
}

/** Picked at load: the fastest that this platform and Node have. @param previous  CRC-32 of what stands before `start`, default: nothing */
export const nativeCrc32: (bytes: Buffer, start: number, end: number, previous?: number) => number = pickNative();

function pickNative(): typeof nativeCrc32 {
  try {
    const { crc32: nodeRs } = createRequire(import.meta.url)("@node-rs/crc32") as { crc32: NativeCrc32 };
    if (nodeRs(Buffer.from("456789"), 0x8848_63d2) === 0xcbf4_3926) return overRange(nodeRs);
  } catch {
    // No build for this platform; the next best follows.
  }
  const ofNode: NativeCrc32 | undefined = zlib.crc32; // Since Node 20.15.
  return ofNode === undefined ? crc32ByTable : overRange(ofNode);
}

type NativeCrc32 = (bytes: Uint8Array, previous?: number) => number;

function overRange(native: NativeCrc32): typeof nativeCrc32 {
  return (bytes, start, end, previous) => native(bytes.subarray(start, end), previous);
}

/** The same in JavaScript alone. */
export function crc32ByTable(bytes: Buffer, start: number, end: number, previous = 0): number {
  if (bytes !== source) {
    source = bytes;
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  return crc32OfView(view, start, end, previous);
}

/** The Buffer asked for last, and its view. */
let source: Buffer = Buffer.alloc(0);
let view: DataView = new DataView(source.buffer);

function crc32OfView(words: DataView, start: number, end: number, previous: number): number {
  let crc = ~previous;
  let at = start;
  const t = CRC32_TABLES;
  for (; end - at >= SLICES; at += SLICES) {
    const a = crc ^ words.getInt32(at, true);
    const b = words.getInt32(at + 4, true);
    const c = words.getInt32(at + 8, true);
    const d = words.getInt32(at + 12, true);
    crc =
      t[3840 + (a & 255)]! ^
      t[3584 + ((a >>> 8) & 255)]! ^
      t[3328 + ((a >>> 16) & 255)]! ^
      t[3072 + (a >>> 24)]! ^
      (t[2816 + (b & 255)]! ^
        t[2560 + ((b >>> 8) & 255)]! ^
        t[2304 + ((b >>> 16) & 255)]! ^
        t[2048 + (b >>> 24)]! ^
        (t[1792 + (c & 255)]! ^
          t[1536 + ((c >>> 8) & 255)]! ^
          t[1280 + ((c >>> 16) & 255)]! ^
          t[1024 + (c >>> 24)]! ^
          (t[768 + (d & 255)]! ^ t[512 + ((d >>> 8) & 255)]! ^ t[256 + ((d >>> 16) & 255)]! ^ t[d >>> 24]!)));
  }
  for (; at < end; at++) crc = t[(crc ^ words.getUint8(at)) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Slicing-by-16: table k gives the effect of a byte that k more bytes follow. */
function makeTables(): Int32Array {
  const tables = new Int32Array(256 * SLICES);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) tables[at] = tables[tables[at - 256]! & 255]! ^ (tables[at - 256]! >>> 8);
  return tables;
}
