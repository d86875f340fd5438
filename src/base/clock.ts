/**
 * Time, for everything that waits or stamps. One clock is handed to all parts of a broker; worker
 * threads rebuild it from its `shared` memory, so that a virtual clock moves in all of them at once.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch; never goes back. */
  now(): number;
  /** Calls `task` once after `delayMs`. */
  setTimer(task: () => void, delayMs: number): Timer;
  /** Calls `task` every `periodMs`, first after one period. */
  setTicker(task: () => void, periodMs: number): Timer;
  readonly shared: SharedArrayBuffer;
}

export interface Timer {
  cancel(): void;
}

/** Resolves after `delayMs` of `clock`'s time. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(resolve, delayMs));
}

/** CPU-independent stop watch in milliseconds, for measuring durations only; never virtual. */
export function monotonicMs(): number {
  return performance.now();
}

/** Word 0: 0 = system time, 1 = virtual. Word 1..2 as float64 at byte 8: the virtual time, ms. */
const MODE = 0;
const VIRTUAL_NOW = 1;

const SYSTEM = 0;
const VIRTUAL = 1;

export class SystemClock implements Clock {
  readonly shared: SharedArrayBuffer = new SharedArrayBuffer(16);
  #last = 0;

  now(): number {
    const now = Date.now();
    if (now > this.#last) this.#last = now;
    return this.#last;
  }

  setTimer(task: () => void, delayMs: number): Timer {
    const handle = setTimeout(task, delayMs);
    return { cancel: () => clearTimeout(handle) };
  }

  setTicker(task: () => void, periodMs: number): Timer {
    const handle = setInterval(task, periodMs);
    return { cancel: () => clearInterval(handle) };
  }
}

interface PendingTask {
  dueMs: number;
  order: number;
  periodMs: number;
  task: () => void;
  cancelled: boolean;
}

/**
 * A clock that moves only when told to. The thread that owns it calls `advance`; other threads see the
 * new time through `shared` and run their due tasks when they are next woken (`runDue`).
 */
export class VirtualClock implements Clock {
  readonly shared: SharedArrayBuffer;
  readonly #mode: Int32Array;
  readonly #now: Float64Array;
  #pending: PendingTask[] = [];
  #order = 0;

  constructor(startMs: number = Date.now(), shared: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.shared = shared;
    this.#mode = new Int32Array(shared);
    this.#now = new Float64Array(shared);
    if (Atomics.exchange(this.#mode, MODE, VIRTUAL) !== VIRTUAL) this.#now[VIRTUAL_NOW] = startMs;
  }

  now(): number {
    return this.#now[VIRTUAL_NOW]!;
  }

  setTimer(task: () => void, delayMs: number): Timer {
    return this.#add(task, delayMs, 0);
  }

  setTicker(task: () => void, periodMs: number): Timer {
    return this.#add(task, periodMs, Math.max(1, periodMs));
  }

  /** Moves time forward, running each due task at its own instant, in order. */
  advance(byMs: number): void {
    const target = this.now() + byMs;
    for (let next = this.#pending[0]; next !== undefined && next.dueMs <= target; next = this.#pending[0]) {
      if (next.dueMs > this.now()) this.#now[VIRTUAL_NOW] = next.dueMs;
      this.#runFirst();
    }
    this.#now[VIRTUAL_NOW] = target;
  }

  /** Runs what is due at the present (shared) time; for threads that do not own the clock. */
  runDue(): void {
    for (let next = this.#pending[0]; next !== undefined && next.dueMs <= this.now(); next = this.#pending[0]) this.#runFirst();
  }

  #runFirst(): void {
    const due = this.#pending.shift()!;
    if (due.cancelled) return;
    due.task();
    if (due.periodMs > 0 && !due.cancelled) {
      due.dueMs += due.periodMs;
      this.#insert(due);
    }
  }

  #add(task: () => void, delayMs: number, periodMs: number): Timer {
    const pending: PendingTask = {
      dueMs: this.now() + Math.max(0, delayMs),
      order: this.#order++,
      periodMs,
      task,
      cancelled: false,
    };
    this.#insert(pending);
    return {
      cancel: () => {
        pending.cancelled = true;
        this.#pending = this.#pending.filter((other) => other !== pending);
      },
    };
  }

  #insert(pending: PendingTask): void {
    let at = this.#pending.length;
    while (at > 0) {
      const before = this.#pending[at - 1]!;
      if (before.dueMs < pending.dueMs || (before.dueMs === pending.dueMs && before.order < pending.order)) break;
      at--;
    }
    this.#pending.splice(at, 0, pending);
  }
}

/** The clock of another thread, from its shared memory. */
export function clockFrom(shared: SharedArrayBuffer): Clock {
  return Atomics.load(new Int32Array(shared), MODE) === SYSTEM ? new SystemClock() : new VirtualClock(0, shared);
}
