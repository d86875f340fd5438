/** Room for units beyond those that the wheel has counted. */
const SPARE = 16;
/** Above the milliseconds of a slot stand the units' numbers: what is due together keeps its order. */
const NUMBERS = 2 ** 32;

/** The slot of the wheel that is being read: its units by the time when they are due. Two numbers a unit. Timer thread only. */
export class OpenSlot {
  readonly time: number;
  readonly #startMs: number;
  readonly #endMs: number;
  /** While it is filled, newest first; then as they are due. */
  #positions: Float64Array;
  #dueMs: Float64Array;
  #count = 0;
  /** Of the first that is not delivered. */
  next = 0;
  readonly recalled: Set<string> = new Set();
  /** Some of its messages only stop over here. */
  hasRolled = false;

  /** @param time number of the slot; @param count about how many units are to come */
  constructor(time: number, stepMs: number, count: number) {
    this.time = time;
    this.#startMs = time * stepMs;
    this.#endMs = this.#startMs + stepMs;
    this.#positions = new Float64Array(Math.max(0, count) + SPARE);
    this.#dueMs = new Float64Array(this.#positions.length);
  }

  /** The unit before the one that was added last. @param dueMs when its message is due; nothing outside the slot counts */
  add(position: number, dueMs: number): void {
    if (this.#count === this.#positions.length) {
      const more = new Float64Array(2 * this.#count);
      more.set(this.#positions);
      this.#positions = more;
      const moreDue = new Float64Array(2 * this.#count);
      moreDue.set(this.#dueMs);
      this.#dueMs = moreDue;
    }
    this.#positions[this.#count] = position;
    this.#dueMs[this.#count++] = Math.min(Math.max(dueMs, this.#startMs), this.#endMs);
  }

  /** After the last `add`. What is delivered already, as TimerFiles has it, is passed over. */
  order(firstUndelivered: number, firstDueMs: number): void {
    const count = this.#count;
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i++) keys[i] = (this.#dueMs[i]! - this.#startMs) * NUMBERS + (count - 1 - i);
    keys.sort();
    const [positions, dueMs] = [new Float64Array(count), new Float64Array(count)];
    for (let i = 0; i < count; i++) {
      const from = count - 1 - (keys[i]! % NUMBERS);
      positions[i] = this.#positions[from]!;
      dueMs[i] = this.#dueMs[from]!;
    }
    this.#positions = positions;
    this.#dueMs = dueMs;
    if (firstUndelivered < 0) return;
    while (this.next < count && this.#isBefore(this.next, firstUndelivered, firstDueMs)) this.next++;
  }

  #isBefore(index: number, position: number, dueMs: number): boolean {
    const due = this.#dueMs[index]!;
    return due < dueMs || (due === dueMs && this.#positions[index]! < position);
  }

  get size(): number {
    return this.#count;
  }

  position(index: number): number {
    return this.#positions[index]!;
  }

  dueMs(index: number): number {
    return this.#dueMs[index]!;
  }

  /** ms; of its start where nothing is left. */
  get nextDueMs(): number {
    return this.next < this.#count ? this.#dueMs[this.next]! : this.#startMs;
  }
}
