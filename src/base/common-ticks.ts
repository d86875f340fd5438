import type { Timer } from "./clock.ts";

/** A timer may be so much early by the stop watch, ms. */
const EARLY_MS = 1;

interface CommonTicker {
  task: () => unknown;
  periodMs: number;
  /** By the stop watch. */
  dueMs: number;
}

/**
 * Tickers of one thread. Each goes off at the multiples of its period, so that those of different parts of a broker wake the
 * thread together.
 */
export class CommonTicks {
  readonly #keepsProcess: boolean;
  readonly #tickers = new Set<CommonTicker>();
  #handle: NodeJS.Timeout | undefined;
  /** When that goes off. */
  #armedMs = Number.POSITIVE_INFINITY;

  constructor(keepsProcess: boolean) {
    this.#keepsProcess = keepsProcess;
  }

  add(task: () => unknown, periodMs: number): Timer {
    const ticker = { task, periodMs, dueMs: nextMultiple(periodMs, performance.now()) };
    this.#tickers.add(ticker);
    if (ticker.dueMs < this.#armedMs) this.#arm();
    return {
      cancel: () => {
        this.#tickers.delete(ticker);
        if (this.#tickers.size === 0) this.#arm();
      },
    };
  }

  #arm(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
    this.#armedMs = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#tickers) this.#armedMs = Math.min(this.#armedMs, dueMs);
    if (this.#tickers.size === 0) return;
    this.#handle = setTimeout(this.#run, Math.max(1, Math.ceil(this.#armedMs - performance.now())));
    if (!this.#keepsProcess) this.#handle.unref();
  }

  readonly #run = (): void => {
    const now = performance.now();
    const due = [...this.#tickers].filter(({ dueMs }) => dueMs <= now + EARLY_MS);
    for (const ticker of due) ticker.dueMs = nextMultiple(ticker.periodMs, now);
    this.#arm(); // Whatever becomes of the tasks.
    for (const ticker of due) if (this.#tickers.has(ticker)) ticker.task();
  };
}

function nextMultiple(periodMs: number, now: number): number {
  return (Math.floor((now + EARLY_MS) / periodMs) + 1) * periodMs;
}
