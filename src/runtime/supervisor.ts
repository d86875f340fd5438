import type { Worker } from "node:worker_threads";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../observe/log.ts";

/** So many ends within RESTART_WINDOW_MS are taken for chance; more have a cause that a new thread does not mend. */
const RESTARTS_MAX = 5;
const RESTART_WINDOW_MS = 60_000;

/** Whether a thread of a kind may be replaced once more. */
export class RestartBudget {
  readonly #clock: Clock;
  readonly #ends: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** One has ended. @returns true: replace it */
  spend(): boolean {
    const now = this.#clock.now();
    while (this.#ends.length > 0 && now - this.#ends[0]! > RESTART_WINDOW_MS) this.#ends.shift();
    this.#ends.push(now);
    return this.#ends.length <= RESTARTS_MAX;
  }
}

/** A thread that is replaced when it ends by itself. `worker` is the present one. */
export interface Replaceable {
  readonly name: string;
  worker: Worker;
}

/**
 * Looks after the store's threads. An indexer that ends is replaced: what it has done is in shared memory and files, and
 * the next one goes on from there. When any other ends, everything must end: nothing goes on half-alive.
 */
export class Supervisor {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onFailure: (error: Error) => void;
  #isStopping = false;

  constructor(clock: Clock, log: Log, onFailure: (error: Error) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#onFailure = onFailure;
  }

  /** The end of this thread is the end of the store. */
  watch(name: string, worker: Worker): void {
    onEnd(worker, (reason) => {
      if (!this.#isStopping) this.#onFailure(reason ?? new Error(`the ${name} thread has ended`));
    });
  }

  /** Replaces this thread, the first of which `start` has made before, by what `start` makes. */
  replace(name: string, first: Worker, start: () => Worker): Replaceable {
    const thread: Replaceable = { name, worker: first };
    const budget = new RestartBudget(this.#clock);
    const look = (): void => {
      onEnd(thread.worker, (reason) => {
        if (this.#isStopping) return;
        const error = reason ?? new Error(`the ${name} thread has ended`);
        if (!budget.spend()) {
          this.#onFailure(error);
          return;
        }
        this.#log.error({ thread: name, error: error.stack ?? error.message }, "a thread has ended and is replaced");
        thread.worker = start();
        look();
      });
    };
    look();
    return thread;
  }

  /** From now on threads end because they are told to. */
  stop(): void {
    this.#isStopping = true;
  }
}

/** Calls `ended` once, when the thread is gone; with the error that it threw, if it did. */
export function onEnd(worker: Worker, ended: (reason: Error | undefined) => void): void {
  let reason: Error | undefined;
  worker.on("error", (error) => {
    reason = error instanceof Error ? error : new Error(String(error));
  });
  worker.on("exit", () => ended(reason));
}
