/**
 * The shared table of queues: one slot for each (topic, queueId), numbered by the control thread. All
 * threads see a queue's bounds here without a message.
 *
 *   cells   float64 x 4 a slot   maxOffset (queue indexer), minOffset (control), appendedOffset (log writer),
 *                                entryCount (queue indexer; of a queue of whole batches only)
 *   waiters int32 a slot         bit n: I/O worker n holds a long poll there (I/O workers set, queue indexer clears)
 *
 * maxOffset and waiters form a Dekker pair: a worker sets its bit and then reads maxOffset again; the indexer
 * stores maxOffset and then reads the bits, both sequentially consistent, so one of the two sees the other.
 * Memory is taken lazily by the operating system: unused slots cost address space only.
 */
export const QUEUE_SLOTS_MAX: number = 1 << 20;

const CELLS = 4;
const MAX_OFFSET = 0;
const MIN_OFFSET = 1;
const APPENDED_OFFSET = 2;
const ENTRY_COUNT = 3;

export interface QueueSlotsMemory {
  readonly cells: SharedArrayBuffer;
  readonly waiters: SharedArrayBuffer;
}

export function createQueueSlotsMemory(): QueueSlotsMemory {
  return {
    cells: new SharedArrayBuffer(QUEUE_SLOTS_MAX * CELLS * 8),
    waiters: new SharedArrayBuffer(QUEUE_SLOTS_MAX * 4),
  };
}

export class QueueSlots {
  readonly #cells: Float64Array;
  readonly #waiters: Int32Array;

  constructor(memory: QueueSlotsMemory) {
    this.#cells = new Float64Array(memory.cells);
    this.#waiters = new Int32Array(memory.waiters);
  }

  maxOffset(slot: number): number {
    return this.#cells[slot * CELLS + MAX_OFFSET]!;
  }

  /** Queue indexer only (control while no threads run). The entries below are readable before this. */
  setMaxOffset(slot: number, offset: number): void {
    this.#cells[slot * CELLS + MAX_OFFSET] = offset;
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
}
