/**
 * Committed offsets in shared memory: one cell for each (consumerGroup, topic, queueId), given out by the
 * control thread. A cell is a float64 offset (-1 = none), a float64 of how far the group has pulled, a float64 of how many
 * messages its pulls were answered with since the start, and an int32 of flags, in an array each.
 * Writers: the I/O worker that gets the commit (the last one wins, as on Apache's broker), and control.
 */
export const OFFSET_CELLS_MAX: number = 1 << 20;
/** A server-side reset waits for the group's next pull, which the control thread answers; commits are ignored until then. */
export const OFFSET_PENDING_RESET = 1;

export class OffsetCells {
  readonly memory: SharedArrayBuffer;
  readonly #offsets: Float64Array;
  readonly #pullOffsets: Float64Array;
  readonly #served: Float64Array;
  readonly #flags: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(OFFSET_CELLS_MAX * 28)) {
    this.memory = memory;
    this.#offsets = new Float64Array(memory, 0, OFFSET_CELLS_MAX);
    this.#pullOffsets = new Float64Array(memory, OFFSET_CELLS_MAX * 8, OFFSET_CELLS_MAX);
    this.#served = new Float64Array(memory, OFFSET_CELLS_MAX * 16, OFFSET_CELLS_MAX);
    this.#flags = new Int32Array(memory, OFFSET_CELLS_MAX * 24, OFFSET_CELLS_MAX);
  }

  offset(cell: number): number {
    return this.#offsets[cell]!;
  }

  setOffset(cell: number, offset: number): void {
    this.#offsets[cell] = offset;
  }

  /** queueOffset that the group's newest pull asked for: what it has in hand ends there. 0 before any. */
  pullOffset(cell: number): number {
    return this.#pullOffsets[cell]!;
  }

  setPullOffset(cell: number, queueOffset: number): void {
    this.#pullOffsets[cell] = queueOffset;
  }

  served(cell: number): number {
    return this.#served[cell]!;
  }

  /** I/O workers. Of two that add at once one may be lost: it is for statistics only. */
  addServed(cell: number, count: number): void {
    this.#served[cell]! += count;
  }

  flags(cell: number): number {
    return Atomics.load(this.#flags, cell);
  }

  setFlags(cell: number, flags: number): void {
    Atomics.store(this.#flags, cell, flags);
  }
}
