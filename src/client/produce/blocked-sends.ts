import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { within } from "../within.ts";
import type { Accumulator } from "./accumulator.ts";
import type { SendWaiter } from "./batch.ts";
import type { OutgoingMessage } from "./outgoing-message.ts";
import type { ProducerSettings } from "./producer-options.ts";

interface BlockedSend {
  message: OutgoingMessage;
  waiter: SendWaiter;
  expiresMs: number;
}

/**
 * Sends that wait for their topic's route or for room in the buffer. They go on in the order they came, so
 * that what is sent to one queue without waiting for answers keeps its order.
 */
export class BlockedSends {
  readonly #clock: Clock;
  readonly #accumulator: Accumulator;
  readonly #settings: Pick<ProducerSettings, "maxBlockMs" | "bufferMemory">;
  /** Resolves with false: still no room. Rejects when the message can never be sent. */
  readonly #trySend: (message: OutgoingMessage, waiter: SendWaiter) => Promise<boolean>;
  readonly #waiting: BlockedSend[] = [];
  #serving: Promise<void> | undefined;

  constructor(
    clock: Clock,
    accumulator: Accumulator,
    settings: Pick<ProducerSettings, "maxBlockMs" | "bufferMemory">,
    trySend: (message: OutgoingMessage, waiter: SendWaiter) => Promise<boolean>,
  ) {
    this.#clock = clock;
    this.#accumulator = accumulator;
    this.#settings = settings;
    this.#trySend = trySend;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  add(message: OutgoingMessage, waiter: SendWaiter, nowMs: number): void {
    this.#waiting.push({ message, waiter, expiresMs: nowMs + this.#settings.maxBlockMs });
    this.#serving ??= this.#serve();
  }

  /** Resolves when nothing waits. */
  async served(): Promise<void> {
    await this.#serving;
  }

  rejectAll(error: MillraceError): void {
    for (const { waiter } of this.#waiting.splice(0)) waiter.reject(error);
  }

  async #serve(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Taken off in one piece: one by one from the front would be quadratic.
      let done = 0;
      while (done < this.#waiting.length && (await this.#isSettled(this.#waiting[done]!))) done++;
      this.#waiting.splice(0, done);
      const head = this.#waiting[0];
      if (head !== undefined)
        await within(this.#clock, this.#accumulator.drained(), Math.max(1, head.expiresMs - this.#clock.now()));
    }
    this.#serving = undefined;
  }

  /** Sent, or told why not. */
  async #isSettled({ message, waiter, expiresMs }: BlockedSend): Promise<boolean> {
    try {
      if (await this.#trySend(message, waiter)) return true;
    } catch (error) {
      waiter.reject(error instanceof Error ? error : new Error(String(error)));
      return true;
    }
    if (this.#clock.now() < expiresMs) return false;
    const { bufferMemory, maxBlockMs } = this.#settings;
    const text = `no room in bufferMemory (${bufferMemory} bytes) for ${maxBlockMs} ms`;
    waiter.reject(new MillraceError("MILLRACE_BUSY", text, { bufferMemory, maxBlockMs }));
    return true;
  }
}
