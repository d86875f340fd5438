import { BLANK_ENTRY_SIZE, ENTRY_SIZE, entryPhysicalOffset, entrySize, entryTagsCode } from "../../format/files/consume-queue.ts";
import type { Drive } from "../../os/api.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";

/** Entries read at once. */
const BLOCK_COUNT = 256;

/** Reads the entries of one queue that nobody writes, in any order, of those of its files that are whole. */
export class QueueEntries {
  readonly bases: readonly number[];
  readonly #queue: ConsumeQueue;
  readonly #known: ReadonlySet<number>;
  readonly #fileSize: number;
  readonly #block = Buffer.alloc(BLOCK_COUNT * ENTRY_SIZE);
  #blockStart = -1;
  #blockCount = 0;
  #first: number | undefined;
  #last: number | undefined;
  /** Of the entry last loaded; all 0: it was never written. */
  physicalOffset = 0;
  size = 0;
  tagsCode = 0;

  constructor(
    drive: Drive,
    store: { consumeQueue: string; queueFileSize: number },
    { topic, queueId, bases }: { topic: string; queueId: number; bases: readonly number[] },
  ) {
    this.bases = bases;
    this.#known = new Set(bases);
    this.#fileSize = store.queueFileSize;
    this.#queue = new ConsumeQueue(drive, queueDirectory(store.consumeQueue, topic, queueId), store.queueFileSize, false);
  }

  get entriesPerFile(): number {
    return this.#fileSize / ENTRY_SIZE;
  }

  /** Reads an entry into the fields. @returns false when its file is not there */
  load(queueOffset: number): boolean {
    let at = queueOffset - this.#blockStart;
    if (this.#blockStart < 0 || at < 0 || at >= this.#blockCount) {
      if (!this.#isThere(queueOffset)) return false;
      this.#blockStart = queueOffset - (queueOffset % BLOCK_COUNT);
      // A block never begins in the file before.
      if (!this.#isSameFile(this.#blockStart, queueOffset)) this.#blockStart = queueOffset;
      this.#blockCount = this.#queue.read(this.#blockStart, BLOCK_COUNT, this.#block);
      at = queueOffset - this.#blockStart;
    }
    const position = at * ENTRY_SIZE;
    this.physicalOffset = entryPhysicalOffset(this.#block, position);
    this.size = entrySize(this.#block, position);
    this.tagsCode = entryTagsCode(this.#block, position);
    return true;
  }

  get isZero(): boolean {
    return this.size === 0 && this.physicalOffset === 0 && this.tagsCode === 0;
  }

  /** Stands before the first entry of a queue that begins late. */
  get isBlank(): boolean {
    return this.size === BLANK_ENTRY_SIZE;
  }

  /** The first entry that was written; -1: none. */
  first(): number {
    this.#first ??= this.#findFirst();
    return this.#first;
  }

  #findFirst(): number {
    for (const base of this.bases) {
      const start = base / ENTRY_SIZE;
      for (let queueOffset = start; queueOffset < start + this.entriesPerFile; queueOffset++) {
        if (this.load(queueOffset) && !this.isZero && !this.isBlank) return queueOffset;
      }
    }
    return -1;
  }

  /** The last entry that was written, by bisection in the last file that has any; -1: none. */
  last(): number {
    this.#last ??= this.#findLast();
    return this.#last;
  }

  #findLast(): number {
    const isWritten = (queueOffset: number): boolean => this.load(queueOffset) && !this.isZero;
    for (let i = this.bases.length - 1; i >= 0; i--) {
      let low = this.bases[i]! / ENTRY_SIZE;
      if (!isWritten(low)) continue;
      for (let high = low + this.entriesPerFile; high - low > 1; ) {
        const middle = Math.floor((low + high) / 2);
        if (isWritten(middle)) low = middle;
        else high = middle;
      }
      return low;
    }
    return -1;
  }

  #isThere(queueOffset: number): boolean {
    const position = queueOffset * ENTRY_SIZE;
    return queueOffset >= 0 && this.#known.has(position - (position % this.#fileSize));
  }

  #isSameFile(a: number, b: number): boolean {
    return Math.floor((a * ENTRY_SIZE) / this.#fileSize) === Math.floor((b * ENTRY_SIZE) / this.#fileSize);
  }

  close(): void {
    this.#queue.close();
  }
}
