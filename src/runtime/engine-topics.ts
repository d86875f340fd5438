import path from "node:path";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { MillraceError } from "../base/errors.ts";
import * as shared from "../format/shared/shared-words.ts";
import { removeTree } from "../os/files.ts";
import type { TopicFiltersUpdate } from "../store/queue/queue-ext-maker.ts";
import { QUEUE_SLOTS_MAX } from "../store/queue/queue-slots.ts";
import type { TopicSlotsUpdate } from "../store/queue/topic-slots.ts";
import type { SharedLog } from "../store/shared-log.ts";
import type { StorePaths } from "../store/store-paths.ts";
import type { ThreadName } from "./threads.ts";

/**
 * Which slots of the shared memory the queues of each topic have, and who is told of it: the queue indexer before anybody
 * else. Control thread only, which gives the slots out.
 */
export class EngineTopics {
  readonly #log: SharedLog;
  readonly #paths: StorePaths;
  readonly #topics = new Map<string, number[]>();
  readonly #batchTopics: Set<string>;
  readonly #listeners: ((update: TopicSlotsUpdate) => void)[] = [];
  /** By the thread at the other end. */
  readonly #ports = new Map<ThreadName, MessagePort>();
  readonly #filters = new Map<string, TopicFiltersUpdate>();
  #nextSlot = 0;

  /** @param batchTopics those whose queues hold whole batches */
  constructor(log: SharedLog, paths: StorePaths, batchTopics: Iterable<string>) {
    this.#log = log;
    this.#paths = paths;
    this.#batchTopics = new Set(batchTopics);
  }

  /** The end, for another thread, of a channel on which it is told of all topics, now and later. */
  portFor(thread: ThreadName): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#ports.get(thread)?.close(); // Of the one before.
    this.#ports.set(thread, port1);
    port1.unref();
    for (const [topic, slots] of this.#topics) port1.postMessage(this.#updateOf(topic, slots));
    if (thread === "queue-indexer") for (const update of this.#filters.values()) port1.postMessage(update);
    return port2;
  }

  /** Those of the topic, `queueCount` or more; makes what is missing without telling anybody. @throws MillraceError MILLRACE_BUSY */
  slotsOf(topic: string, queueCount: number): number[] {
    const slots = this.#topics.get(topic) ?? [];
    while (slots.length < queueCount) {
      if (this.#nextSlot >= QUEUE_SLOTS_MAX) {
        throw new MillraceError("MILLRACE_BUSY", `no more than ${QUEUE_SLOTS_MAX} queues`, { topic, queueCount });
      }
      slots.push(this.#nextSlot++);
    }
    this.#topics.set(topic, slots);
    return slots;
  }

  /** Calls `listener` with every topic's slots, now and whenever they change; before anybody can use a new slot. */
  onSlots(listener: (update: TopicSlotsUpdate) => void): void {
    this.#listeners.push(listener);
    for (const [topic, slots] of this.#topics) listener(this.#updateOf(topic, slots));
  }

  #updateOf(topic: string, slots: readonly number[]): TopicSlotsUpdate {
    return { topic, slots: [...slots], isBatch: this.isBatch(topic) };
  }

  /** Do the topic's queues hold whole batches? */
  isBatch(topic: string): boolean {
    return this.#batchTopics.has(topic);
  }

  /**
   * Makes the queues [0, queueCount) of the topic usable by all threads. Grows only.
   * @param isBatch they are to hold whole batches; counts when the topic gets its first queues
   */
  ensureQueues(topic: string, queueCount: number, isBatch = false): void {
    if (this.queueCount(topic) >= queueCount) return;
    if (isBatch && !this.#topics.has(topic)) this.#batchTopics.add(topic);
    this.#publish(topic, this.slotsOf(topic, queueCount));
  }

  #publish(topic: string, slots: readonly number[]): void {
    const update = this.#updateOf(topic, slots);
    // First: the queue indexer must know the topic before a message of it is in the log.
    for (const port of this.#ports.values()) port.postMessage(update);
    Atomics.add(this.#log.words, shared.TOPICS_VERSION, 1);
    for (const listener of this.#listeners) listener(update);
  }

  /**
   * Tells the queue indexer what groups filter topics by; on return it asks each further message. Blocks, as #awaitIndexer.
   * @returns store time, ms, that no further message is below
   * @throws MillraceError MILLRACE_BUSY
   */
  setTopicFilters(updates: readonly TopicFiltersUpdate[]): number {
    for (const update of updates) {
      if (update.filters.length > 0) this.#filters.set(update.filtersOf, update);
      else this.#filters.delete(update.filtersOf);
      this.#ports.get("queue-indexer")?.postMessage(update);
    }
    Atomics.add(this.#log.words, shared.TOPICS_VERSION, 1);
    this.#awaitIndexer();
    return this.#log.offset(shared.LAST_STORE_TIMESTAMP);
  }

  /** Forgets the topic. A topic of that name made later starts with new slots. */
  dropQueues(topic: string): void {
    if (!this.#topics.delete(topic)) return;
    this.#publish(topic, []);
    this.#awaitIndexer();
    this.#batchTopics.delete(topic);
    const { consumeQueue, consumeQueueExt, batchConsumeQueue } = this.#paths;
    for (const root of [consumeQueue, consumeQueueExt, batchConsumeQueue]) removeTree(path.join(root, topic));
  }

  /**
   * Waits until the queue indexer knows of all updates. Blocks, for the length of one of its passes: a topic of the
   * same name must not be made while the files of the old one are still being written.
   */
  #awaitIndexer(): void {
    const { words } = this.#log;
    const version = Atomics.load(words, shared.TOPICS_VERSION);
    this.#log.doorbell(shared.DOORBELL_QUEUE_INDEXER).wake();
    for (let tries = 0; tries < 100; tries++) {
      const seen = Atomics.load(words, shared.TOPICS_SEEN);
      if (seen === version) return;
      Atomics.wait(words, shared.TOPICS_SEEN, seen, 20);
    }
    throw new MillraceError("MILLRACE_BUSY", "the queue indexer does not answer", { version });
  }

  slotOf(topic: string, queueId: number): number | undefined {
    return this.#topics.get(topic)?.[queueId];
  }

  queueCount(topic: string): number {
    return this.#topics.get(topic)?.length ?? 0;
  }

  topicNames(): string[] {
    return [...this.#topics.keys()];
  }

  /** By queueId. */
  get slotsByTopic(): ReadonlyMap<string, readonly number[]> {
    return this.#topics;
  }

  close(): void {
    for (const port of this.#ports.values()) port.close();
  }
}
