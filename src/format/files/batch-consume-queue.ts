import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * Entry of a queue whose records are whole batches, big-endian:
 *   0                8      12         20               28           36      38                44
 *   | physicalOffset | size | tagsCode | storeTimestamp | baseOffset | count | compactedOffset | reserved 0 |
 *   | i64            | i32  | i64      | i64            | i64        | i16   | i32 = -1        | i32        |
 * baseOffset is the queueOffset of the batch's first message, `count` the number of its messages. The first three fields
 * lie as in a plain entry (consume-queue.ts). Source: Apache `BatchConsumeQueue`.
 */
export const BATCH_ENTRY_SIZE = 46;
const STORE_TIMESTAMP_OFFSET = 20;
const BASE_OFFSET = 28;
const COUNT_OFFSET = 36;
const COMPACTED_OFFSET = 38;
/** Messages of one batch: the field is a signed short. */
export const BATCH_COUNT_MAX = 32_767;

export function writeBatchEntry(
  bytes: Buffer,
  at: number,
  physicalOffset: number,
  size: number,
  tagsCode: number,
  storeTimestamp: number,
  baseOffset: number,
  count: number,
): void {
  writeInt64(bytes, physicalOffset, at);
  bytes.writeInt32BE(size, at + 8);
  writeInt64(bytes, tagsCode, at + 12);
  writeInt64(bytes, storeTimestamp, at + STORE_TIMESTAMP_OFFSET);
  writeInt64(bytes, baseOffset, at + BASE_OFFSET);
  bytes.writeInt16BE(count, at + COUNT_OFFSET);
  bytes.writeInt32BE(-1, at + COMPACTED_OFFSET);
  bytes.writeInt32BE(0, at + COMPACTED_OFFSET + 4);
}

export function batchEntryStoreTimestamp(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + STORE_TIMESTAMP_OFFSET);
}

export function batchEntryBase(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + BASE_OFFSET);
}

export function batchEntryCount(bytes: Buffer, at: number): number {
  return bytes.readInt16BE(at + COUNT_OFFSET);
}

/** queueOffset behind the batch's last message. */
export function batchEntryEnd(bytes: Buffer, at: number): number {
  return batchEntryBase(bytes, at) + batchEntryCount(bytes, at);
}

/**
 * The last property of a batch that is one record: INNER_BASE, its first message's queueOffset, which only the log writer
 * knows. It gets a fixed room; what the digits leave of it is filled with separators, which every reader skips.
 *   INNER_BASE 0x01 digits 0x02 …
 */
const INNER_BASE_NAME: Buffer = Buffer.from("INNER_BASE\u0001");
/** Digits of the largest offset, 2^53 - 1, and a separator. */
const INNER_BASE_ROOM = 17;
export const INNER_BASE_SIZE: number = INNER_BASE_NAME.length + INNER_BASE_ROOM;
const SEPARATOR = 0x02;

/** Leaves room for INNER_BASE. @returns its end */
export function reserveInnerBase(bytes: Buffer, at: number): number {
  for (let i = 0; i < INNER_BASE_NAME.length; i++) bytes[at + i] = INNER_BASE_NAME[i]!;
  return at + INNER_BASE_SIZE;
}

/** Fills the room that ends at `end`. */
export function fillInnerBase(view: DataView, end: number, baseOffset: number): void {
  const start = end - INNER_BASE_ROOM;
  let digits = 1;
  for (let rest = baseOffset; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let rest = baseOffset;
  for (let at = start + digits - 1; at >= start; at--) {
    view.setUint8(at, 0x30 + (rest % 10));
    rest = Math.floor(rest / 10);
  }
  for (let at = start + digits; at < end; at++) view.setUint8(at, SEPARATOR);
}
