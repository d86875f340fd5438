/** The latest latencies, for percentiles of what happened just now. */
export class LatencySample {
  readonly #values: Float64Array;
  #count = 0;

  constructor(capacity = 16_384) {
    this.#values = new Float64Array(capacity);
  }

  add(value: number): void {
    this.#values[this.#count++ % this.#values.length] = value;
  }

  /** The given percentiles (0..100) of what was added since the last call; NaN where nothing was. */
  take(...percentiles: readonly number[]): number[] {
    const sorted = this.#values.subarray(0, Math.min(this.#count, this.#values.length)).toSorted();
    this.#count = 0;
    // Nearest rank.
    return percentiles.map((percentile) => sorted[Math.max(0, Math.ceil((percentile / 100) * sorted.length) - 1)] ?? Number.NaN);
  }
}
