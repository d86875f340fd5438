import { ENTRY_SIZE, writeEntryTo } from "../../format/files/consume-queue.ts";

/**
 * The shared table of queues: one slot for each (topic, queueId), numbered by the control thread. All
 * threads see a queue's bounds here without a message, and its newest entries, which are not in its files yet.
 *
 *   cells   float64 x 4 a slot   maxOffset (queue indexer), minOffset (control), appendedOffset (log writer),
 *                                entryCount (queue indexer; of a queue of whole batches only)
 *   waiters int32 a slot         bit n: I/O worker n holds a long poll there (I/O workers set, queue indexer clears)
 *   written float64 a slot       entries below are in the queue's files (queue indexer)
 *   tails   64 entries a slot    entries [written, maxOffset), entry n in place n % 64 (queue indexer)
 *
 * A tail never holds entries of two rounds of 64: the indexer stores entry n + 64 only when those up to the end of n's
 * round are in the files and `written` says so. A reader that has copied entry n and then finds `written` at or below n
 * has copied what it wanted; else it reads the file. Slots from tailsMax on have none: with them written = maxOffset.
 *
 * maxOffset and waiters form a Dekker pair: a worker sets its bit and then reads maxOffset again; the indexer
 * stores maxOffset and then reads the bits, both sequentially consistent, so one of the two sees the other.
 * Memory is taken lazily by the operating system: unused slots cost address space only.
 */
export const QUEUE_SLOTS_MAX: number = 1 << 20;
/** Slots that have a tail, and entries in one. */
const TAILS_MAX: number = 1 << 17;
export const TAIL_COUNT = 64;
const TAIL_SIZE: number = TAIL_COUNT * ENTRY_SIZE;

const CELLS = 4;
const MAX_OFFSET = 0;
const MIN_OFFSET = 1;
const APPENDED_OFFSET = 2;
const ENTRY_COUNT = 3;

export interface QueueSlotsMemory {
  readonly cells: SharedArrayBuffer;
  readonly waiters: SharedArrayBuffer;
  readonly written: SharedArrayBuffer;
  readonly tails: SharedArrayBuffer;
}

export function createQueueSlotsMemory(tailsMax: number = TAILS_MAX): QueueSlotsMemory {
  return {
    cells: new SharedArrayBuffer(QUEUE_SLOTS_MAX * CELLS * 8),
    waiters: new SharedArrayBuffer(QUEUE_SLOTS_MAX * 4),
    written: new SharedArrayBuffer(QUEUE_SLOTS_MAX * 8),
    tails: new SharedArrayBuffer(tailsMax * TAIL_SIZE),
  };
}

export class QueueSlots {
  readonly #cells: Float64Array;
  readonly #waiters: Int32Array;
  readonly #written: Float64Array;
  readonly #tails: Buffer;
  /** Slots from this one on have no tail. */
  readonly tailsMax: number;
  readonly #tailView: DataView;

  constructor(memory: QueueSlotsMemory) {
    this.#cells = new Float64Array(memory.cells);
    this.#waiters = new Int32Array(memory.waiters);
    this.#written = new Float64Array(memory.written);
    this.#tails = Buffer.from(memory.tails);
    this.tailsMax = memory.tails.byteLength / TAIL_SIZE;
    this.#tailView = new DataView(memory.tails);
  }

  maxOffset(slot: number): number {
    return this.#cells[slot * CELLS + MAX_OFFSET]!;
  }

  /** Queue indexer only (control while no threads run). The entries below are readable before this. */
  setMaxOffset(slot: number, offset: number): void {
    this.#cells[slot * CELLS + MAX_OFFSET] = offset;
  }

  /** Queue indexer: what it has stored comes before the new maximum offsets that it stores next. */
  order(): void {
    Atomics.or(this.#waiters, 0, 0);
  }

  minOffset(slot: number): number {
    return this.#cells[slot * CELLS + MIN_OFFSET]!;
  }

  setMinOffset(slot: number, offset: number): void {
    this.#cells[slot * CELLS + MIN_OFFSET] = offset;
  }

  /** One past the last queueOffset given out. */
  appendedOffset(slot: number): number {
    return this.#cells[slot * CELLS + APPENDED_OFFSET]!;
  }

  /** Log writer only (control while no threads run). */
  setAppendedOffset(slot: number, offset: number): void {
    this.#cells[slot * CELLS + APPENDED_OFFSET] = offset;
  }

  /** Entries of a queue of whole batches, those before its first file counted too. Read it after maxOffset. */
  entryCount(slot: number): number {
    return this.#cells[slot * CELLS + ENTRY_COUNT]!;
  }

  /** Queue indexer only (control while no threads run), before setMaxOffset. */
  setEntryCount(slot: number, count: number): void {
    this.#cells[slot * CELLS + ENTRY_COUNT] = count;
  }

  /** I/O worker: asks to be woken for the slot. Read maxOffset again afterwards. */
  setWaiting(slot: number, worker: number): void {
    Atomics.or(this.#waiters, slot, 1 << worker);
  }

  /** Whether somebody seems to wait for the slot; a hint. */
  hasWaiters(slot: number): boolean {
    return this.#waiters[slot] !== 0;
  }

  /** Queue indexer, after setMaxOffset: the workers to wake, whose bits it clears. 0 = none. */
  takeWaiters(slot: number): number {
    // A sequentially consistent load: ordered after the store of maxOffset by the exchange or fence it compiles to.
    if (Atomics.load(this.#waiters, slot) === 0) return 0;
    return Atomics.exchange(this.#waiters, slot, 0);
  }

  /** Entries below it are in the queue's files (of a queue of whole batches: those of messages below it). */
  writtenOffset(slot: number): number {
    return this.#written[slot]!;
  }

  /** Queue indexer only (control while no threads run), once the files have the entries and before the tail's are overwritten. */
  setWrittenOffset(slot: number, offset: number): void {
    this.#written[slot] = offset;
    Atomics.or(this.#waiters, slot, 0); // Orders it before what is stored into the tail from now on.
  }

  /**
   * Queue indexer only. The slot has a tail, the entry before is in it, or in the file.
   * @param count entries of one round of 64, of records of one size that follow each other
   */
  putTail(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number, count: number): void {
    const view = this.#tailView;
    let at = this.tailPosition(slot, queueOffset);
    for (let i = 0; i < count; i++, at += ENTRY_SIZE) writeEntryTo(view, at, physicalOffset + i * size, size, tagsCode);
  }

  /** All tails, for the queue indexer; an entry's place is at `tailPosition`. Entries of one round of 64 are neighbours. */
  get tails(): Buffer {
    return this.#tails;
  }

  tailPosition(slot: number, queueOffset: number): number {
    return slot * TAIL_SIZE + (queueOffset & (TAIL_COUNT - 1)) * ENTRY_SIZE;
  }

  /**
   * Copies up to `count` entries from queueOffset on, which is at or above writtenOffset and below maxOffset.
   * @returns entries copied; 0: meanwhile they are in the file
   */
  readTail(slot: number, queueOffset: number, count: number, target: Buffer): number {
    const inRound = TAIL_COUNT - (queueOffset & (TAIL_COUNT - 1));
    const copied = Math.min(count, inRound, this.maxOffset(slot) - queueOffset, Math.floor(target.length / ENTRY_SIZE));
    if (copied <= 0) return 0;
    const at = this.tailPosition(slot, queueOffset);
    this.#tails.copy(target, 0, at, at + copied * ENTRY_SIZE);
    Atomics.or(this.#waiters, slot, 0); // The copy comes before the look.
    return this.#written[slot]! > queueOffset ? 0 : copied;
  }
}
