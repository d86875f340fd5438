/** Width of one class, ms, and how many there are; the last one takes all that is later. */
const CLASS_MS = 10;
const CLASSES = 1024;

/** How late messages left the timer. */
export class TimerLatency {
  readonly #counts: Float64Array = new Float64Array(CLASSES);
  #total = 0;
  maxMs = 0;
  /** Delivered before their time; must stay 0. */
  early = 0;

  add(lateMs: number): void {
    if (lateMs < 0) this.early++;
    const late = Math.max(0, lateMs);
    this.#counts[Math.min(CLASSES - 1, Math.floor(late / CLASS_MS))]!++;
    this.#total++;
    if (late > this.maxMs) this.maxMs = late;
  }

  /** Upper bound of the class that holds the quantile, ms; 0 where nothing was delivered. */
  quantile(share: number): number {
    let left = this.#total * share;
    if (this.#total === 0) return 0;
    for (let at = 0; at < CLASSES - 1; at++) {
      left -= this.#counts[at]!;
      if (left <= 0) return Math.min(this.maxMs, (at + 1) * CLASS_MS);
    }
    return this.maxMs;
  }
}
