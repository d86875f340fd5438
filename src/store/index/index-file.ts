import path from "node:path";
import { assert } from "../../base/assert.ts";
import {
  BEGIN_PHYSICAL_OFFSET_OFFSET,
  BEGIN_TIMESTAMP_OFFSET,
  COUNT_OFFSET,
  END_PHYSICAL_OFFSET_OFFSET,
  END_TIMESTAMP_OFFSET,
  ENTRY_PHYSICAL_OFFSET_OFFSET,
  ENTRY_PREVIOUS_OFFSET,
  ENTRY_SECONDS_OFFSET,
  INDEX_ENTRY_SIZE,
  INDEX_HEADER_SIZE,
  type IndexShape,
  indexFileSize,
  SLOT_SIZE,
  USED_SLOTS_OFFSET,
} from "../../format/files/index-file.ts";
import type { Drive } from "../../os/api.ts";
import { type IndexRegion, openRegion } from "./index-region.ts";

const SECONDS_MAX = 2_147_483_647;
const NO_ENTRY = 0;
const TWO_32 = 4_294_967_296;
const HEADER_RESERVED = 4096;
/** Entries or slots that a check looks at between two questions whether it is to go on. */
const LOOKED_AT_ONCE = 65_536;
/** Disk space is taken for so many entries at a time. */
const RESERVED_ENTRIES = 100_000;

/**
 * One key index file; layout in format/files/index-file.ts. One thread puts keys; any other may read meanwhile with
 * an instance of its own: an entry is complete before its slot points at it.
 * Source: Apache `IndexFile`.
 */
export class IndexFile {
  readonly path: string;
  readonly #shape: IndexShape;
  readonly #region: IndexRegion;
  readonly #entriesAt: number;
  /** Entries below this have disk space. Readers: unused. */
  #reservedCount = 0;

  /** @throws MillraceError MILLRACE_STORE_CORRUPT when the file's size is not that of `shape`, MILLRACE_STORE_FULL */
  constructor(drive: Drive, path: string, shape: IndexShape, writable: boolean) {
    this.path = path;
    this.#shape = shape;
    this.#region = openRegion(drive.openFile(path, { size: indexFileSize(shape), writable }));
    this.#entriesAt = INDEX_HEADER_SIZE + SLOT_SIZE * shape.slotCount;
    if (!writable) return;
    try {
      // Before anybody looks at it: in memory file systems even a look takes a block, and ends the process without one.
      this.#region.reserve(0, Math.min(HEADER_RESERVED, indexFileSize(shape)));
      this.#mendEnd();
    } catch (error) {
      this.#region.close();
      throw error;
    }
  }

  /**
   * The end is that of the newest entry. Where the process died between the stores of the count and of the end, it is
   * behind, and records would be entered twice.
   */
  #mendEnd(): void {
    const region = this.#region;
    const newest = this.count - 1;
    if (newest === NO_ENTRY) return;
    const at = this.#entryAt(newest);
    const physicalOffset = region.int64(at + ENTRY_PHYSICAL_OFFSET_OFFSET);
    if (physicalOffset <= this.endPhysicalOffset) return;
    region.setInt64(END_PHYSICAL_OFFSET_OFFSET, physicalOffset);
    const timestamp = this.beginTimestamp + region.int32(at + ENTRY_SECONDS_OFFSET) * 1000 + 999; // Not less than it was.
    if (timestamp > this.endTimestamp) region.setInt64(END_TIMESTAMP_OFFSET, timestamp);
  }

  get name(): string {
    return path.basename(this.path);
  }

  get beginTimestamp(): number {
    return this.#region.int64(BEGIN_TIMESTAMP_OFFSET);
  }

  get endTimestamp(): number {
    return this.#region.int64(END_TIMESTAMP_OFFSET);
  }

  /** physicalOffset of the oldest record in the file. */
  get beginPhysicalOffset(): number {
    return this.#region.int64(BEGIN_PHYSICAL_OFFSET_OFFSET);
  }

  /** physicalOffset of the newest record in the file. */
  get endPhysicalOffset(): number {
    return this.#region.int64(END_PHYSICAL_OFFSET_OFFSET);
  }

  /** Number of the next entry, from 1; within the file's bounds whatever stands in it. */
  get count(): number {
    return Math.min(Math.max(1, this.#region.int32(COUNT_OFFSET)), this.#shape.entryCount);
  }

  get isFull(): boolean {
    return this.count >= this.#shape.entryCount;
  }

  /** Starts an empty file with the end values of the one before it. */
  carryOn(endPhysicalOffset: number, endTimestamp: number): void {
    assert(this.count === 1, "only an empty file takes over end values");
    const region = this.#region;
    region.setInt64(BEGIN_TIMESTAMP_OFFSET, endTimestamp);
    region.setInt64(END_TIMESTAMP_OFFSET, endTimestamp);
    region.setInt64(BEGIN_PHYSICAL_OFFSET_OFFSET, endPhysicalOffset);
    region.setInt64(END_PHYSICAL_OFFSET_OFFSET, endPhysicalOffset);
    region.setInt32(COUNT_OFFSET, 1);
  }

  /** Adds an entry. Records come in the order of the log. @returns false when the file is full */
  put(keyHash: number, physicalOffset: number, storeTimestamp: number): boolean {
    const region = this.#region;
    const number = this.count;
    if (number >= this.#shape.entryCount) return false;
    if (number >= this.#reservedCount) this.#reserve(number);
    const slotAt = this.#slotAt(keyHash);
    const previous = this.#knownEntry(region.int32(slotAt), number);
    const timestamp = number === 1 ? storeTimestamp : this.#notBefore(storeTimestamp);
    const seconds = this.#secondsOf(timestamp);
    const at = this.#entryAt(number);
    region.setInt32(at, keyHash);
    region.setInt64(at + ENTRY_PHYSICAL_OFFSET_OFFSET, physicalOffset);
    region.setInt32(at + ENTRY_SECONDS_OFFSET, seconds);
    region.setInt32(at + ENTRY_PREVIOUS_OFFSET, previous);
    region.setInt32(slotAt, number);
    if (number === 1) {
      region.setInt64(BEGIN_PHYSICAL_OFFSET_OFFSET, physicalOffset);
      region.setInt64(BEGIN_TIMESTAMP_OFFSET, storeTimestamp);
    }
    if (previous === NO_ENTRY) region.setInt32(USED_SLOTS_OFFSET, region.int32(USED_SLOTS_OFFSET) + 1);
    region.setInt32(COUNT_OFFSET, number + 1);
    region.setInt64(END_PHYSICAL_OFFSET_OFFSET, physicalOffset);
    region.setInt64(END_TIMESTAMP_OFFSET, timestamp);
    return true;
  }

  /**
   * Adds the keys of records of `size` bytes each, the first at physicalOffset, `keyCount` a record: hashes[from + done] up
   * to hashes[from + total]. The slots lie anywhere in memory, so that here, unlike in `put`, nothing waits for one before
   * going to the next; the header is brought up to date once.
   * @returns how many keys it took; 0: the file is full
   */
  putRun(
    physicalOffset: number,
    size: number,
    storeTimestamp: number,
    hashes: Int32Array,
    from: number,
    keyCount: number,
    done: number,
    total: number,
  ): number {
    const view = this.#region.mapped;
    const number = this.count;
    // The first entry of a file sets its begin.
    if (view === undefined || number === 1)
      return this.#putOne(physicalOffset, size, storeTimestamp, hashes, from, keyCount, done);
    const count = Math.min(total - done, this.#shape.entryCount - number);
    if (count <= 0) return 0;
    if (number + count > this.#reservedCount) this.#reserve(number);
    const { slotCount } = this.#shape;
    const timestamp = this.#notBefore(storeTimestamp);
    const seconds = this.#secondsOf(timestamp);
    let record = Math.floor(done / keyCount);
    let keysLeft = keyCount - (done % keyCount);
    let physical = physicalOffset + record * size;
    let high = Math.floor(physical / TWO_32);
    let usedSlots = 0;
    let at = this.#entryAt(number);
    for (let i = 0; i < count; i++, at += INDEX_ENTRY_SIZE) {
      if (keysLeft === 0) {
        keysLeft = keyCount;
        record++;
        physical += size;
        high = Math.floor(physical / TWO_32);
      }
      keysLeft--;
      const keyHash = hashes[from + done + i]!;
      const slotAt = INDEX_HEADER_SIZE + SLOT_SIZE * (keyHash % slotCount);
      const newest = view.getInt32(slotAt);
      const previous = newest < number + i ? Math.max(NO_ENTRY, newest) : this.#knownEntry(newest, number + i);
      view.setInt32(at, keyHash);
      view.setInt32(at + ENTRY_PHYSICAL_OFFSET_OFFSET, high);
      view.setInt32(at + ENTRY_PHYSICAL_OFFSET_OFFSET + 4, physical - high * TWO_32);
      view.setInt32(at + ENTRY_SECONDS_OFFSET, seconds);
      view.setInt32(at + ENTRY_PREVIOUS_OFFSET, previous);
      view.setInt32(slotAt, number + i);
      if (previous === NO_ENTRY) usedSlots++;
    }
    const region = this.#region;
    if (usedSlots > 0) region.setInt32(USED_SLOTS_OFFSET, region.int32(USED_SLOTS_OFFSET) + usedSlots);
    region.setInt32(COUNT_OFFSET, number + count);
    region.setInt64(END_PHYSICAL_OFFSET_OFFSET, physical);
    region.setInt64(END_TIMESTAMP_OFFSET, timestamp);
    return count;
  }

  #putOne(
    physicalOffset: number,
    size: number,
    storeTimestamp: number,
    hashes: Int32Array,
    from: number,
    keyCount: number,
    done: number,
  ): number {
    const offset = physicalOffset + Math.floor(done / keyCount) * size;
    return this.put(hashes[from + done]!, offset, storeTimestamp) ? 1 : 0;
  }

  /** Within a file seconds go up, also where a clock was put back: queries stop at the first entry that is too old. */
  #notBefore(storeTimestamp: number): number {
    const end = this.endTimestamp;
    if (storeTimestamp >= end) return storeTimestamp;
    // Up to a second less than the end where that was mended.
    const isSameSecond = storeTimestamp >= this.beginTimestamp && this.#secondsOf(storeTimestamp) === this.#secondsOf(end);
    return isSameSecond ? storeTimestamp : end;
  }

  /** Also for the first entry, whose begin is that of the file before: so Apache reads and writes it. */
  #secondsOf(storeTimestamp: number): number {
    const begin = this.beginTimestamp;
    return begin <= 0 ? 0 : Math.min(SECONDS_MAX, Math.max(0, Math.trunc((storeTimestamp - begin) / 1000)));
  }

  #reserve(number: number): void {
    const entryCount = Math.min(number + RESERVED_ENTRIES, this.#shape.entryCount);
    const from = this.#reservedCount === 0 ? 0 : this.#entryAt(this.#reservedCount);
    this.#region.reserve(from, this.#entryAt(entryCount) - from);
    this.#reservedCount = entryCount;
  }

  /**
   * The slot's newest entry below `number`. A slot may point at or beyond that where the process died between
   * the writing of entries and that of the header; those entries are about to be written again.
   */
  #knownEntry(newest: number, number: number): number {
    let entry = newest;
    while (entry >= number) {
      if (entry >= this.#shape.entryCount) return NO_ENTRY;
      const previous = this.#region.int32(this.#entryAt(entry) + ENTRY_PREVIOUS_OFFSET);
      if (previous >= entry) return NO_ENTRY;
      entry = previous;
    }
    return Math.max(NO_ENTRY, entry);
  }

  /** Places that `isSound` looks at. */
  get lookSize(): number {
    return this.#shape.slotCount + this.count;
  }

  /**
   * Whether slots and entries agree with each other, so that each key in the file is found; what a process that died was
   * about to write does not count. Somebody else may have damaged the file, or the system.
   * @param goesOn asked from time to time; where it is not to go on, the answer means nothing
   */
  isSound(goesOn: () => boolean = () => true): boolean {
    const region = this.#region;
    const { slotCount, entryCount } = this.#shape;
    const count = region.int32(COUNT_OFFSET);
    if (count < 1 || count > entryCount || this.beginTimestamp < 0 || this.beginTimestamp > this.endTimestamp) return false;
    if (count > 1 && region.int64(this.#entryAt(1) + ENTRY_PHYSICAL_OFFSET_OFFSET) !== this.beginPhysicalOffset) return false;
    const newest = new Int32Array(slotCount);
    for (let number = 1, last = 0, seconds = 0; number < count && goesOn(); number += LOOKED_AT_ONCE) {
      const end = Math.min(count, number + LOOKED_AT_ONCE);
      if (!this.#areEntriesSound(number, end, last, seconds, newest)) return false;
      const at = this.#entryAt(end - 1);
      last = region.int64(at + ENTRY_PHYSICAL_OFFSET_OFFSET);
      seconds = end > 2 ? region.int32(at + ENTRY_SECONDS_OFFSET) : 0; // The first one's count from the begin of the file before.
    }
    if (count > 1 && !this.#isEndSound(count)) return false;
    for (let slot = 0; slot < slotCount && goesOn(); slot += LOOKED_AT_ONCE) {
      const end = Math.min(slotCount, slot + LOOKED_AT_ONCE);
      const view = region.stretch(INDEX_HEADER_SIZE + SLOT_SIZE * slot, SLOT_SIZE * (end - slot));
      for (let i = slot; i < end; i++) {
        const known = view.getInt32(SLOT_SIZE * (i - slot));
        // Ahead of the header where the process died: `#knownEntry` finds the way.
        if (known !== newest[i] && (known < count || known >= entryCount)) return false;
      }
    }
    return true;
  }

  /** Of the entries [from, end), before which `last` and `lastSeconds` were the newest; brings `newest` of the slots up to date. */
  #areEntriesSound(from: number, end: number, last: number, lastSeconds: number, newest: Int32Array): boolean {
    const { slotCount } = this.#shape;
    const headerEnd = this.endPhysicalOffset;
    const count = this.count;
    const view = this.#region.stretch(this.#entryAt(from), INDEX_ENTRY_SIZE * (end - from));
    for (let number = from, at = 0; number < end; number++, at += INDEX_ENTRY_SIZE) {
      const keyHash = view.getInt32(at);
      const physicalOffset =
        view.getInt32(at + ENTRY_PHYSICAL_OFFSET_OFFSET) * TWO_32 + view.getUint32(at + ENTRY_PHYSICAL_OFFSET_OFFSET + 4);
      const seconds = view.getInt32(at + ENTRY_SECONDS_OFFSET);
      if (keyHash < 0 || physicalOffset < last || seconds < (number > 1 ? lastSeconds : 0)) return false;
      // The header may be behind by the newest entry.
      if (physicalOffset > headerEnd && number < count - 1) return false;
      const slot = keyHash % slotCount;
      if (view.getInt32(at + ENTRY_PREVIOUS_OFFSET) !== newest[slot]) return false;
      newest[slot] = number;
      last = physicalOffset;
      if (number > 1) lastSeconds = seconds;
    }
    return true;
  }

  /** Whether the end values are those of the newest entry. */
  #isEndSound(count: number): boolean {
    const at = this.#entryAt(count - 1);
    const last = this.#region.int64(at + ENTRY_PHYSICAL_OFFSET_OFFSET);
    const end = this.endPhysicalOffset;
    if (end !== last || count === 2) return end <= last;
    return this.#region.int32(at + ENTRY_SECONDS_OFFSET) === this.#secondsOf(this.endTimestamp);
  }

  /** How many of the newest entries are of the record at `physicalOffset`. */
  newestEntriesOf(physicalOffset: number): number {
    let found = 0;
    for (let number = this.count - 1; number > NO_ENTRY; number--) {
      if (this.#region.int64(this.#entryAt(number) + ENTRY_PHYSICAL_OFFSET_OFFSET) !== physicalOffset) break;
      found++;
    }
    return found;
  }

  /** Whether the file's time span overlaps [beginMs, endMs] as Apache's test has it. */
  isTimeMatched(beginMs: number, endMs: number): boolean {
    const begin = this.beginTimestamp;
    const end = this.endTimestamp;
    return (beginMs < begin && endMs > end) || (beginMs >= begin && beginMs <= end) || (endMs >= begin && endMs <= end);
  }

  /**
   * Adds the physicalOffsets of the entries with that hash and a time in [beginMs, endMs] to `found`, newest
   * first, each once, until it holds `countMax`. Times count in whole seconds since the file's begin.
   */
  select(found: number[], keyHash: number, countMax: number, beginMs: number, endMs: number): void {
    const region = this.#region;
    if (this.count <= 1) return; // Its slots may have no disk space yet: a look would end the process.
    const begin = this.beginTimestamp;
    let number = region.int32(this.#slotAt(keyHash));
    while (number > NO_ENTRY && number < this.#shape.entryCount && found.length < countMax) {
      const at = this.#entryAt(number);
      const seconds = region.int32(at + ENTRY_SECONDS_OFFSET);
      if (seconds < 0) return;
      const time = begin + seconds * 1000;
      if (region.int32(at) === keyHash && time >= beginMs && time <= endMs) {
        const physicalOffset = region.int64(at + ENTRY_PHYSICAL_OFFSET_OFFSET);
        if (!found.includes(physicalOffset)) found.push(physicalOffset);
      }
      const previous = region.int32(at + ENTRY_PREVIOUS_OFFSET);
      if (previous >= number || time < beginMs) return; // Never upward: no chain is endless, even in a damaged file.
      number = previous;
    }
  }

  #slotAt(keyHash: number): number {
    return INDEX_HEADER_SIZE + SLOT_SIZE * (keyHash % this.#shape.slotCount);
  }

  #entryAt(number: number): number {
    return this.#entriesAt + INDEX_ENTRY_SIZE * number;
  }

  /** Lets readers in other threads see all that was put. */
  publish(): void {
    this.#region.publish();
  }

  rest(): void {
    this.#region.rest();
  }

  /** Readers: sees what the writer has published since. */
  refresh(): void {
    this.#region.refresh();
  }

  /** Waits until all that was put is on the disk. */
  sync(): void {
    this.#region.sync();
  }

  close(): void {
    this.#region.close();
  }
}
