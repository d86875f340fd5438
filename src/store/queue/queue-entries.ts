import { BLANK_ENTRY_SIZE, ENTRY_SIZE, entryPhysicalOffset, entrySize, entryTagsCode } from "../../format/files/consume-queue.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";

/** Entries read at once. */
const BLOCK_COUNT = 256;
/** Entries read at once where none is expected: the rest of a file that was made whole. */
const ZEROS_COUNT = 8192;
const ZEROS = Buffer.alloc(ZEROS_COUNT * ENTRY_SIZE);

/** Reads the entries of one queue that nobody writes, in any order, of those of its files that are whole. */
export class QueueEntries {
  readonly bases: readonly number[];
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #queue: ConsumeQueue;
  readonly #known: ReadonlySet<number>;
  readonly #fileSize: number;
  readonly #block = Buffer.alloc(BLOCK_COUNT * ENTRY_SIZE);
  #ahead: Buffer | undefined;
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
    this.#drive = drive;
    this.#directory = queueDirectory(store.consumeQueue, topic, queueId);
    this.#queue = new ConsumeQueue(drive, this.#directory, store.queueFileSize, false);
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

  /** @returns the end of the entries, from the one last loaded on, that were never written as well; within their file */
  zerosEnd(queueOffset: number): number {
    const end = queueOffset - (queueOffset % this.entriesPerFile) + this.entriesPerFile;
    let at = Math.min(end, this.#blockStart + this.#blockCount);
    const rest = this.#block.subarray((queueOffset - this.#blockStart) * ENTRY_SIZE, (at - this.#blockStart) * ENTRY_SIZE);
    if (!isZeros(rest)) return queueOffset + 1;
    this.#ahead ??= Buffer.alloc(ZEROS.length);
    const data = this.#drive.nextData(this.#path(at - 1), (at * ENTRY_SIZE) % this.#fileSize || this.#fileSize);
    at = Math.max(at, Math.min(end, end - this.entriesPerFile + Math.floor(data / ENTRY_SIZE)));
    while (at < end) {
      const count = this.#queue.read(at, Math.min(ZEROS_COUNT, end - at), this.#ahead);
      if (count === 0 || !isZeros(this.#ahead.subarray(0, count * ENTRY_SIZE))) break;
      at += count;
    }
    return at;
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

  #path(queueOffset: number): string {
    const position = queueOffset * ENTRY_SIZE;
    return basePath(this.#directory, position - (position % this.#fileSize));
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

function isZeros(bytes: Buffer): boolean {
  return bytes.equals(ZEROS.subarray(0, bytes.length));
}
