import { assert } from "../../base/assert.ts";
import type { ConsumedMessage } from "./consumed-message.ts";

/** Messages handed to the application together. */
export interface WindowTask {
  readonly messages: readonly ConsumedMessage[];
  isDone: boolean;
}

/**
 * Messages of one queue between pull and commit:
 *
 *   committed | done, in work, done, ... (tasks) | waiting ... | nextPullOffset
 *             ^ commitOffset
 *
 * What may be committed is the offset of the first message that is not done, so that no message is skipped
 * when the application finishes them in another order. Messages count as held until they can be committed:
 * one that never finishes thus stops the queue after `maxCount` others.
 */
export class ProcessWindow {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  #waiting: ConsumedMessage[] = [];
  #waitingHead = 0;
  #tasks: WindowTask[] = [];
  #nextPullOffset: number;
  #heldCount = 0;
  #heldBytes = 0;

  /** @param nextPullOffset where the group goes on */
  constructor(nextPullOffset: number, maxCount: number, maxBytes: number) {
    this.#nextPullOffset = nextPullOffset;
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get nextPullOffset(): number {
    return this.#nextPullOffset;
  }

  /** The first offset that is not done. */
  get commitOffset(): number {
    const first = this.#tasks[0]?.messages[0] ?? this.#waiting[this.#waitingHead];
    return first?.queueOffset ?? this.#nextPullOffset;
  }

  get hasRoom(): boolean {
    return this.#heldCount < this.#maxCount && this.#heldBytes < this.#maxBytes;
  }

  get hasWaiting(): boolean {
    return this.#waitingHead < this.#waiting.length;
  }

  get heldCount(): number {
    return this.#heldCount;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes the messages of one pull, in order of offset, and where the next pull begins. */
  add(messages: readonly ConsumedMessage[], nextPullOffset: number): void {
    this.#nextPullOffset = nextPullOffset;
    if (this.#waitingHead === this.#waiting.length) {
      this.#waiting = [];
      this.#waitingHead = 0;
    }
    for (const message of messages) {
      this.#waiting.push(message);
      this.#heldBytes += message.size;
    }
    this.#heldCount += messages.length;
  }

  /** Up to `maxCount` waiting messages become a task. */
  take(maxCount: number): WindowTask {
    assert(this.hasWaiting, "a task is taken only when messages wait");
    const messages = this.#waiting.slice(this.#waitingHead, this.#waitingHead + maxCount);
    this.#waitingHead += messages.length;
    const task: WindowTask = { messages, isDone: false };
    this.#tasks.push(task);
    return task;
  }

  /** Marks a task as done. A task from before a `reset` changes nothing. */
  complete(task: WindowTask): void {
    task.isDone = true;
    if (this.#tasks[0] !== task) return;
    let done = 0;
    while (done < this.#tasks.length && this.#tasks[done]!.isDone) {
      for (const message of this.#tasks[done]!.messages) this.#heldBytes -= message.size;
      this.#heldCount -= this.#tasks[done]!.messages.length;
      done++;
    }
    this.#tasks.splice(0, done);
    assert(this.#heldCount >= 0 && this.#heldBytes >= 0, "no more is done than was held");
  }

  /** Forgets all messages and goes on at `offset`. */
  reset(offset: number): void {
    this.#waiting = [];
    this.#waitingHead = 0;
    this.#tasks = [];
    this.#heldCount = 0;
    this.#heldBytes = 0;
    this.#nextPullOffset = offset;
  }
}
