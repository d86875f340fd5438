/**
 * What the client threads and the main thread of a case share.
 *
 *   cells    float64 x 16 a client thread: running totals, each written by its thread only
 *   times    float64 x 3: when the window begins and ends, when the pace began; ms of `monotonicMs`, written by main
 *   tick     int32: counts the milliseconds of the pace; written by the pacer thread
 *   bits     one bit for each message that was answered, and one for each that was received, by producer and
 *            sequence number; set by Atomics.or, whose old value tells whether it was set before
 */
export interface ScoreboardMemory {
  readonly cells: SharedArrayBuffer;
  readonly times: SharedArrayBuffer;
  readonly tick: SharedArrayBuffer;
  readonly answered: SharedArrayBuffer;
  readonly received: SharedArrayBuffer;
}

/** Number of each counter's cell. */
const COUNTERS = {
  sent: 0,
  answered: 1,
  rejected: 2,
  received: 3,
  /** Received again. */
  duplicate: 4,
  /** Received after a later one of the same producer and queue. */
  disordered: 5,
  /** Received with another size than it was sent with. */
  damaged: 6,
  /** Queues that the consumers have now. */
  assigned: 7,
} as const;
export type Counter = keyof typeof COUNTERS;
export type Counts = Record<Counter, number>;

const CELLS = 16;
const WINDOW_START = 0;
const WINDOW_END = 1;
const PACE_START = 2;
/** Messages of one producer in one case. */
export const SEQUENCE_MAX: number = 2 ** 23;
const WORDS_PER_PRODUCER = SEQUENCE_MAX / 32;

export function createScoreboard(threads: number, producers: number): ScoreboardMemory {
  const times = new SharedArrayBuffer(3 * 8);
  new Float64Array(times).fill(Number.POSITIVE_INFINITY);
  return {
    cells: new SharedArrayBuffer(threads * CELLS * 8),
    times,
    tick: new SharedArrayBuffer(8),
    answered: new SharedArrayBuffer(producers * WORDS_PER_PRODUCER * 4),
    received: new SharedArrayBuffer(producers * WORDS_PER_PRODUCER * 4),
  };
}

export class Scoreboard {
  readonly tick: Int32Array;
  readonly #cells: Float64Array;
  readonly #times: Float64Array;
  readonly #answered: Int32Array;
  readonly #received: Int32Array;
  readonly #threads: number;

  constructor(memory: ScoreboardMemory) {
    this.tick = new Int32Array(memory.tick);
    this.#cells = new Float64Array(memory.cells);
    this.#times = new Float64Array(memory.times);
    this.#answered = new Int32Array(memory.answered);
    this.#received = new Int32Array(memory.received);
    this.#threads = this.#cells.length / CELLS;
  }

  add(thread: number, counter: Counter, by = 1): void {
    this.#cells[thread * CELLS + COUNTERS[counter]]! += by;
  }

  set(thread: number, counter: Counter, value: number): void {
    this.#cells[thread * CELLS + COUNTERS[counter]] = value;
  }

  /** Totals over all threads. */
  counts(): Counts {
    const total = (index: number): number => {
      let sum = 0;
      for (let thread = 0; thread < this.#threads; thread++) sum += this.#cells[thread * CELLS + index]!;
      return sum;
    };
    return Object.fromEntries(Object.entries(COUNTERS).map(([counter, index]) => [counter, total(index)])) as Counts;
  }

  openWindow(nowMs: number): void {
    this.#times[WINDOW_START] = nowMs;
  }

  closeWindow(nowMs: number): void {
    this.#times[WINDOW_END] = nowMs;
  }

  isInWindow(timeMs: number): boolean {
    return timeMs >= this.#times[WINDOW_START]! && timeMs < this.#times[WINDOW_END]!;
  }

  /** What is due later is not sent any more. */
  get windowEndMs(): number {
    return this.#times[WINDOW_END]!;
  }

  set paceStartMs(nowMs: number) {
    this.#times[PACE_START] = nowMs;
  }

  get paceStartMs(): number {
    return this.#times[PACE_START]!;
  }

  markAnswered(producer: number, sequence: number): void {
    mark(this.#answered, producer, sequence);
  }

  /** @returns false if it was received before */
  markReceived(producer: number, sequence: number): boolean {
    return mark(this.#received, producer, sequence);
  }

  /** Messages that were answered, but not received. */
  missing(): number {
    let count = 0;
    for (let word = 0; word < this.#answered.length; word++) {
      let bits = this.#answered[word]! & ~this.#received[word]!;
      for (; bits !== 0; bits &= bits - 1) count++;
    }
    return count;
  }
}

function mark(bits: Int32Array, producer: number, sequence: number): boolean {
  const bit = 1 << (sequence & 31);
  return (Atomics.or(bits, producer * WORDS_PER_PRODUCER + (sequence >>> 5), bit) & bit) === 0;
}

const [seconds, nanoseconds] = process.hrtime();
/** Each thread's `performance.now` begins at its own zero; the system's clock behind it is one. */
const ORIGIN_MS = seconds * 1e3 + nanoseconds / 1e6 - performance.now();

/** Milliseconds, the same in all threads. */
export function monotonicMs(): number {
  return ORIGIN_MS + performance.now();
}
