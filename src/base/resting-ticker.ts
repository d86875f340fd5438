import { type Clock, type Leap, type Timer, VirtualClock } from "./clock.ts";

/** A ticker that goes off often while there is something to do, and seldom while there is nothing. Under a virtual clock always often. */
export class RestingTicker {
  readonly #set: (periodMs: number) => Timer;
  readonly #busyMs: number;
  readonly #idleMs: number;
  #timer: Timer;
  #periodMs: number;
  #isCancelled = false;

  constructor(clock: Clock, task: () => unknown, busyMs: number, idleMs: number, leap?: Leap) {
    this.#set = (periodMs) => clock.setTicker(task, periodMs, leap);
    this.#busyMs = busyMs;
    this.#idleMs = clock instanceof VirtualClock ? busyMs : idleMs;
    this.#periodMs = busyMs;
    this.#timer = this.#set(busyMs);
  }

  /** There is something to do, or, at the end of a round, there is not. */
  setBusy(isBusy: boolean): void {
    const periodMs = isBusy ? this.#busyMs : this.#idleMs;
    if (periodMs === this.#periodMs || this.#isCancelled) return;
    this.#periodMs = periodMs;
    this.#timer.cancel();
    this.#timer = this.#set(periodMs);
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#timer.cancel();
  }
}
