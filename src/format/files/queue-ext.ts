import { assert } from "../../base/assert.ts";
import { readInt64, writeInt64 } from "../record/message.ts";
import { ENTRY_TAGS_OFFSET } from "./consume-queue.ts";

/**
 * What a ConsumeQueue entry has no room for (enableConsumeQueueExt), big-endian:
 *   0          2          10             18           20
 *   | unitSize | tagsCode | storeTime ms | bitMapSize | bit map … |
 *   | i16      | i64      | i64          | i16        |           |
 * unitSize counts itself: 20 and the bit map. Where a unit does not fit into a file any more there stands a size of -1.
 * The entry has, in place of the tags code, the unit's place: Long.MIN_VALUE and its position in all files of the queue.
 * Source: Apache `ConsumeQueueExt`, `CqExtUnit`.
 */
export const UNIT_SIZE_MIN = 20;
export const UNIT_SIZE_MAX = 32_767;
/** Bytes at a file's end that hold no unit. */
export const EXT_FILE_TAIL = 4;
export const EXT_FILE_END = -1;
const TAGS_OFFSET = 2;
const STORE_TIME_OFFSET = 10;
const BIT_MAP_SIZE_OFFSET = 18;
const SIGN = 0x8000_0000;
const TWO_32 = 4_294_967_296;

/** @returns end of the unit */
export function writeUnit(
  bytes: Buffer,
  at: number,
  tagsCode: number,
  storeTimeMs: number,
  bitMap: Uint8Array | undefined,
): number {
  const bitMapSize = bitMap?.length ?? 0;
  const size = UNIT_SIZE_MIN + bitMapSize;
  assert(size <= UNIT_SIZE_MAX, "a unit's size is a signed short");
  bytes.writeInt16BE(size, at);
  writeInt64(bytes, tagsCode, at + TAGS_OFFSET);
  writeInt64(bytes, storeTimeMs, at + STORE_TIME_OFFSET);
  bytes.writeInt16BE(bitMapSize, at + BIT_MAP_SIZE_OFFSET);
  if (bitMap !== undefined) bytes.set(bitMap, at + UNIT_SIZE_MIN);
  return at + size;
}

/** Size of the unit at `at`, or 0: there is none that ends at or before `end`. */
export function unitSizeAt(bytes: Buffer, at: number, end: number): number {
  if (at + UNIT_SIZE_MIN > end) return 0;
  const size = bytes.readInt16BE(at);
  return size >= UNIT_SIZE_MIN && at + size <= end && bytes.readInt16BE(at + BIT_MAP_SIZE_OFFSET) === size - UNIT_SIZE_MIN
    ? size
    : 0;
}

export function unitTagsCode(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + TAGS_OFFSET);
}

export function unitStoreTime(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + STORE_TIME_OFFSET);
}

/** What the entry at `at` says of its unit's position; for entries whose tags code is an address. */
export function entryExtPosition(entry: Buffer, at: number): number {
  const high = entry.readUInt32BE(at + ENTRY_TAGS_OFFSET);
  return (high - SIGN) * TWO_32 + entry.readUInt32BE(at + ENTRY_TAGS_OFFSET + 4);
}

/** Makes the entry at `at` point at the unit at `position`. */
export function writeExtAddress(entry: Buffer, at: number, position: number): void {
  entry.writeUInt32BE(Math.floor(position / TWO_32) + SIGN, at + ENTRY_TAGS_OFFSET);
  entry.writeUInt32BE(position % TWO_32, at + ENTRY_TAGS_OFFSET + 4);
}
