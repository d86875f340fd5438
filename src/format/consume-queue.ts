import { readInt64, writeInt64 } from "./message.ts";

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

export function writeEntry(bytes: Buffer, at: number, physicalOffset: number, size: number, tagsCode: number): void {
  writeInt64(bytes, physicalOffset, at);
  bytes.writeInt32BE(size, at + ENTRY_SIZE_OFFSET);
  writeInt64(bytes, tagsCode, at + ENTRY_TAGS_OFFSET);
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
