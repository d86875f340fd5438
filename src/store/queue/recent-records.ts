import { QUEUE_SLOTS_MAX } from "./queue-slots.ts";

/** Records that are remembered; a power of two. */
const RECORDS_MAX = 8192;
/** Most records between the one that is looked for and the queue's end. */
export const RECENT_STEPS_MAX = 512;
/** Nothing is remembered when nobody has asked for so many calls of `tick`. */
const TICKS_UNUSED_MAX = 40;

/**
 * Where the last records of the log stand, for pulls that wait at the end of their queue: they are answered as soon as the
 * record is appended, without waiting for the queue indexer. Only in a thread that is log writer and I/O worker at once.
 * The records of a queue are linked, the last one first.
 */
export class RecentRecords {
  readonly #physicalOffsets = new Float64Array(RECORDS_MAX);
  readonly #queueOffsets = new Float64Array(RECORDS_MAX);
  readonly #sizes = new Int32Array(RECORDS_MAX);
  readonly #tagsCodes = new Int32Array(RECORDS_MAX);
  readonly #slots = new Int32Array(RECORDS_MAX);
  /** Number of the record before in the same queue; numbers begin at 1. */
  readonly #previous = new Float64Array(RECORDS_MAX);
  /** By slot: number of its last record, 0: none. Memory is taken by the pages that are touched. */
  readonly #last = new Float64Array(QUEUE_SLOTS_MAX);
  /** By slot: somebody waits for its next record. */
  readonly #watched = new Uint8Array(QUEUE_SLOTS_MAX);
  /** Watched slots that have grown, each once. */
  readonly #grown: number[] = [];
  #next = 1;
  #settled = 1;
  /** Records before this one do not count. */
  #valid = 1;
  #ticksUnused = TICKS_UNUSED_MAX;
  /** What `find` has found, oldest first. */
  readonly #found = new Int32Array(RECENT_STEPS_MAX);
  #foundCount = 0;

  /** Wakes the reader when the slot's queue grows. Appended to it since were none. */
  watch(slot: number): void {
    this.#ticksUnused = 0;
    this.#watched[slot] = 1;
  }

  isWatched(slot: number): boolean {
    return this.#watched[slot] === 1;
  }

  /** A record that is about to be written. */
  add(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number): void {
    if (this.#watched[slot] === 1) {
      this.#watched[slot] = 0;
      this.#grown.push(slot);
      this.#ticksUnused = 0; // However long ago it was asked for: nobody else wakes who waits for it.
    }
    if (this.#ticksUnused >= TICKS_UNUSED_MAX) return;
    const number = this.#next++;
    const at = number & (RECORDS_MAX - 1);
    this.#physicalOffsets[at] = physicalOffset;
    this.#queueOffsets[at] = queueOffset;
    this.#sizes[at] = size;
    this.#tagsCodes[at] = tagsCode;
    this.#slots[at] = slot;
    this.#previous[at] = this.#last[slot]!;
    this.#last[slot] = number;
  }

  /** The records added so far are written. */
  settle(): void {
    this.#settled = this.#next;
  }

  /** Those added since `settle` are not written. */
  undo(): void {
    if (this.#next - this.#settled >= RECORDS_MAX) {
      this.clear(); // The first of them is forgotten already.
      this.#settled = this.#next;
    }
    while (this.#next > this.#settled) {
      const at = --this.#next & (RECORDS_MAX - 1);
      this.#last[this.#slots[at]!] = this.#previous[at]!;
    }
  }

  /** Slots that were watched and have grown; they are watched no more. */
  takeGrown(wake: (slot: number) => void): void {
    while (this.#grown.length > 0) wake(this.#grown.pop()!);
  }

  /** Slots have changed their queues. */
  clear(): void {
    this.#valid = this.#next;
  }

  tick(): void {
    if (this.#ticksUnused < TICKS_UNUSED_MAX) this.#ticksUnused++;
  }

  /**
   * Finds the records of a queue from `queueOffset` to its end.
   * @param end  of the queue, as the log writer counts
   * @returns how many; 0: they are not remembered
   */
  find(slot: number, queueOffset: number, end: number): number {
    this.#ticksUnused = 0;
    const count = end - queueOffset;
    if (!(count > 0 && count <= RECENT_STEPS_MAX)) return 0;
    const oldest = Math.max(this.#valid, this.#next - RECORDS_MAX);
    let number = this.#last[slot]!;
    for (let i = count - 1; i >= 0; i--) {
      const at = number & (RECORDS_MAX - 1);
      // What was not added leaves a gap.
      const isKnown = number >= oldest && this.#slots[at] === slot;
      if (!isKnown || this.#queueOffsets[at] !== queueOffset + i) return 0;
      this.#found[i] = at;
      number = this.#previous[at]!;
    }
    this.#foundCount = count;
    return count;
  }

  /** Of the index-th record found, as are the next two. */
  physicalOffset(index: number): number {
    return this.#physicalOffsets[this.#found[index]!]!;
  }

  size(index: number): number {
    return this.#sizes[this.#found[index]!]!;
  }

  tagsCode(index: number): number {
    return this.#tagsCodes[this.#found[index]!]!;
  }

  get foundCount(): number {
    return this.#foundCount;
  }
}
