import { COUNTER_MESSAGES_OUT, COUNTER_PULLS_EMPTY } from "../format/shared/io-counters.ts";

/** How much an I/O worker has done, in one figure. A pull counts by the messages that it gets: fewer pulls may fetch as many. */
export class WorkCount {
  readonly #counters: Float64Array;
  /** Requests taken, pulls apart. */
  taken = 0;

  constructor(counters: SharedArrayBuffer) {
    this.#counters = new Float64Array(counters);
  }

  readonly total = (): number => this.taken + this.#counters[COUNTER_MESSAGES_OUT]! + this.#counters[COUNTER_PULLS_EMPTY]!;
}
