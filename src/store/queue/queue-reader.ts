import type { EntryFilter } from "../../filter/entry-filter.ts";
import type { MessageFilter } from "../../filter/message-filter.ts";
import { BATCH_ENTRY_SIZE } from "../../format/files/batch-consume-queue.ts";
import {
  BLANK_ENTRY_SIZE,
  ENTRY_SIZE,
  entryPhysicalOffset,
  entrySize,
  entryTagsCode,
  isExtAddress,
} from "../../format/files/consume-queue.ts";
import { RecordParts, recordSizeAt } from "../../format/record/message.ts";
import type { StoreFile } from "../../os/api.ts";
import type { LogReader } from "../log/log-reader.ts";
import { checkedSize } from "../log/log-scan.ts";
import { BatchConsumeQueue } from "./batch-consume-queue.ts";
import type { ConsumeQueue } from "./consume-queue.ts";
import type { RecentRecords } from "./recent-records.ts";

/** Statuses of a read. Source: Apache `GetMessageStatus`. */
export const READ_FOUND = 0;
export const READ_NO_MATCH = 1;
/** The log's data has just been deleted. */
export const READ_REMOVED = 2;
/** The entry cannot be read. */
export const READ_ENTRY_MISSING = 3;
/** `isThere` said no to the first record that must be looked into. */
export const READ_COLD = 4;

export interface ReadLimits {
  /** Most messages, and most bytes, of an answer; other limits hold for what is far behind the log's end. */
  countInMemory: number;
  sizeInMemory: number;
  countOnDisk: number;
  sizeOnDisk: number;
  /** Distance from the log's end up to which data counts as in memory, bytes. */
  inMemoryDistance: number;
  /** How each record is looked at before it is handed out; what is damaged is passed over. CHECK_…; default: not at all. */
  check?: number | undefined;
}

/** Bytes of entries that a filtered read looks at, at least. Source: Apache `maxFilterMessageSize`. */
const FILTER_SCAN_SIZE = 16_000;
const PARTS_MAX = 1024;
/** Steps that the filters of one read may take, a few ms: after that the answer goes out with what there is. */
const FILTER_STEPS_MAX = 4_000_000;

/**
 * Picks the records of one pull: a list of stretches of log files, neighbours joined. Nothing of the log is
 * copied. One instance a thread; the result is good until the next read.
 * Source: Apache `DefaultMessageStore.getMessage`, `isTheBatchFull`.
 */
export class QueueReader {
  readonly #log: LogReader;
  readonly #limits: ReadLimits;
  readonly #parts = new RecordParts();
  /** For readers that want to know each message, not only the stretches: of message i its queueOffset, physicalOffset and size. */
  readonly #picks: Float64Array | undefined;
  readonly #entries: Buffer = Buffer.alloc(FILTER_SCAN_SIZE);
  readonly files: (StoreFile | undefined)[] = new Array(PARTS_MAX).fill(undefined);
  readonly positions: Float64Array = new Float64Array(PARTS_MAX);
  readonly sizes: Float64Array = new Float64Array(PARTS_MAX);
  partCount = 0;
  messageCount = 0;
  totalSize = 0;
  nextOffset = 0;
  /** Of what is picked: records, which may be whole batches. */
  pickCount = 0;
  /** Of the first record picked: those behind it in the queue are behind it in the log, too. */
  firstPhysicalOffset = 0;
  /** Whether a record that must be looked into can be touched now; undefined: all can. */
  isThere: ((file: StoreFile, position: number, size: number, physicalOffset: number) => boolean) | undefined;

  /** @param picks see #picks; three numbers a message, for as many as are ever asked for at once */
  constructor(log: LogReader, limits: ReadLimits, picks?: Float64Array) {
    this.#log = log;
    this.#limits = limits;
    this.#picks = picks;
  }

  /**
   * @param queueOffset inside [min, max)
   * @param maxOffset   of the queue
   * @param logEnd      one past the last readable byte of the log
   * @param entryCount  of a queue of whole batches: how many entries it has
   */
  read(
    queue: ConsumeQueue,
    queueOffset: number,
    maxOffset: number,
    count: number,
    filter: EntryFilter,
    logEnd: number,
    entryCount = 0,
  ): number {
    this.partCount = 0;
    this.messageCount = 0;
    this.totalSize = 0;
    this.nextOffset = queueOffset;
    this.pickCount = 0;
    if (queue instanceof BatchConsumeQueue) return this.#readBatches(queue, maxOffset, count, filter, logEnd, entryCount);
    const scanLimit = Math.min(maxOffset, queueOffset + Math.max(FILTER_SCAN_SIZE / ENTRY_SIZE, count));
    const message = filter.message;
    const stepsMax = message === undefined ? 0 : message.steps + FILTER_STEPS_MAX;
    let isFull = false;
    while (this.nextOffset < scanLimit && !isFull) {
      const wanted = Math.min(
        scanLimit - this.nextOffset,
        FILTER_SCAN_SIZE / ENTRY_SIZE,
        filter.matchesAll && message === undefined ? Math.max(1, count) : Number.MAX_SAFE_INTEGER,
      );
      const mapped = queue.mappedFor(this.nextOffset);
      let bytes: Buffer;
      let at: number;
      let available: number;
      if (mapped !== undefined) {
        bytes = mapped;
        at = queue.positionInFile(this.nextOffset);
        available = Math.min(wanted, (mapped.length - at) / ENTRY_SIZE, queue.mappedEnd - this.nextOffset);
      } else {
        bytes = this.#entries;
        at = 0;
        available = queue.read(this.nextOffset, wanted, bytes);
      }
      if (available === 0) return this.messageCount > 0 ? READ_FOUND : READ_ENTRY_MISSING;
      for (let i = 0; i < available; i++, at += ENTRY_SIZE) {
        const physicalOffset = entryPhysicalOffset(bytes, at);
        const size = entrySize(bytes, at);
        if (size === BLANK_ENTRY_SIZE || size <= 0) {
          this.nextOffset++; // Its record is lost.
          continue;
        }
        if ((!filter.matchesAll || filter.bloom !== undefined) && !mayPass(queue, filter, bytes, at)) {
          this.nextOffset++;
          continue;
        }
        if (this.#isFull(count, 1, physicalOffset, size, logEnd)) {
          isFull = true;
          break;
        }
        const file = this.#log.file(physicalOffset);
        if (file === undefined) {
          if (this.messageCount > 0) return READ_FOUND;
          this.nextOffset++;
          return READ_REMOVED;
        }
        const isLookedInto = message !== undefined || this.#limits.check !== undefined;
        if (isLookedInto && !this.#canTouch(file, physicalOffset, size)) return this.messageCount > 0 ? READ_FOUND : READ_COLD;
        this.nextOffset++;
        if (!this.#isWhole(physicalOffset, size, logEnd)) continue;
        if (message !== undefined && !this.#matches(message, physicalOffset, size, logEnd)) {
          if (message.steps <= stepsMax) continue;
          isFull = true;
          break;
        }
        if (this.#picks !== undefined) this.#pick(this.#picks, this.nextOffset - 1, physicalOffset, size);
        if (this.messageCount === 0) this.firstPhysicalOffset = physicalOffset;
        this.#add(file, physicalOffset - this.#log.baseOf(physicalOffset), size, 1);
      }
    }
    return this.messageCount > 0 ? READ_FOUND : READ_NO_MATCH;
  }

  /** As `read`, of what `recent` has found from `queueOffset` on. */
  readRecent(recent: RecentRecords, queueOffset: number, count: number, filter: EntryFilter, logEnd: number): number {
    this.partCount = 0;
    this.messageCount = 0;
    this.totalSize = 0;
    this.nextOffset = queueOffset;
    const message = filter.message;
    const stepsMax = message === undefined ? 0 : message.steps + FILTER_STEPS_MAX;
    for (let i = 0; i < recent.foundCount; i++) {
      const physicalOffset = recent.physicalOffset(i);
      const size = recent.size(i);
      const mayPass = filter.matchesAll || filter.codes.has(recent.tagsCode(i));
      if (mayPass && this.#isFull(count, 1, physicalOffset, size, logEnd)) break;
      this.nextOffset++;
      if (!mayPass || !this.#isWhole(physicalOffset, size, logEnd)) continue;
      if (message !== undefined && !this.#matches(message, physicalOffset, size, logEnd)) {
        if (message.steps <= stepsMax) continue;
        break;
      }
      const file = this.#log.file(physicalOffset);
      if (file === undefined) return this.messageCount > 0 ? READ_FOUND : READ_REMOVED;
      this.#add(file, physicalOffset - this.#log.baseOf(physicalOffset), size, 1);
    }
    return this.messageCount > 0 ? READ_FOUND : READ_NO_MATCH;
  }

  #canTouch(file: StoreFile, physicalOffset: number, size: number): boolean {
    return (
      this.isThere === undefined || this.isThere(file, physicalOffset - this.#log.baseOf(physicalOffset), size, physicalOffset)
    );
  }

  /** Whether the record is what was written, as far as its checksum tells; always, where nobody asks. */
  #isWhole(physicalOffset: number, size: number, logEnd: number): boolean {
    const { check } = this.#limits;
    return check === undefined || checkedSize(this.#log, physicalOffset, logEnd, this.#parts, check) === size;
  }

  /** What is no valid record passes no filter. */
  #matches(filter: MessageFilter, physicalOffset: number, size: number, logEnd: number): boolean {
    const log = this.#log;
    if (!log.window(physicalOffset, logEnd, size) || log.end - log.at < size) return false;
    return recordSizeAt(log.bytes, log.at, log.at + size) === size && filter.matches(log.bytes, log.at);
  }

  /**
   * Records that are whole batches. One is never cut: an offset in its middle finds it from its start. A batch without a
   * tagsCode may be one of mixed tags: it is handed out to every filter, and the client sorts its messages.
   */
  #readBatches(
    queue: BatchConsumeQueue,
    maxOffset: number,
    count: number,
    filter: EntryFilter,
    logEnd: number,
    entryCount: number,
  ): number {
    let index = queue.indexOf(this.nextOffset, entryCount);
    const scanLimit = Math.min(entryCount, index + Math.max(FILTER_SCAN_SIZE / BATCH_ENTRY_SIZE, count));
    for (; index < scanLimit && this.nextOffset < maxOffset; index++) {
      if (!queue.load(index)) break;
      const { physicalOffset, size, baseOffset, endOffset, tagsCode } = queue;
      const batchCount = endOffset - baseOffset;
      const isMixed = tagsCode === 0 && batchCount > 1;
      if (!filter.matchesAll && !isMixed && !filter.codes.has(tagsCode)) {
        this.nextOffset = endOffset;
        continue;
      }
      if (this.#isFull(count, batchCount, physicalOffset, size, logEnd)) break;
      const file = this.#log.file(physicalOffset);
      if (file === undefined) {
        if (this.messageCount > 0) break;
        this.nextOffset = endOffset;
        return READ_REMOVED;
      }
      const isLookedInto = filter.message !== undefined || this.#limits.check !== undefined;
      if (isLookedInto && !this.#canTouch(file, physicalOffset, size)) {
        if (this.messageCount > 0) break;
        return READ_COLD;
      }
      this.nextOffset = endOffset;
      if (!this.#isWhole(physicalOffset, size, logEnd)) continue;
      // As in Apache's broker: what the batch as a whole says of itself counts, not what its messages say.
      if (filter.message !== undefined && !this.#matches(filter.message, physicalOffset, size, logEnd)) continue;
      if (this.#picks !== undefined) this.#pick(this.#picks, baseOffset, physicalOffset, size);
      if (this.messageCount === 0) this.firstPhysicalOffset = physicalOffset;
      this.#add(file, physicalOffset - this.#log.baseOf(physicalOffset), size, batchCount);
    }
    queue.noteNext(this.nextOffset, index);
    if (this.messageCount > 0) return READ_FOUND;
    return index < scanLimit ? READ_ENTRY_MISSING : READ_NO_MATCH;
  }

  /**
   * Records that another thread has chosen, in place of a read.
   * @param records physicalOffset and size of each
   * @returns false if one of them is not there any more
   */
  take(records: Float64Array): boolean {
    this.partCount = 0;
    this.messageCount = 0;
    this.totalSize = 0;
    for (let i = 0; i + 1 < records.length; i += 2) {
      const physicalOffset = records[i]!;
      const file = this.#log.file(physicalOffset);
      if (file === undefined || this.partCount >= PARTS_MAX) return false;
      this.#add(file, physicalOffset - this.#log.baseOf(physicalOffset), records[i + 1]!, 1);
    }
    return true;
  }

  #isFull(count: number, more: number, physicalOffset: number, size: number, logEnd: number): boolean {
    if (this.messageCount === 0) return false;
    if (this.messageCount + more > count || this.partCount >= PARTS_MAX) return true;
    const limits = this.#limits;
    const isInMemory = logEnd - physicalOffset <= limits.inMemoryDistance;
    if (this.messageCount >= (isInMemory ? limits.countInMemory : limits.countOnDisk)) return true;
    return this.totalSize + size > (isInMemory ? limits.sizeInMemory : limits.sizeOnDisk);
  }

  #pick(picks: Float64Array, queueOffset: number, physicalOffset: number, size: number): void {
    const at = this.pickCount++ * 3;
    picks[at] = queueOffset;
    picks[at + 1] = physicalOffset;
    picks[at + 2] = size;
  }

  #add(file: StoreFile, position: number, size: number, count: number): void {
    const last = this.partCount - 1;
    if (last >= 0 && this.files[last] === file && position === this.positions[last]! + this.sizes[last]!) {
      this.sizes[last]! += size;
    } else {
      this.files[this.partCount] = file;
      this.positions[this.partCount] = position;
      this.sizes[this.partCount++] = size;
    }
    this.messageCount += count;
    this.totalSize += size;
  }

  /** Copies the records, one after the other, to target from `at` on. */
  copyTo(target: Buffer, at: number): void {
    for (let i = 0; i < this.partCount; i++) {
      this.files[i]!.read(this.positions[i]!, target, at, this.sizes[i]!);
      at += this.sizes[i]!;
    }
  }
}

/** What cannot be told by the entry, or what it points at, is for the message itself to tell, or for the client. */
function mayPass(queue: ConsumeQueue, filter: EntryFilter, entries: Buffer, at: number): boolean {
  const tagsCode = entryTagsCode(entries, at);
  if (!isExtAddress(tagsCode)) return filter.matchesAll || filter.codes.has(tagsCode);
  if (queue.ext?.load(entries, at) !== true) return true;
  if (!filter.matchesAll) return filter.codes.has(queue.ext.tagsCode);
  return filter.bloom === undefined || queue.ext.mayPass(filter.bloom);
}
