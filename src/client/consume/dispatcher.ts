import type { AssignedQueue } from "./assigned-queue.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import type { WindowTask } from "./process-window.ts";

/**
 * Hands one task to the application and calls `done` once, now or later; with an argument: it failed with that.
 */
export type Deliver = (assigned: AssignedQueue, task: WindowTask, done: (failure?: unknown) => void) => void;

/**
 * Brings waiting messages of all queues to the application, queue by queue in turn, at most `maxInFlight`
 * tasks at a time. An orderly queue has one task at a time, and keeps it until it succeeds.
 */
export class Dispatcher {
  readonly #settings: Pick<ConsumerSettings, "maxInFlight" | "consumeBatchSize" | "orderly">;
  readonly #deliver: Deliver;
  /** What to do about a failure; resolves with true when the task is dealt with, false: deliver it again. */
  readonly #recover: (assigned: AssignedQueue, task: WindowTask, failure: unknown) => Promise<boolean>;
  #line: AssignedQueue[] = [];
  #running = 0;
  #isPumping = false;
  #isStopped = false;
  #idleWaiters: (() => void)[] = [];

  constructor(
    settings: Pick<ConsumerSettings, "maxInFlight" | "consumeBatchSize" | "orderly">,
    deliver: Deliver,
    recover: (assigned: AssignedQueue, task: WindowTask, failure: unknown) => Promise<boolean>,
  ) {
    this.#settings = settings;
    this.#deliver = deliver;
    this.#recover = recover;
  }

  /** Tasks under way. */
  get running(): number {
    return this.#running;
  }

  /** Messages of `assigned` may be waiting. */
  offer(assigned: AssignedQueue): void {
    this.#enqueue(assigned);
    this.#pump();
  }

  /** Starts nothing more; resolves when no task is under way. */
  stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #enqueue(assigned: AssignedQueue): void {
    if (assigned.isLined || assigned.isDropped || assigned.isBusy || !assigned.window.hasWaiting) return;
    assigned.isLined = true;
    this.#line.push(assigned);
  }

  #pump(): void {
    // A handler that ends at once comes back here: the loop below goes on, no deeper.
    if (this.#isPumping) return;
    this.#isPumping = true;
    let head = 0;
    while (head < this.#line.length && this.#running < this.#settings.maxInFlight && !this.#isStopped) {
      const assigned = this.#line[head++]!;
      assigned.isLined = false;
      if (assigned.isDropped || !assigned.window.hasWaiting) continue;
      const task = assigned.window.take(this.#settings.consumeBatchSize);
      if (this.#settings.orderly) assigned.isBusy = true;
      this.#running++;
      this.#start(assigned, task);
      this.#enqueue(assigned);
    }
    this.#line.splice(0, head);
    this.#isPumping = false;
  }

  #start(assigned: AssignedQueue, task: WindowTask): void {
    let isSettled = false;
    this.#deliver(assigned, task, (failure) => {
      if (isSettled) return;
      isSettled = true;
      if (failure === undefined) this.#finish(assigned, task);
      else void this.#handleFailure(assigned, task, failure);
    });
  }

  async #handleFailure(assigned: AssignedQueue, task: WindowTask, failure: unknown): Promise<void> {
    const isDealtWith = await this.#recover(assigned, task, failure);
    if (isDealtWith || assigned.isDropped || this.#isStopped) this.#finish(assigned, task, isDealtWith);
    else this.#start(assigned, task);
  }

  #finish(assigned: AssignedQueue, task: WindowTask, isComplete = true): void {
    this.#running--;
    assigned.isBusy = false;
    // What was given up, since the queue is no longer ours, is the next owner's: it must not be committed.
    if (isComplete) assigned.window.complete(task);
    assigned.wake();
    this.#enqueue(assigned);
    this.#pump();
    if (this.#running === 0 && this.#isStopped) for (const waiter of this.#idleWaiters.splice(0)) waiter();
  }
}
