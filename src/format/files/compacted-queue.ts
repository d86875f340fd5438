import { nativeCrc32 } from "../../base/crc32.ts";
import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * What compaction keeps of one queue of a topic with cleanup.policy=COMPACTION: for each key the last message below
 * `upTo`. One file, `compaction/<topic>/<queueId>/<upTo, 20 digits>`, written whole and never changed. Ours; big-endian.
 *   0       4         8      16      24         32           36          40
 *   | magic | version | upTo | count | dataSize | tableCrc   | headerCrc |
 *   40
 *   | records, as in the CommitLog, by queueOffset | table: count × (queueOffset i64, position in the file i64, size i32, crc u32) |
 * Every byte is covered: headerCrc is the CRC-32 of the 36 bytes before it, tableCrc of the table, `crc` of the record.
 */
export const COMPACTED_HEADER_SIZE = 40;
export const COMPACTED_ENTRY_SIZE = 24;

const MAGIC = 0x4d524351;
const VERSION = 2;
const HEADER_CRC_OFFSET = 36;

export interface CompactedHeader {
  /** One past the last queueOffset that was looked at. */
  upTo: number;
  count: number;
  /** Bytes of all records. */
  dataSize: number;
  tableCrc: number;
}

export function compactedFileSize({ count, dataSize }: Pick<CompactedHeader, "count" | "dataSize">): number {
  return COMPACTED_HEADER_SIZE + dataSize + count * COMPACTED_ENTRY_SIZE;
}

export function encodeCompactedHeader({ upTo, count, dataSize, tableCrc }: CompactedHeader): Buffer {
  const bytes = Buffer.alloc(COMPACTED_HEADER_SIZE);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(VERSION, 4);
  writeInt64(bytes, upTo, 8);
  writeInt64(bytes, count, 16);
  writeInt64(bytes, dataSize, 24);
  bytes.writeUInt32BE(tableCrc, 32);
  bytes.writeUInt32BE(nativeCrc32(bytes, 0, HEADER_CRC_OFFSET), HEADER_CRC_OFFSET);
  return bytes;
}

/** undefined: it is none, one of another version, or a damaged one. */
export function decodeCompactedHeader(bytes: Buffer): CompactedHeader | undefined {
  if (bytes.length < COMPACTED_HEADER_SIZE || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt32BE(4) !== VERSION)
    return undefined;
  if (bytes.readUInt32BE(HEADER_CRC_OFFSET) !== nativeCrc32(bytes, 0, HEADER_CRC_OFFSET)) return undefined;
  return {
    upTo: readInt64(bytes, 8),
    count: readInt64(bytes, 16),
    dataSize: readInt64(bytes, 24),
    tableCrc: bytes.readUInt32BE(32),
  };
}

export interface CompactedEntry {
  queueOffset: number;
  position: number;
  /** Bytes of the record. */
  size: number;
  /** CRC-32 of the record. */
  crc: number;
}

export function writeCompactedEntry(bytes: Buffer, at: number, { queueOffset, position, size, crc }: CompactedEntry): void {
  writeInt64(bytes, queueOffset, at);
  writeInt64(bytes, position, at + 8);
  bytes.writeInt32BE(size, at + 16);
  bytes.writeUInt32BE(crc, at + 20);
}

export function readCompactedEntry(bytes: Buffer, at: number): CompactedEntry {
  return {
    queueOffset: readInt64(bytes, at),
    position: readInt64(bytes, at + 8),
    size: bytes.readInt32BE(at + 16),
    crc: bytes.readUInt32BE(at + 20),
  };
}
