/**
 * Things by the time at which they are due, in buckets of one grain: putting one in and taking what is due cost the same
 * however many there are. What is cancelled stays in until its time; its owner knows.
 */
export class DueTicks<T> {
  readonly #grainMs: number;
  readonly #byTick = new Map<number, T[]>();
  #doneTick = Number.NEGATIVE_INFINITY;

  constructor(grainMs: number) {
    this.#grainMs = grainMs;
  }

  /** Never taken before `dueMs`. */
  add(dueMs: number, item: T): void {
    const tick = Math.max(this.#doneTick + 1, Math.ceil(dueMs / this.#grainMs));
    const items = this.#byTick.get(tick);
    if (items === undefined) this.#byTick.set(tick, [item]);
    else items.push(item);
  }

  /** What is due at `nowMs`, the oldest first; forgets it. */
  takeDue(nowMs: number): T[] {
    const tick = Math.floor(nowMs / this.#grainMs);
    const passed = tick - this.#doneTick;
    if (passed <= 0) return [];
    const due: T[] = [];
    // A clock that has jumped: look at what is there instead of at every tick on the way.
    const ticks = passed > this.#byTick.size ? [...this.#byTick.keys()].filter((key) => key <= tick).sort((a, b) => a - b) : [];
    if (passed <= this.#byTick.size) for (let next = this.#doneTick + 1; next <= tick; next++) ticks.push(next);
    for (const key of ticks) {
      const items = this.#byTick.get(key);
      if (items === undefined) continue;
      this.#byTick.delete(key);
      for (const item of items) due.push(item);
    }
    this.#doneTick = tick;
    return due;
  }
}
