import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * ConsumeQueue entry, big-endian:
 *   0                8        12         20
 *   | physicalOffset | size   | tagsCode |
 *   | i64            | i32    | i64      |
 * Entry n of a queue lies at n * 20. Source: Apache `ConsumeQueue`.
 */
export const ENTRY_SIZE = 20;
export const ENTRY_SIZE_OFFSET = 8;
export const ENTRY_TAGS_OFFSET = 12;
/** Size field of the blank entries before a queue's first one. */
export const BLANK_ENTRY_SIZE = 0x7fff_ffff;

const TWO_32 = 4_294_967_296;

export function writeEntry(bytes: Buffer, at: number, physicalOffset: number, size: number, tagsCode: number): void {
  writeInt64(bytes, physicalOffset, at);
  bytes.writeInt32BE(size, at + ENTRY_SIZE_OFFSET);
  writeInt64(bytes, tagsCode, at + ENTRY_TAGS_OFFSET);
}

/** The same into a view. */
export function writeEntryTo(view: DataView, at: number, physicalOffset: number, size: number, tagsCode: number): void {
  const high = Math.floor(physicalOffset / TWO_32);
  view.setInt32(at, high);
  view.setInt32(at + 4, physicalOffset - high * TWO_32);
  view.setInt32(at + ENTRY_SIZE_OFFSET, size);
  const tagsHigh = Math.floor(tagsCode / TWO_32);
  view.setInt32(at + ENTRY_TAGS_OFFSET, tagsHigh);
  view.setInt32(at + ENTRY_TAGS_OFFSET + 4, tagsCode - tagsHigh * TWO_32);
}

/**
 * A broker with enableConsumeQueueExt keeps the tag hash elsewhere, and here its place: Long.MIN_VALUE and an offset.
 * Source: Apache `ConsumeQueueExt.isExtAddr`.
 */
export function isExtAddress(tagsCode: number): boolean {
  return tagsCode < -2_147_483_648;
}

export function entryPhysicalOffset(bytes: Buffer, at: number): number {
  return readInt64(bytes, at);
}

export function entrySize(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at + ENTRY_SIZE_OFFSET);
}

export function entryTagsCode(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + ENTRY_TAGS_OFFSET);
}
