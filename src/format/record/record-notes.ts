import { bornHostShift, PHYSICAL_OFFSET_OFFSET, QUEUE_OFFSET_OFFSET, STORE_TIMESTAMP_OFFSET_V4 } from "./message.ts";

/**
 * What an I/O worker, which has just walked over a record's properties, tells the log writer about them for the indexers:
 * 24 bytes in the three fields of the record that only the log writer fills. All are int32, big-endian.
 *   queueOffset     | tagsCode, the Java hash of TAGS or 0 | number of key hashes |
 *   physicalOffset  | key hash 0 | key hash 1 |
 *   storeTimestamp  | key hash 2 | key hash 3 |
 * Key hashes as and in the order in which the key index holds them. Never on the disk.
 */
export const NOTE_TAGS_CODE: number = QUEUE_OFFSET_OFFSET;
export const NOTE_KEY_COUNT: number = QUEUE_OFFSET_OFFSET + 4;
const NOTE_KEYS = PHYSICAL_OFFSET_OFFSET;

/** A record with more keys is read by the key indexer itself. */
export const NOTED_KEYS_MAX = 4;
/** Instead of the number: there are more. */
export const KEYS_UNNOTED: number = -1;

/** @param sysFlag of the record */
export function writeKeyNote(view: DataView, at: number, sysFlag: number, index: number, keyHash: number): void {
  view.setInt32(at + keyNoteOffset(sysFlag, index), keyHash);
}

/** Distance of a key hash from the record's start. */
export function keyNoteOffset(sysFlag: number, index: number): number {
  return index < 2 ? NOTE_KEYS + 4 * index : STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag) + 4 * (index - 2);
}
