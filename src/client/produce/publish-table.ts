import { MillraceError } from "../../base/errors.ts";
import { javaHash } from "../../base/java-hash.ts";
import { type MessageQueue, queueKey, type TopicRoute, writableQueues } from "../connection/routes.ts";
import type { Batch } from "./batch.ts";
import { illegal, type OutgoingMessage } from "./outgoing-message.ts";
import { createSendHeader, type SendHeader } from "./send-header.ts";

/** What the headers of one producer have in common. */
export interface PublishSettings {
  producerGroup: string;
  defaultTopicQueueNums: number;
  header: "json" | "binary";
}

/** What the accumulator keeps for one queue. */
export interface QueueSlot {
  /** Takes messages until it is full or due. */
  open: Batch | undefined;
  /** Wait for their turn, in order. */
  readonly ready: Batch[];
  inFlight: number;
  /** A batch failed, and is tried again after a pause. */
  paused: boolean;
}

/** One queue as a target, with its ready-made headers. */
export class PublishQueue implements MessageQueue {
  readonly topic: string;
  readonly brokerName: string;
  readonly queueId: number;
  readonly slot: QueueSlot = { open: undefined, ready: [], inFlight: 0, paused: false };
  readonly publisher: TopicPublisher;
  readonly #settings: PublishSettings;
  #single: SendHeader | undefined;
  #oneway: SendHeader | undefined;
  #batch: SendHeader | undefined;

  constructor(queue: MessageQueue, settings: PublishSettings, publisher: TopicPublisher) {
    this.topic = queue.topic;
    this.brokerName = queue.brokerName;
    this.queueId = queue.queueId;
    this.publisher = publisher;
    this.#settings = settings;
  }

  get single(): SendHeader {
    this.#single ??= this.#create("single");
    return this.#single;
  }

  get oneway(): SendHeader {
    this.#oneway ??= this.#create("oneway");
    return this.#oneway;
  }

  get batch(): SendHeader {
    this.#batch ??= this.#create("batch");
    return this.#batch;
  }

  #create(kind: "single" | "oneway" | "batch"): SendHeader {
    const { producerGroup, defaultTopicQueueNums, header } = this.#settings;
    const { topic, brokerName, queueId } = this;
    return createSendHeader({ producerGroup, topic, brokerName, queueId, defaultTopicQueueNums, kind }, header);
  }
}

/** Brokers that have failed lately and are better left alone for a while. */
export class BrokerFaults {
  readonly #until = new Map<string, number>();

  mark(brokerName: string, untilMs: number): void {
    this.#until.set(brokerName, untilMs);
  }

  get isEmpty(): boolean {
    return this.#until.size === 0;
  }

  has(brokerName: string, nowMs: number): boolean {
    const until = this.#until.get(brokerName);
    if (until === undefined) return false;
    if (until > nowMs) return true;
    this.#until.delete(brokerName);
    return false;
  }
}

/** The queues of one topic that a producer may send to, and the choice among them. */
export class TopicPublisher {
  readonly topic: string;
  /** Where messages go that may go anywhere, until its batch is sealed. */
  sticky: PublishQueue | undefined;
  readonly #settings: PublishSettings;
  readonly #faults: BrokerFaults;
  #queues: PublishQueue[] = [];
  #cursor: number;

  /** @param start where round robin begins; different for each producer, so that they do not march in step */
  constructor(topic: string, settings: PublishSettings, faults: BrokerFaults, start: number) {
    this.topic = topic;
    this.#settings = settings;
    this.#faults = faults;
    this.#cursor = start;
  }

  get queues(): readonly PublishQueue[] {
    return this.#queues;
  }

  /** Takes over a new route; queues that stay keep their slots. */
  update(route: TopicRoute): void {
    this.sticky = undefined;
    const known = new Map(this.#queues.map((queue) => [queueKey(queue), queue]));
    this.#queues = writableQueues(route).map(
      (queue) => known.get(queueKey(queue)) ?? new PublishQueue(queue, this.#settings, this),
    );
  }

  /**
   * The queue that a message names by itself, or by its orderKey; undefined if any will do.
   * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL when it names a queue that is not there, MILLRACE_TOPIC_UNKNOWN without queues
   */
  pinned(message: OutgoingMessage): PublishQueue | undefined {
    if (message.queueId !== undefined) {
      const { queueId, brokerName } = message;
      const queue = this.#queues.find(
        (candidate) => candidate.queueId === queueId && (brokerName === undefined || candidate.brokerName === brokerName),
      );
      if (queue !== undefined) return queue;
      throw illegal(
        `topic "${this.topic}" has no writable queue ${queueId}${brokerName === undefined ? "" : ` on ${brokerName}`}`,
        { queueId },
      );
    }
    if (message.orderKey === undefined) return undefined;
    if (this.#queues.length === 0) throw this.#unroutable();
    return this.#queues[Math.abs(javaHash(message.orderKey) % this.#queues.length)];
  }

  /**
   * The next queue by round robin; brokers that failed lately, and `avoid`, only when there is no other.
   * @throws MillraceError MILLRACE_TOPIC_UNKNOWN when the topic has no writable queue
   */
  next(nowMs: number, avoid?: string): PublishQueue {
    const count = this.#queues.length;
    if (count === 0) throw this.#unroutable();
    if (avoid !== undefined || !this.#faults.isEmpty) {
      for (let step = 0; step < count; step++) {
        const queue = this.#queues[(this.#cursor + step) % count]!;
        if (queue.brokerName === avoid || this.#faults.has(queue.brokerName, nowMs)) continue;
        this.#cursor = (this.#cursor + step + 1) % count;
        return queue;
      }
    }
    this.#cursor = (this.#cursor + 1) % count;
    return this.#queues[this.#cursor]!;
  }

  #unroutable(): MillraceError {
    return new MillraceError(
      "MILLRACE_TOPIC_UNKNOWN",
      `topic "${this.topic}" has no writable queue on any broker with a master`,
      {
        topic: this.topic,
      },
    );
  }
}
