import { type Clock, type Timer, VirtualClock } from "../../base/clock.ts";

const TICK_MS = 50;
/** While no send is under way: pulls may be told a little later that their time is over. */
const IDLE_TICK_MS = 250;

/** When an I/O worker looks at what is due: often while it waits for acks, seldom otherwise, so that idle it sleeps. */
export class SendTicker {
  readonly #clock: Clock;
  readonly #task: () => void;
  #timer: Timer;
  #isSlow = false;
  #hasSent = false;

  constructor(clock: Clock, task: () => void) {
    this.#clock = clock;
    this.#task = task;
    this.#timer = clock.setTicker(task, TICK_MS);
  }

  /** Sends are on their way. @returns true: the last look was long ago */
  noteSend(): boolean {
    this.#hasSent = true;
    if (!this.#isSlow) return false;
    this.#set(false);
    return true;
  }

  /** At each look. */
  rest(isBusy: boolean): void {
    if (!isBusy && !this.#hasSent && !this.#isSlow && !(this.#clock instanceof VirtualClock)) this.#set(true);
    this.#hasSent = false;
  }

  #set(isSlow: boolean): void {
    this.#isSlow = isSlow;
    this.#timer.cancel();
    this.#timer = this.#clock.setTicker(this.#task, isSlow ? IDLE_TICK_MS : TICK_MS);
  }
}
