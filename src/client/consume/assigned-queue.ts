import type { Clock } from "../../base/clock.ts";
import type { MessageQueue } from "../connection/routes.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import { ProcessWindow } from "./process-window.ts";

/** One queue while this consumer owns it; never owned again once dropped (a later assignment makes a new one). */
export class AssignedQueue {
  readonly queue: MessageQueue;
  readonly window: ProcessWindow;
  /** Offset that the broker (or the file) knows; -1: none that we set. */
  committedOffset = -1;
  /** Orderly: a handler works on it. */
  isBusy = false;
  /** It stands in the dispatcher's line. */
  isLined = false;
  lastPullMs = 0;
  lastConsumeMs = 0;
  /** Orderly: when the broker last confirmed our lock, ms. */
  lockedMs = 0;
  #isDropped = false;
  #wakers: (() => void)[] = [];
  readonly #pauses = new Set<() => void>();

  constructor(queue: MessageQueue, startOffset: number, settings: ConsumerSettings) {
    this.queue = queue;
    this.window = new ProcessWindow(startOffset, settings.maxQueueMessages, settings.maxQueueBytes);
  }

  get isDropped(): boolean {
    return this.#isDropped;
  }

  drop(): void {
    this.#isDropped = true;
    this.wake();
    for (const end of [...this.#pauses]) end();
  }

  /** Resolves after `ms`, or when the queue is dropped. */
  pause(clock: Clock, ms: number): Promise<void> {
    if (this.#isDropped) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const timer = clock.setTimer(end, ms);
      this.#pauses.add(end);
    });
  }

  /** Something has changed that a waiter may wait for: room in the window, a handler's end, the drop. */
  wake(): void {
    if (this.#wakers.length === 0) return;
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const waker of wakers) waker();
  }

  /** Resolves at the next `wake`. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve));
  }
}
