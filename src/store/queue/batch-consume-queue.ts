import {
  BATCH_ENTRY_SIZE,
  batchEntryBase,
  batchEntryEnd,
  batchEntryStoreTimestamp,
  writeBatchEntry,
} from "../../format/files/batch-consume-queue.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize, entryTagsCode } from "../../format/files/consume-queue.ts";
import type { Drive } from "../../os/api.ts";
import { ConsumeQueue } from "./consume-queue.ts";

/**
 * One queue of a topic with `queue.type=BatchCQ`: an entry stands for a record, which may hold many messages, so that
 * entries are found by bisection over their base offsets. Entries are counted from 0 (`index`), messages by queueOffset.
 * A thread opens its own instance; only the queue indexer (or recovery, while nothing else runs) appends.
 * Source: Apache `BatchConsumeQueue`.
 */
export class BatchConsumeQueue extends ConsumeQueue {
  readonly #block: Buffer = Buffer.alloc(BATCH_ENTRY_SIZE);
  #lastAppended = -2;
  /** One past the last entry seen. */
  #seenEnd = 0;
  /** The entry that sequential reading comes to next, and the queueOffset that it was left at. */
  #nextIndex = 0;
  #nextOffset = -1;
  /** Of the entry last loaded. */
  physicalOffset = 0;
  size = 0;
  tagsCode = 0;
  storeTimestamp = 0;
  baseOffset = 0;
  /** queueOffset behind its last message. */
  endOffset = 0;

  /** @param isMapped false: it is read past its end, where its files may have holes */
  constructor(drive: Drive, directory: string, fileSize: number, writable: boolean, isMapped = true) {
    super(drive, directory, fileSize, writable, { entrySize: BATCH_ENTRY_SIZE, isMapped });
  }

  /** Reads an entry into the fields. @returns false when its file is gone */
  load(index: number): boolean {
    const mapped = this.mappedFor(index);
    let bytes = this.#block;
    let at = 0;
    if (mapped !== undefined) {
      bytes = mapped;
      at = this.positionInFile(index);
    } else if (this.read(index, 1, bytes) === 0) return false;
    this.#seenEnd = Math.max(this.#seenEnd, index + 1);
    this.physicalOffset = entryPhysicalOffset(bytes, at);
    this.size = entrySize(bytes, at);
    this.tagsCode = entryTagsCode(bytes, at);
    this.storeTimestamp = batchEntryStoreTimestamp(bytes, at);
    this.baseOffset = batchEntryBase(bytes, at);
    this.endOffset = batchEntryEnd(bytes, at);
    return true;
  }

  /** First index in [0, end) whose entry `isBehind`, which holds for all after it; `end` if none does. Files that are gone count as before. */
  #bisect(end: number, isBehind: () => boolean): number {
    let low = 0;
    let high = end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.load(middle) && isBehind()) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Index of the entry whose record holds the message, or of the first behind it. @param end entries there are */
  indexOf(queueOffset: number, end: number): number {
    if (queueOffset === this.#nextOffset && this.#nextIndex <= end) return this.#nextIndex;
    return this.#bisect(end, () => this.endOffset > queueOffset);
  }

  /** Index of the first entry stored at or after the time, or strictly after it. */
  indexOfTime(timestampMs: number, end: number, isStrict: boolean): number {
    return this.#bisect(end, () => (isStrict ? this.storeTimestamp > timestampMs : this.storeTimestamp >= timestampMs));
  }

  /** Index of the first entry whose record is at or behind the offset of the log. */
  indexOfPhysical(physicalOffset: number, end: number): number {
    return this.#bisect(end, () => this.physicalOffset >= physicalOffset);
  }

  /** @param queueOffset a message's */
  override forgetBelow(queueOffset: number): void {
    if (this.#seenEnd > 0) super.forgetBelow(this.#bisect(this.#seenEnd, () => this.endOffset > queueOffset));
  }

  /** Reading will probably go on with the message `queueOffset`, whose entry is `index`. */
  noteNext(queueOffset: number, index: number): void {
    this.#nextOffset = queueOffset;
    this.#nextIndex = index;
  }

  /**
   * Appends behind `end` entries; does nothing for a record that has its entry already, as after a restart.
   * @returns whether it was appended
   */
  append(
    end: number,
    physicalOffset: number,
    size: number,
    tagsCode: number,
    storeTimestamp: number,
    baseOffset: number,
    count: number,
  ): boolean {
    if (this.#lastAppended === -2) this.#lastAppended = end > 0 && this.load(end - 1) ? this.physicalOffset : -1;
    if (physicalOffset <= this.#lastAppended) return false;
    this.#lastAppended = physicalOffset;
    writeBatchEntry(this.#block, 0, physicalOffset, size, tagsCode, storeTimestamp, baseOffset, count);
    this.write(end, this.#block, 0, BATCH_ENTRY_SIZE);
    return true;
  }
}

/** Size of a batch queue's file that holds as many entries as a plain one of `queueFileSize`. */
export function batchFileSizeFor(queueFileSize: number): number {
  return (queueFileSize / ENTRY_SIZE) * BATCH_ENTRY_SIZE;
}
