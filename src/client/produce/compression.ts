import { createRequire } from "node:module";
// The default import: a named one of zstd would keep Node versions without it from loading this file.
import zlib from "node:zlib";
import { MillraceError } from "../../base/errors.ts";
import {
  SYS_FLAG_COMPRESSED,
  SYS_FLAG_COMPRESSION_TYPE_MASK,
  SYS_FLAG_COMPRESSION_TYPE_SHIFT,
} from "../../format/record/message.ts";

export const COMPRESSIONS = ["none", "zlib", "lz4", "zstd"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** Compression type bits of sysFlag. Source: Apache `CompressionType`; 0 is what clients before 4.9.4 send. */
const TYPE_LZ4 = 1;
const TYPE_ZSTD = 2;
const TYPE_ZLIB = 3;
/** Level of Apache's producer. */
const ZLIB_LEVEL = 5;

export interface Compressor {
  /** Bits to set in a compressed message's sysFlag. */
  readonly sysFlag: number;
  compress(body: Buffer): Buffer;
}

interface Lz4 {
  compressFrameSync(data: Buffer): Buffer;
  decompressFrameSync(data: Buffer): Buffer;
}

let loadedLz4: Lz4 | undefined;

function lz4(): Lz4 {
  loadedLz4 ??= createRequire(import.meta.url)("lz4-napi") as Lz4;
  return loadedLz4;
}

/**
 * The compressor of a name; undefined for "none".
 * @throws MillraceError MILLRACE_CONFIG_INVALID when this machine or this Node cannot do it
 */
export function compressorOf(name: Compression): Compressor | undefined {
  switch (name) {
    case "none":
      return undefined;
    case "zlib":
      return { sysFlag: sysFlagOf(TYPE_ZLIB), compress: (body) => zlib.deflateSync(body, { level: ZLIB_LEVEL }) };
    case "zstd":
      if (typeof zlib.zstdCompressSync !== "function") {
        throw unavailable(name, `Node ${process.versions.node} has no zstd (22.15 and later have)`);
      }
      return { sysFlag: sysFlagOf(TYPE_ZSTD), compress: (body) => zlib.zstdCompressSync(body) };
    case "lz4":
      try {
        lz4();
      } catch (error) {
        throw unavailable(name, "the package lz4-napi has no build for this platform", error);
      }
      return { sysFlag: sysFlagOf(TYPE_LZ4), compress: (body) => lz4().compressFrameSync(body) };
  }
}

/**
 * The body as its sender handed it in, by the bits of `sysFlag`.
 *
 * @param maxBytes most bytes that come out; a small body can claim to hold gigabytes
 * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL when the bytes are damaged, too many, or of a kind this Node cannot read
 */
export function decompressBody(body: Buffer, sysFlag: number, maxBytes: number): Buffer {
  if ((sysFlag & SYS_FLAG_COMPRESSED) === 0) return body;
  const type = (sysFlag & SYS_FLAG_COMPRESSION_TYPE_MASK) >> SYS_FLAG_COMPRESSION_TYPE_SHIFT;
  try {
    if (type === 0 || type === TYPE_ZLIB) return zlib.inflateSync(body, { maxOutputLength: maxBytes });
    if (type === TYPE_ZSTD && typeof zlib.zstdDecompressSync === "function") {
      return zlib.zstdDecompressSync(body, { maxOutputLength: maxBytes });
    }
    if (type === TYPE_LZ4 && lz4OutputMax(body) <= maxBytes) return lz4().decompressFrameSync(body);
  } catch (error) {
    throw undecodable(body, type, maxBytes, error);
  }
  throw undecodable(body, type, maxBytes);
}

const LZ4_MAGIC = 0x184d2204;
const LZ4_HAS_CONTENT_SIZE = 0x08;
const LZ4_HAS_DICTIONARY = 0x01;
const LZ4_HAS_BLOCK_CHECKSUM = 0x10;
const LZ4_RAW_BLOCK = 0x8000_0000;

/**
 * Most bytes that the LZ4 frame can hold, by its block table alone: the decoder takes no limit.
 * Frame: magic u32le | FLG u8 | BD u8 | contentSize u64le? | dictionary u32? | check u8 | (size u32le | block | checksum u32?)* | 0
 * A block gives at most the size named in BD (4..7: 64 KiB, 256 KiB, 1 MiB, 4 MiB).
 */
function lz4OutputMax(frame: Buffer): number {
  if (frame.length < 7 || frame.readUInt32LE(0) !== LZ4_MAGIC) return Number.POSITIVE_INFINITY;
  const flags = frame[4]!;
  const blockMax = 1 << (8 + 2 * ((frame[5]! >> 4) & 7));
  let at = 7 + ((flags & LZ4_HAS_CONTENT_SIZE) !== 0 ? 8 : 0) + ((flags & LZ4_HAS_DICTIONARY) !== 0 ? 4 : 0);
  let bytes = 0;
  while (at + 4 <= frame.length) {
    const size = frame.readUInt32LE(at);
    if (size === 0) return bytes;
    // A block of n bytes cannot give more than 255 n: each further byte of a length adds at most 255.
    const blockSize = size % LZ4_RAW_BLOCK;
    bytes += size >= LZ4_RAW_BLOCK ? blockSize : Math.min(blockMax, blockSize * 255);
    at += 4 + blockSize + ((flags & LZ4_HAS_BLOCK_CHECKSUM) !== 0 ? 4 : 0);
  }
  return bytes;
}

function sysFlagOf(type: number): number {
  return SYS_FLAG_COMPRESSED | (type << SYS_FLAG_COMPRESSION_TYPE_SHIFT);
}

function unavailable(name: string, why: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "MILLRACE_CONFIG_INVALID",
    `compression: "${name}" cannot be used here: ${why}`,
    { key: "compression", value: name },
    cause,
  );
}

function undecodable(body: Buffer, type: number, maxBytes: number, cause?: unknown): MillraceError {
  return new MillraceError(
    "MILLRACE_MESSAGE_ILLEGAL",
    `the compressed body (type ${type}, ${body.length} bytes) cannot be read, or holds more than ${maxBytes} bytes`,
    { compressionType: type, size: body.length, maxBytes },
    cause,
  );
}
