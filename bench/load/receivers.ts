import { setInterval } from "node:timers";
import { type ConsumedMessage, Consumer, type ConsumerOptions } from "../../src/index.ts";
import { createLatencies, type Latencies, record } from "./latency.ts";
import { monotonicMs, type Scoreboard } from "./scoreboard.ts";
import { DUE_AT, PRODUCER_AT, SEQUENCE_AT } from "./senders.ts";

export interface ReceiverSpec {
  topic: string;
  size: number;
  queues: number;
  /** Consumers of this thread. */
  consumers: number;
  producerCount: number;
  options: ConsumerOptions;
  /** The due times in the messages mean something. */
  isPaced: boolean;
}

export interface ReceiverReport {
  latencies: Latencies;
}

const ASSIGNED_MS = 20;

/** The consumers of one client thread in one case: each message is checked off, and each queue's order watched. */
export class Receivers {
  readonly #spec: ReceiverSpec;
  readonly #board: Scoreboard;
  readonly #thread: number;
  readonly #consumers: Consumer[];
  readonly #latencies = createLatencies();
  /** Last sequence number by queue and producer. */
  readonly #last: Int32Array;
  #ticker: NodeJS.Timeout | undefined;

  constructor(spec: ReceiverSpec, board: Scoreboard, thread: number) {
    this.#spec = spec;
    this.#board = board;
    this.#thread = thread;
    this.#consumers = Array.from({ length: spec.consumers }, () => new Consumer(spec.options));
    this.#last = new Int32Array(spec.queues * spec.producerCount).fill(-1);
  }

  async start(): Promise<void> {
    for (const consumer of this.#consumers) consumer.subscribe(this.#spec.topic);
    await Promise.all(this.#consumers.map((consumer) => consumer.run((messages) => this.#onMessages(messages))));
    this.#ticker = setInterval(() => {
      const ofTopic = this.#consumers.flatMap((one) => one.assignment).filter(({ topic }) => topic === this.#spec.topic);
      this.#board.set(this.#thread, "assigned", ofTopic.length);
    }, ASSIGNED_MS);
  }

  async stop(): Promise<ReceiverReport> {
    clearInterval(this.#ticker);
    await Promise.all(this.#consumers.map((consumer) => consumer.close()));
    return { latencies: this.#latencies };
  }

  #onMessages(messages: readonly ConsumedMessage[]): void {
    const now = monotonicMs();
    const { size, producerCount, isPaced } = this.#spec;
    for (const { body, queueId } of messages) {
      if (body.length !== size) {
        this.#board.add(this.#thread, "damaged");
        continue;
      }
      const producer = body.readUInt32LE(PRODUCER_AT);
      const sequence = body.readUInt32LE(SEQUENCE_AT);
      if (!this.#board.markReceived(producer, sequence)) {
        this.#board.add(this.#thread, "duplicate");
        continue;
      }
      this.#board.add(this.#thread, "received");
      const at = queueId * producerCount + producer;
      if (sequence < this.#last[at]!) this.#board.add(this.#thread, "disordered");
      this.#last[at] = sequence;
      if (!isPaced) continue;
      const dueMs = body.readDoubleLE(DUE_AT);
      if (this.#board.isInWindow(dueMs)) record(this.#latencies.delivery, now - dueMs);
    }
  }
}
