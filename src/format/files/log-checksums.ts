import { crc32ByTable } from "../../base/crc32.ts";
import { writeInt64 } from "../record/message.ts";

/**
 * The `checksums` directory, ours alone: beside each file of the log one of the same name, with a checksum of every block
 * of 64 KiB of it. All integers are big-endian.
 *   0       4           8             16         24     28
 *   | magic | blockSize | logFileSize | own base | zero | check | entry ...
 *   | u32   | u32       | i64         | i64      | u32  | u32   |
 * An entry, 16 bytes, never crosses a sector:
 *   0             4       8           12
 *   | coveredSize | crc32 | coveredAt | check |
 *   | u32         | u32   | u32, s    | u32   |
 * `coveredSize` counts from the block's first byte; it grows as the log does. `coveredAt` is the broker's time when the
 * bytes were read: records that are younger have been written since by somebody else. `check` is a CRC-32 of what stands
 * before it, an entry's begins with its place in the log. What does not check says nothing: that block is not covered.
 */
export const CHECKSUM_BLOCK_SIZE = 65_536;
const MAGIC = 0x4d51_4231;
const HEAD_SIZE = 32;
const HEAD_CHECK_OFFSET = 28;
const ENTRY_SIZE = 16;
const ENTRY_CHECK_OFFSET = 12;
/** Latest time of an entry, s. Records bring later ones: a damaged one, or a virtual clock. */
const TIME_MAX = 0xffff_ffff;

/** Size of the file beside a log file, bytes. */
export function checksumsSize(logFileSize: number): number {
  return checksumEntryOffset(Math.ceil(logFileSize / CHECKSUM_BLOCK_SIZE));
}

/** Where the entry of a block stands in the file. */
export function checksumEntryOffset(block: number): number {
  return HEAD_SIZE + block * ENTRY_SIZE;
}

/** What one file says of the blocks of one log file. */
export class LogChecksumTable {
  readonly bytes: Buffer;
  readonly base: number;
  readonly logFileSize: number;
  readonly blockCount: number;

  /** An empty one. */
  constructor(base: number, logFileSize: number, bytes: Buffer = emptyTable(base, logFileSize)) {
    this.bytes = bytes;
    this.base = base;
    this.logFileSize = logFileSize;
    this.blockCount = Math.ceil(logFileSize / CHECKSUM_BLOCK_SIZE);
  }

  /** undefined: that is none, or not of this log file. */
  static decode(bytes: Buffer | undefined, base: number, logFileSize: number): LogChecksumTable | undefined {
    if (bytes?.length !== checksumsSize(logFileSize)) return undefined;
    const isOurs = bytes.compare(emptyTable(base, logFileSize), 0, HEAD_SIZE, 0, HEAD_SIZE) === 0;
    return isOurs ? new LogChecksumTable(base, logFileSize, bytes) : undefined;
  }

  /** Bytes of the log file that belong to the block. */
  blockSize(block: number): number {
    return Math.min(CHECKSUM_BLOCK_SIZE, this.logFileSize - block * CHECKSUM_BLOCK_SIZE);
  }

  /** So many of the block's first bytes have a checksum. */
  coveredSize(block: number): number {
    const at = checksumEntryOffset(block);
    const size = this.bytes.readUInt32BE(at);
    const isWhole = size <= this.blockSize(block) && this.#check(block) === this.bytes.readUInt32BE(at + ENTRY_CHECK_OFFSET);
    return isWhole ? size : 0;
  }

  /** CRC-32 of the covered bytes. */
  crc(block: number): number {
    return this.bytes.readUInt32BE(checksumEntryOffset(block) + 4);
  }

  /** When the last of them was read, s since the epoch. */
  coveredAt(block: number): number {
    return this.bytes.readUInt32BE(checksumEntryOffset(block) + 8);
  }

  set(block: number, coveredSize: number, crc: number, coveredAt: number): void {
    const at = checksumEntryOffset(block);
    this.bytes.writeUInt32BE(coveredSize, at);
    this.bytes.writeUInt32BE(crc, at + 4);
    this.bytes.writeUInt32BE(Math.min(coveredAt, TIME_MAX), at + 8);
    this.bytes.writeUInt32BE(this.#check(block), at + ENTRY_CHECK_OFFSET);
  }

  clear(block: number): void {
    const at = checksumEntryOffset(block);
    this.bytes.fill(0, at, at + ENTRY_SIZE);
  }

  #check(block: number): number {
    const place = (this.base + block * CHECKSUM_BLOCK_SIZE) / 512;
    const at = checksumEntryOffset(block);
    return crc32ByTable(this.bytes, at, at + ENTRY_CHECK_OFFSET, place >>> 0);
  }
}

function emptyTable(base: number, logFileSize: number): Buffer {
  const bytes = Buffer.alloc(checksumsSize(logFileSize));
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(CHECKSUM_BLOCK_SIZE, 4);
  writeInt64(bytes, logFileSize, 8);
  writeInt64(bytes, base, 16);
  bytes.writeUInt32BE(crc32ByTable(bytes, 0, HEAD_CHECK_OFFSET), HEAD_CHECK_OFFSET);
  return bytes;
}
