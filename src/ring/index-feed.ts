/**
 * What the log writer tells an indexer about records as it appends them, so that the indexer need not read them back
 * from the log: a ring of entries of a fixed number of words. One producer, one consumer.
 *
 * It is a help, not the truth: when the ring is full, or a record came without notes, there is no entry, and the indexer
 * reads that stretch of the log. So the producer never waits, and entries name the offset of their record.
 *
 * Memory order. As in the lanes: entries are written with plain stores and published by Atomics.store of the tail.
 */
const CONTROL_WORDS = 64;
const TAIL = 0; // Written by the producer only.
const HEAD = 32; // Written by the consumer only.

/** Entries in a ring; a power of two. */
const CAPACITY_DEFAULT = 65_536;

/** Words of an entry for the queue indexer, and where its figures stand: cells count float64, words int32. */
export const QUEUE_FEED_WORDS = 8;
export const QUEUE_FEED_PHYSICAL_OFFSET = 0; // Cell.
export const QUEUE_FEED_QUEUE_OFFSET = 1; // Cell.
export const QUEUE_FEED_SIZE = 4;
export const QUEUE_FEED_SLOT = 5;
export const QUEUE_FEED_TAGS_CODE = 6;

/** The same for the key indexer. */
export const KEY_FEED_WORDS = 10;
export const KEY_FEED_PHYSICAL_OFFSET = 0; // Cell.
export const KEY_FEED_STORE_TIMESTAMP = 1; // Cell.
export const KEY_FEED_SIZE = 4;
/** How many hashes follow it. */
export const KEY_FEED_COUNT = 5;
export const KEY_FEED_HASHES = 6;

export interface IndexFeedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly entryWords: number;
  readonly capacity: number;
}

/** @param entryWords even, since offsets are float64 cells */
export function createIndexFeedMemory(entryWords: number, capacity: number = CAPACITY_DEFAULT): IndexFeedMemory {
  return { buffer: new SharedArrayBuffer(4 * (CONTROL_WORDS + capacity * entryWords)), entryWords, capacity };
}

class IndexFeedView {
  readonly control: Int32Array;
  readonly words: Int32Array;
  readonly cells: Float64Array;
  readonly entryWords: number;
  readonly capacity: number;

  constructor({ buffer, entryWords, capacity }: IndexFeedMemory) {
    this.control = new Int32Array(buffer, 0, CONTROL_WORDS);
    this.words = new Int32Array(buffer, 4 * CONTROL_WORDS);
    this.cells = new Float64Array(buffer, 4 * CONTROL_WORDS);
    this.entryWords = entryWords;
    this.capacity = capacity;
  }
}

/** The log writer's end. */
export class IndexFeedProducer {
  readonly #view: IndexFeedView;
  readonly words: Int32Array;
  readonly cells: Float64Array;
  #tail: number;
  #publishedTail: number;
  #headSeen: number;

  constructor(memory: IndexFeedMemory) {
    this.#view = new IndexFeedView(memory);
    this.words = this.#view.words;
    this.cells = this.#view.cells;
    this.#tail = Atomics.load(this.#view.control, TAIL);
    this.#publishedTail = this.#tail;
    this.#headSeen = Atomics.load(this.#view.control, HEAD);
  }

  /** @returns the first word of a new entry, which the caller fills; -1 when the ring is full */
  add(): number {
    if (((this.#tail - this.#headSeen) | 0) >= this.#view.capacity) {
      this.#headSeen = Atomics.load(this.#view.control, HEAD);
      if (((this.#tail - this.#headSeen) | 0) >= this.#view.capacity) return -1;
    }
    const at = (this.#tail & (this.#view.capacity - 1)) * this.#view.entryWords;
    this.#tail = (this.#tail + 1) | 0;
    return at;
  }

  /** Where the next entry will be, for `rewind`. */
  get tail(): number {
    return this.#tail;
  }

  /** Takes back the entries from `tail` on, which must not have been published. */
  rewind(tail: number): void {
    this.#tail = tail;
  }

  /** Makes the entries visible. Before the log's end is moved past their records, so that the consumer does not read these. */
  publish(): void {
    if (this.#tail === this.#publishedTail) return;
    this.#publishedTail = this.#tail;
    Atomics.store(this.#view.control, TAIL, this.#tail);
  }

  /** More than half of the ring is in use, as far as was seen. */
  get isBusy(): boolean {
    if (((this.#tail - this.#headSeen) | 0) <= this.#view.capacity / 2) return false;
    this.#headSeen = Atomics.load(this.#view.control, HEAD);
    return ((this.#tail - this.#headSeen) | 0) > this.#view.capacity / 2;
  }
}

/** The indexer's end. */
export class IndexFeedConsumer {
  readonly #view: IndexFeedView;
  readonly words: Int32Array;
  readonly cells: Float64Array;
  #head: number;
  #tailSeen: number;

  constructor(memory: IndexFeedMemory) {
    this.#view = new IndexFeedView(memory);
    this.words = this.#view.words;
    this.cells = this.#view.cells;
    this.#head = Atomics.load(this.#view.control, HEAD);
    this.#tailSeen = this.#head;
  }

  /** Looks for new entries. After the log's end was read. */
  refresh(): void {
    this.#tailSeen = Atomics.load(this.#view.control, TAIL);
  }

  /** @returns the first word of the first entry for `physicalOffset` or later, which stays the first; -1: none is there */
  seek(physicalOffset: number): number {
    for (; this.#head !== this.#tailSeen; this.#head = (this.#head + 1) | 0) {
      const at = (this.#head & (this.#view.capacity - 1)) * this.#view.entryWords;
      // The physical offset is the first cell of either kind of entry.
      if (this.cells[at >> 1]! >= physicalOffset) return at;
    }
    return -1;
  }

  /** Gives back what was passed by `seek`. Once a batch. */
  release(): void {
    Atomics.store(this.#view.control, HEAD, this.#head);
  }
}
