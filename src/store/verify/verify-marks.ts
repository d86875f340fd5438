import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import { COUNT_OFFSET, INDEX_HEADER_SIZE, indexFileSize } from "../../format/files/index-file.ts";
import type { Drive } from "../../os/api.ts";
import { writtenSize } from "../../os/files.ts";
import { basePath } from "../log/log-files.ts";
import { queueDirectory } from "../queue/consume-queue.ts";
import type { StoreLayout } from "./verify-layout.ts";

/** Most that the marks of one store take, bytes; what finds no room is looked up record by record. */
const MARKS_SIZE_MAX = 536_870_912;

/** The entries [first, first + count) of a queue or an index file have a bit each, from that word on. */
export interface MarkRange {
  first: number;
  count: number;
  word: number;
}

/** Plain data, handed to every thread: one range for each queue and each index file of the layout. */
export interface MarkRanges {
  words: SharedArrayBuffer;
  queues: MarkRange[];
  index: MarkRange[];
}

/**
 * Which entries are known to be what their records say. The log is read once, in order; whoever checks a record there
 * marks the entries of it that it finds right. A queue or an index file is then gone through without a look at the log,
 * but for entries without a mark: they are found fault with, each by its own record.
 */
export class Marks {
  readonly #words: Int32Array;
  readonly #first: number;
  readonly #count: number;
  readonly #word: number;
  /** Marks of one word that are not entered yet: entries are mostly marked in their order. */
  #pending = 0;
  #pendingWord = -1;

  constructor(words: SharedArrayBuffer, { first, count, word }: MarkRange) {
    this.#words = new Int32Array(words);
    this.#first = first;
    this.#count = count;
    this.#word = word;
  }

  set(entry: number): void {
    const bit = entry - this.#first;
    if (bit < 0 || bit >= this.#count) return;
    const word = this.#word + (bit >>> 5);
    if (word !== this.#pendingWord) {
      this.flush();
      this.#pendingWord = word;
    }
    this.#pending |= 1 << (bit & 31);
  }

  /** Enters all marks that were set; others see them then. */
  flush(): void {
    // Other threads mark entries of the same word.
    if (this.#pending !== 0) Atomics.or(this.#words, this.#pendingWord, this.#pending);
    this.#pending = 0;
  }

  /** Only when no thread sets marks any more. */
  has(entry: number): boolean {
    const bit = entry - this.#first;
    return bit >= 0 && bit < this.#count && (this.#words[this.#word + (bit >>> 5)]! & (1 << (bit & 31))) !== 0;
  }
}

/** Room for marks of all entries that there may be. Queue files are sparse: what they occupy tells how many those are. */
export function markRanges(drive: Drive, layout: StoreLayout): MarkRanges {
  let word = 0;
  const take = (first: number, wanted: number): MarkRange => {
    const count = (word + Math.ceil(wanted / 32)) * 4 > MARKS_SIZE_MAX ? 0 : wanted;
    const range = { first, count, word };
    word += Math.ceil(count / 32);
    return range;
  };
  const queues = layout.queues.map(({ topic, queueId, bases }) => {
    const last = bases.at(-1);
    if (last === undefined) return take(0, 0);
    const file = basePath(queueDirectory(layout.consumeQueue, topic, queueId), last);
    return take(bases[0]! / ENTRY_SIZE, Math.ceil((last - bases[0]! + writtenSize(file)) / ENTRY_SIZE));
  });
  const index = layout.indexFiles.map((file) => take(0, indexEntryEnd(drive, layout, file)));
  return { words: new SharedArrayBuffer(4 * word), queues, index };
}

function indexEntryEnd(drive: Drive, { indexShape }: StoreLayout, path: string): number {
  const header = Buffer.alloc(INDEX_HEADER_SIZE);
  const file = drive.openFile(path, { size: indexFileSize(indexShape), writable: false, mapped: false });
  file.read(0, header, 0, INDEX_HEADER_SIZE);
  file.close();
  return Math.min(Math.max(header.readInt32BE(COUNT_OFFSET), 0), indexShape.entryCount);
}
