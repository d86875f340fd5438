import { CommonTicks } from "./common-ticks.ts";

/**
 * Time, for everything that waits or stamps. One clock is handed to all parts of a broker; worker
 * threads rebuild it from its `shared` memory, so that a virtual clock moves in all of them at once.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch; never goes back. */
  now(): number;
  /** Calls `task` once after `delayMs`. */
  setTimer(task: () => unknown, delayMs: number): Timer;
  /**
   * Calls `task` every `periodMs`, first within one period. A promise that it returns is waited for before virtual time goes on
   * (it must not itself wait for time to pass); it must not reject.
   */
  setTicker(task: () => unknown, periodMs: number, leap?: Leap): Timer;
  readonly shared: SharedArrayBuffer;
}

/**
 * What a ticker makes of a leap of a virtual clock over many of its periods. Without it, it runs for each of them.
 * "once": it runs once, when the leap is over. A function: the earliest time at which it would find something to do, ms;
 * periods before that are left out.
 */
export type Leap = "once" | (() => number);

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

/** Tickers of a thread with periods up to this go off at common moments, ms: an idle process then wakes less often. */
const COMMON_PERIOD_MAX = 1000;
const keeping = new CommonTicks(true);
const leaving = new CommonTicks(false);

export class SystemClock implements Clock {
  readonly shared: SharedArrayBuffer = new SharedArrayBuffer(16);
  readonly #keepsProcess: boolean;
  readonly #common: CommonTicks;
  #last = 0;

  /** @param keepsProcess whether the process lives on for a timer alone */
  constructor(keepsProcess = true) {
    this.#keepsProcess = keepsProcess;
    this.#common = keepsProcess ? keeping : leaving;
  }

  now(): number {
    const now = Date.now();
    if (now > this.#last) this.#last = now;
    return this.#last;
  }

  setTimer(task: () => unknown, delayMs: number): Timer {
    const handle = setTimeout(task, delayMs);
    if (!this.#keepsProcess) handle.unref();
    return { cancel: () => clearTimeout(handle) };
  }

  setTicker(task: () => unknown, periodMs: number): Timer {
    if (periodMs <= COMMON_PERIOD_MAX) return this.#common.add(task, periodMs);
    const handle = setInterval(task, periodMs);
    if (!this.#keepsProcess) handle.unref();
    return { cancel: () => clearInterval(handle) };
  }
}

interface PendingTask {
  dueMs: number;
  order: number;
  periodMs: number;
  task: () => unknown;
  cancelled: boolean;
}

interface LeapingTask extends PendingTask {
  leap: Leap;
  /** When it runs next, if that is known. */
  nextMs: number;
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
  #leaping: LeapingTask[] = [];
  readonly #running = new Set<Promise<unknown>>();
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

  setTimer(task: () => unknown, delayMs: number): Timer {
    return this.#add(task, delayMs, 0);
  }

  setTicker(task: () => unknown, periodMs: number, leap?: Leap): Timer {
    const period = Math.max(1, periodMs);
    if (leap === undefined) return this.#add(task, periodMs, period);
    const dueMs = this.now() + period;
    const ticker = { dueMs, order: this.#order++, periodMs: period, task, cancelled: false, leap, nextMs: dueMs };
    this.#leaping.push(ticker);
    return {
      cancel: () => {
        ticker.cancelled = true;
        this.#leaping = this.#leaping.filter((other) => other !== ticker);
      },
    };
  }

  /** Whether a promise of a task is still open. */
  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** Moves time forward, running each due task at its own instant, in order. Waits for no promises. */
  advance(byMs: number): void {
    const target = this.now() + byMs;
    while (this.step(target, Number.POSITIVE_INFINITY, true));
    this.finish(target);
  }

  /**
   * Moves time to the next instant up to `target` at which there is something to do, and does it.
   * @param elsewhereMs   at which another thread has something to do
   * @param isLookingAnew leaping tickers are asked again when they have something to do
   * @returns false: there is no such instant
   */
  step(target: number, elsewhereMs: number, isLookingAnew: boolean): boolean {
    let instant = Math.min(this.#pending[0]?.dueMs ?? Number.POSITIVE_INFINITY, elsewhereMs);
    for (const ticker of this.#leaping) {
      if (isLookingAnew) ticker.nextMs = nextOf(ticker);
      if (ticker.nextMs < instant) instant = ticker.nextMs;
    }
    if (!(instant <= target)) return false;
    if (instant > this.now()) this.#now[VIRTUAL_NOW] = instant;
    for (const ticker of [...this.#leaping]) {
      if (ticker.nextMs > instant || ticker.cancelled) continue;
      ticker.dueMs = instant + ticker.periodMs;
      this.#run(ticker);
      ticker.nextMs = nextOf(ticker);
    }
    while (this.#pending.length > 0 && this.#pending[0]!.dueMs <= instant) this.#runFirst(instant, false);
    return true;
  }

  /** Ends a leap: the tickers run that do so once. */
  finish(target: number): void {
    this.#now[VIRTUAL_NOW] = Math.max(target, this.now());
    for (const ticker of [...this.#leaping]) {
      if (ticker.leap !== "once" || ticker.dueMs > target || ticker.cancelled) continue;
      ticker.dueMs = target + ticker.periodMs;
      this.#run(ticker);
    }
  }

  /** Runs what is due at the present (shared) time, each task once; for threads that do not own the clock. */
  runDue(): void {
    const now = this.now();
    while (this.#pending.length > 0 && this.#pending[0]!.dueMs <= now) this.#runFirst(now, true);
    this.finish(now);
  }

  #run({ task }: PendingTask): void {
    const outcome = task();
    if (!(outcome instanceof Promise)) return;
    this.#running.add(outcome);
    void outcome.finally(() => this.#running.delete(outcome));
  }

  #runFirst(now: number, isLeaping: boolean): void {
    const due = this.#pending.shift()!;
    if (due.cancelled) return;
    this.#run(due);
    if (due.periodMs > 0 && !due.cancelled) {
      due.dueMs = (isLeaping ? now : due.dueMs) + due.periodMs;
      this.#insert(due);
    }
  }

  #add(task: () => unknown, delayMs: number, periodMs: number): Timer {
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

/** When the ticker has something to do, at one of its periods. */
function nextOf({ leap, dueMs, periodMs }: LeapingTask): number {
  if (leap === "once") return Number.POSITIVE_INFINITY;
  const wanted = leap();
  return wanted <= dueMs ? dueMs : dueMs + Math.ceil((wanted - dueMs) / periodMs) * periodMs;
}

/** The same clock for what only keeps house, such as saves and samples: in a leap of a virtual clock it is done once. */
export function houseKeeping(clock: Clock): Clock {
  return {
    shared: clock.shared,
    now: () => clock.now(),
    setTimer: (task, delayMs) => clock.setTimer(task, delayMs),
    setTicker: (task, periodMs) => clock.setTicker(task, periodMs, "once"),
  };
}

/** For what comes from other processes, such as heart-beats: they do not know of our virtual time. */
export function peersClock(clock: Clock): Clock {
  return clock instanceof VirtualClock ? new SystemClock(false) : clock; // A virtual clock's timers keep no process alive either.
}

/** The clock of another thread, from its shared memory. */
export function clockFrom(shared: SharedArrayBuffer): Clock {
  return Atomics.load(new Int32Array(shared), MODE) === SYSTEM ? new SystemClock() : new VirtualClock(0, shared);
}
