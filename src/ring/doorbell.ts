import { doorbellWord } from "../format/shared/shared-words.ts";

/**
 * Wakes one thread. The sleeper takes `seen()` before it looks for work; if there was none it parks on that
 * count. A ring in between has changed the count, so the park returns at once: no wake-up is lost.
 * `Atomics.notify` is only paid for when the sleeper has said that it sleeps.
 */
const COUNT = 0;
const SLEEPING = 1;

export class Doorbell {
  readonly #words: Int32Array;
  readonly #count: number;
  readonly #sleeping: number;

  constructor(words: Int32Array, doorbell: number) {
    this.#words = words;
    this.#count = doorbellWord(doorbell) + COUNT;
    this.#sleeping = doorbellWord(doorbell) + SLEEPING;
  }

  /** Any thread. Publishes (sequentially consistent) all stores made before it. */
  ring(): void {
    Atomics.add(this.#words, this.#count, 1);
    if (Atomics.load(this.#words, this.#sleeping) !== 0) Atomics.notify(this.#words, this.#count);
  }

  /** Any thread. Like `ring`, and ends a nap as well. */
  wake(): void {
    Atomics.add(this.#words, this.#count, 1);
    Atomics.notify(this.#words, this.#count);
  }

  /** Owner only. */
  seen(): number {
    return Atomics.load(this.#words, this.#count);
  }

  /**
   * Owner only; blocks the thread, nothing else of it runs meanwhile. Interruptible by worker.terminate().
   * @param seen the count taken before looking for work
   */
  park(seen: number, timeoutMs: number): void {
    Atomics.store(this.#words, this.#sleeping, 1);
    Atomics.wait(this.#words, this.#count, seen, timeoutMs);
    Atomics.store(this.#words, this.#sleeping, 0);
  }

  /** Owner only; a short sleep which no `ring` ends, only `wake`: it spares the ringers the system call. */
  nap(seen: number, ms: number): void {
    Atomics.wait(this.#words, this.#count, seen, ms);
  }

  /**
   * Owner only; for threads that run an event loop. Calls `wake` once, on this thread's loop, after the
   * next ring past `seen`.
   * @returns false if the bell has rung already: look again instead
   */
  parkAsync(seen: number, wake: () => void): boolean {
    Atomics.store(this.#words, this.#sleeping, 1);
    const outcome = Atomics.waitAsync(this.#words, this.#count, seen);
    if (!outcome.async) {
      Atomics.store(this.#words, this.#sleeping, 0);
      return false;
    }
    void outcome.value.then(() => {
      Atomics.store(this.#words, this.#sleeping, 0);
      wake();
    });
    return true;
  }
}
