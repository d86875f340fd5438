/**
 * What the log writer tells an indexer about records as it appends them, so that the indexer need not read them back
 * from the log: a ring of entries, each for one record or for a run of like ones that follow each other in the log. One
 * producer, one consumer.
 *
 *   words (int32)  0: size of the entry in words (even), and above FEED_COUNT_SHIFT the number of records
 *                  1: size of each record
 *                  6, 7, ...: by kind of ring
 *   cells (float64, two words each)  1: physicalOffset of the first record;  2: by kind of ring
 *
 * An entry does not reach over the end of the ring: a first word of 0 sends the reader to its start.
 *
 * It is a help, not the truth: when the ring is full, or a record came without notes, there is no entry, and the indexer
 * reads that stretch of the log. So the producer never waits, and entries name the offset of their records.
 *
 * Memory order. As in the lanes: entries are written with plain stores and published by Atomics.store of the tail.
 */
const CONTROL_WORDS = 64;
const TAIL = 0; // Written by the producer only.
const HEAD = 32; // Written by the consumer only.

/** Words in a ring; a power of two. */
const CAPACITY_DEFAULT = 524_288;

const FEED_LENGTH = 0;
export const FEED_COUNT_SHIFT = 8;
const FEED_LENGTH_MASK: number = (1 << FEED_COUNT_SHIFT) - 1;
/** Longest entry, words. */
export const FEED_LENGTH_MAX: number = FEED_LENGTH_MASK - 1;
export const FEED_SIZE = 1;
export const FEED_PHYSICAL_OFFSET = 1; // Cell.

/** Words of an entry for the queue indexer: a run of records of one queue, with queueOffsets that follow each other. */
export const QUEUE_FEED_WORDS = 8;
export const QUEUE_FEED_QUEUE_OFFSET = 2; // Cell; of the first record.
export const QUEUE_FEED_SLOT = 6;
export const QUEUE_FEED_TAGS_CODE = 7;
/** In place of a slot: no record, but the blank end of a log file. */
export const FEED_BLANK_SLOT = -1;

/** The same for the key indexer. */
export const KEY_FEED_STORE_TIMESTAMP = 2; // Cell.
/** How many key hashes each record has; those of all records follow. */
export const KEY_FEED_COUNT = 6;
export const KEY_FEED_HASHES = 7;

export interface IndexFeedMemory {
  readonly buffer: SharedArrayBuffer;
  /** Words. */
  readonly capacity: number;
}

/** @param capacity words, a power of two */
export function createIndexFeedMemory(capacity: number = CAPACITY_DEFAULT): IndexFeedMemory {
  return { buffer: new SharedArrayBuffer(4 * (CONTROL_WORDS + capacity)), capacity };
}

class IndexFeedView {
  readonly control: Int32Array;
  readonly words: Int32Array;
  readonly cells: Float64Array;
  readonly capacity: number;

  constructor({ buffer, capacity }: IndexFeedMemory) {
    this.control = new Int32Array(buffer, 0, CONTROL_WORDS);
    this.words = new Int32Array(buffer, 4 * CONTROL_WORDS);
    this.cells = new Float64Array(buffer, 4 * CONTROL_WORDS);
    this.capacity = capacity;
  }
}

/** The log writer's end. */
export class IndexFeedProducer {
  readonly #view: IndexFeedView;
  readonly words: Int32Array;
  readonly cells: Float64Array;
  /** Words written so far, as are all these; modulo 2^32. */
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

  /** @param length words, even @returns the first word of a new entry, which the caller fills; -1 when the ring is full */
  add(length: number): number {
    const { capacity } = this.#view;
    const at = this.#tail & (capacity - 1);
    const skipped = at + length > capacity ? capacity - at : 0;
    if (!this.#hasRoom(skipped + length)) return -1;
    if (skipped > 0) this.words[at + FEED_LENGTH] = 0;
    this.#tail = (this.#tail + skipped + length) | 0;
    return skipped > 0 ? 0 : at;
  }

  /** Makes the entry last added, which was not published, longer by some words. @returns false: there is no room */
  grow(by: number): boolean {
    const { capacity } = this.#view;
    const at = this.#tail & (capacity - 1);
    if (at === 0 || at + by > capacity || !this.#hasRoom(by)) return false;
    this.#tail = (this.#tail + by) | 0;
    return true;
  }

  #hasRoom(length: number): boolean {
    const { capacity, control } = this.#view;
    if (((this.#tail - this.#headSeen) | 0) + length <= capacity) return true;
    this.#headSeen = Atomics.load(control, HEAD);
    return ((this.#tail - this.#headSeen) | 0) + length <= capacity;
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

  /** @returns the first word of the first entry that has a record at `physicalOffset` or later, which stays the first; -1: none is there */
  seek(physicalOffset: number): number {
    const { capacity, words, cells } = this.#view;
    while (this.#head !== this.#tailSeen) {
      const at = this.#head & (capacity - 1);
      const first = words[at + FEED_LENGTH]!;
      const size = words[at + FEED_SIZE]! * (first >>> FEED_COUNT_SHIFT);
      if (first !== 0 && cells[(at >> 1) + FEED_PHYSICAL_OFFSET]! + size > physicalOffset) return at;
      this.#head = (this.#head + (first === 0 ? capacity - at : first & FEED_LENGTH_MASK)) | 0;
    }
    return -1;
  }

  /**
   * How many records from the one at `physicalOffset` on, which end at or below `limit`, the entry at `at` has.
   * @returns 0: it does not have that record
   */
  countFrom(at: number, physicalOffset: number, limit: number): number {
    const skipped = this.skippedAt(at, physicalOffset);
    if (skipped < 0) return 0;
    const count = (this.words[at + FEED_LENGTH]! >>> FEED_COUNT_SHIFT) - skipped;
    return Math.max(0, Math.min(count, Math.floor((limit - physicalOffset) / this.words[at + FEED_SIZE]!)));
  }

  /** How many records of the entry at `at` precede the one at `physicalOffset`; -1: it does not have that. */
  skippedAt(at: number, physicalOffset: number): number {
    const distance = physicalOffset - this.cells[(at >> 1) + FEED_PHYSICAL_OFFSET]!;
    if (distance === 0) return 0;
    const size = this.words[at + FEED_SIZE]!;
    return distance < 0 || distance % size !== 0 ? -1 : distance / size;
  }

  /** Gives back what was passed by `seek`. Once a batch. */
  release(): void {
    Atomics.store(this.#view.control, HEAD, this.#head);
  }
}
