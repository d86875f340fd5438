import { javaHash, javaHashOfBytes } from "../../base/java-hash.ts";

/**
 * Key index file: a hash table from message keys to records. All integers are big-endian.
 *   0                8              16                   24                 32          36      40
 *   | beginTimestamp | endTimestamp | beginPhysicalOffset | endPhysicalOffset | usedSlots | count | slots | entries |
 * slots:   int32 each, at (keyHash % slotCount): number of the newest entry of its chain, 0 = none
 * entries: 20 bytes each:  | keyHash i32 | physicalOffset i64 | seconds since beginTimestamp i32 | previous entry i32 |
 * `count` is the number that the next entry gets; it starts at 1, and entry 0 is never used. The end values
 * are those of the newest entry, or, in a file without entries, of the file before.
 * Source: Apache `IndexHeader`, `IndexFile`, `IndexService`.
 */
export const BEGIN_TIMESTAMP_OFFSET = 0;
export const END_TIMESTAMP_OFFSET = 8;
export const BEGIN_PHYSICAL_OFFSET_OFFSET = 16;
export const END_PHYSICAL_OFFSET_OFFSET = 24;
export const USED_SLOTS_OFFSET = 32;
export const COUNT_OFFSET = 36;
export const INDEX_HEADER_SIZE = 40;
export const SLOT_SIZE = 4;
export const INDEX_ENTRY_SIZE = 20;
/** Within an entry. */
export const ENTRY_PHYSICAL_OFFSET_OFFSET = 4;
export const ENTRY_SECONDS_OFFSET = 12;
export const ENTRY_PREVIOUS_OFFSET = 16;

/** Size of both tables of an index file; every file of a store has the same. */
export interface IndexShape {
  /** maxHashSlotNum. */
  slotCount: number;
  /** maxIndexNum; entry 0 counts, so that one less fit in. */
  entryCount: number;
}

export const INDEX_SHAPE_DEFAULT: IndexShape = { slotCount: 5_000_000, entryCount: 20_000_000 };

export function indexFileSize({ slotCount, entryCount }: IndexShape): number {
  return INDEX_HEADER_SIZE + SLOT_SIZE * slotCount + INDEX_ENTRY_SIZE * entryCount;
}

/** Name of an index file: its creation in local time, yyyyMMddHHmmssSSS. */
export function indexFileName(createdMs: number): string {
  const date = new Date(createdMs);
  const parts = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  const milliseconds = String(date.getMilliseconds()).padStart(3, "0");
  return date.getFullYear() + parts.map((part) => String(part).padStart(2, "0")).join("") + milliseconds;
}

export const INDEX_FILE_NAME: RegExp = /^\d{17}$/;

/** The time in a file's name; an hour that the clocks repeat counts as one of the two. */
export function indexFileTime(name: string): number {
  const part = (start: number, end: number): number => Number(name.slice(start, end));
  return new Date(part(0, 4), part(4, 6) - 1, part(6, 8), part(8, 10), part(10, 12), part(12, 14), part(14, 17)).getTime();
}

const SEPARATOR = 0x23;
const TAG_MARK = "T#";

/** Java hash of `topic#`, which the keys of the topic's messages go on from. */
export function topicHashOfBytes(bytes: Buffer, start: number, end: number): number {
  return (Math.imul(javaHashOfBytes(bytes, start, end), 31) + SEPARATOR) | 0;
}

/** Hash that entries hold for a unique key or one of the words of KEYS. @param topicHash as of `topicHashOfBytes` */
export function keyHashOfBytes(topicHash: number, bytes: Buffer, start: number, end: number): number {
  return keyHashFrom(javaHashOfBytes(bytes, start, end, topicHash));
}

/** Hash that entries hold for the whole TAGS text; its key is `topic#T#tags`. */
export function tagsHashOfBytes(topicHash: number, bytes: Buffer, start: number, end: number): number {
  return keyHashFrom(openTagsHash(topicHash, bytes, start, end));
}

function openTagsHash(topicHash: number, bytes: Buffer, start: number, end: number): number {
  const markHash = (Math.imul((Math.imul(topicHash, 31) + TAG_MARK.charCodeAt(0)) | 0, 31) + SEPARATOR) | 0;
  return javaHashOfBytes(bytes, start, end, markHash);
}

/** The hash of a TAGS text for any topic: `keyHashFrom(topicHash * factor + rest)`, modulo 2^32. */
export interface TagsHash {
  factor: number;
  rest: number;
}

export function tagsHashParts(bytes: Buffer, start: number, end: number): TagsHash {
  const rest = openTagsHash(0, bytes, start, end);
  return { factor: (openTagsHash(1, bytes, start, end) - rest) | 0, rest };
}

/** What a query asks for: unique key "U" and one of KEYS "K" lie in one name space, tags "T" apart. */
export type IndexKeyType = "U" | "K" | "T";

export function keyHashOf(topic: string, key: string, type: IndexKeyType = "K"): number {
  return keyHashFrom(javaHash(type === "T" ? `${topic}#${TAG_MARK}${key}` : `${topic}#${key}`));
}

/** What entries hold for a Java hash. */
export function keyHashFrom(hash: number): number {
  // Java's Math.abs leaves the smallest int negative.
  return hash === -2_147_483_648 ? 0 : Math.abs(hash);
}
