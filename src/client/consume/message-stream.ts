import type { AssignedQueue } from "./assigned-queue.ts";
import type { ConsumedMessage } from "./consumed-message.ts";
import type { Deliver } from "./dispatcher.ts";

/** Failure of a message that nobody began to work on: it is neither done nor to be retried. */
export const ABANDONED: unique symbol = Symbol("abandoned");

interface StreamItem {
  assigned: AssignedQueue;
  message: ConsumedMessage;
  done: (failure?: unknown) => void;
}

/**
 * Messages on their way into `for await` loops. A message is done when the loop that got it asks for the
 * next one (or when it is acknowledged): a loop that is left by an error has not finished its message.
 */
export class MessageStream {
  readonly #items: StreamItem[] = [];
  readonly #handedOut = new Map<ConsumedMessage, (failure?: unknown) => void>();
  #waiters: ((item: StreamItem | undefined) => void)[] = [];
  #isClosed = false;

  readonly deliver: Deliver = (assigned, task, done) => {
    const item: StreamItem = { assigned, message: task.messages[0]!, done };
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#items.push(item);
    else waiter(item);
  };

  /** Marks a message that some loop works on as done. @returns false if no loop has it (any more) */
  acknowledge(message: ConsumedMessage): boolean {
    const done = this.#handedOut.get(message);
    this.#handedOut.delete(message);
    done?.();
    return done !== undefined;
  }

  /** Ends all loops; what they have not finished is not done. */
  close(): void {
    this.#isClosed = true;
    for (const { done } of this.#items.splice(0)) done(ABANDONED);
    for (const done of this.#handedOut.values()) done(ABANDONED);
    this.#handedOut.clear();
    for (const waiter of this.#waiters.splice(0)) waiter(undefined);
  }

  iterate(): AsyncIterableIterator<ConsumedMessage> {
    let current: ConsumedMessage | undefined;
    const next = async (): Promise<IteratorResult<ConsumedMessage>> => {
      if (current !== undefined) this.acknowledge(current);
      current = undefined;
      const item = await this.#take();
      if (item === undefined) return { done: true, value: undefined };
      current = item.message;
      this.#handedOut.set(item.message, item.done);
      return { done: false, value: item.message };
    };
    const end = async (): Promise<IteratorResult<ConsumedMessage>> => ({ done: true, value: undefined });
    const iterator: AsyncIterableIterator<ConsumedMessage> = { next, return: end, [Symbol.asyncIterator]: () => iterator };
    return iterator;
  }

  #take(): Promise<StreamItem | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
      if (!item.assigned.isDropped) return Promise.resolve(item);
      // Another member has the queue by now, and gets the message.
      item.done(ABANDONED);
    }
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}
