import type { EntryFilter } from "../../filter/entry-filter.ts";
import { RETRY_PREFIX } from "../../format/names.ts";
import { popRetryTopic } from "../../format/remoting/pop-info.ts";
import { READ_FOUND } from "../../store/queue/queue-reader.ts";
import type { OffsetLookup, TopicLookup } from "../contracts.ts";
import type { MessageStore, PickedMessages } from "../message-store.ts";
import type { OrderInfos } from "./order-info.ts";

/** Names as in the configuration; read at each use, since administrators may change them. */
export interface PopQueueSettings {
  enableRetryTopicV2: boolean;
  retrieveMessageFromPopRetryTopicV1: boolean;
  initPopOffsetByCheckMsgInMem: boolean;
  enablePopMessageThreshold: boolean;
  popInflightMessageThreshold: number;
}

export interface PopQueuesOptions {
  store: MessageStore;
  topics: TopicLookup;
  offsets: OffsetLookup;
  orders: OrderInfos;
  settings: PopQueueSettings;
  /** The newest so many bytes of the log count as in memory. */
  inMemorySize: number;
}

/** initMode of a pop: where a new group begins. */
const INIT_MIN = 0;

/**
 * Where each group goes on in each queue, and which queues somebody is popping from just now: until the check point of a
 * pop is stored the next one must not go past it. Control thread only.
 * Source: Apache `PopMessageProcessor.getPopOffset`, `QueueLockManager`, `PopInflightMessageCounter`.
 */
export class PopQueues {
  readonly #o: PopQueuesOptions;
  readonly #locked = new Set<string>();
  /** Messages that are popped and not settled, where there are any. */
  readonly #inFlight = new Map<string, number>();

  constructor(options: PopQueuesOptions) {
    this.#o = options;
  }

  tryLock(topic: string, group: string, queueId: number): boolean {
    const key = keyText(topic, group, queueId);
    if (this.#locked.has(key)) return false;
    this.#locked.add(key);
    return true;
  }

  unlock(topic: string, group: string, queueId: number): void {
    this.#locked.delete(keyText(topic, group, queueId));
  }

  /** Retry topics of the topic and group that there are, the one in use first. */
  retryTopics(topic: string, group: string): string[] {
    const { enableRetryTopicV2, retrieveMessageFromPopRetryTopicV1 } = this.#o.settings;
    const names = [popRetryTopic(topic, group, enableRetryTopicV2)];
    if (enableRetryTopicV2 && retrieveMessageFromPopRetryTopicV1) names.push(popRetryTopic(topic, group, false));
    return names.filter((name) => this.#o.topics.get(name) !== undefined);
  }

  /** Where the group goes on, without a commit. */
  position(topic: string, group: string, queueId: number, initMode: number): number {
    const { offsets, store } = this.#o;
    const committed = offsets.get(group, topic, queueId);
    if (committed >= 0) return committed;
    if (initMode === INIT_MIN || topic.startsWith(RETRY_PREFIX)) return store.minQueueOffset(topic, queueId);
    if (this.#o.settings.initPopOffsetByCheckMsgInMem && this.#isWholeInMemory(topic, queueId)) return 0;
    return Math.max(0, store.maxQueueOffset(topic, queueId) - 1); // The last one is popped, and so the place is kept.
  }

  #isWholeInMemory(topic: string, queueId: number): boolean {
    const { store, inMemorySize } = this.#o;
    if (store.minQueueOffset(topic, queueId) > 0) return false;
    const first = store.queueEntry(topic, queueId, 0);
    return first !== undefined && store.maxPhysicalOffset() - first.physicalOffset <= inMemorySize;
  }

  /** The same for a pop that now takes messages: a reset that waits is done, a new group gets its place. */
  begin(topic: string, group: string, queueId: number, initMode: number): number {
    const { offsets, orders } = this.#o;
    if (offsets.pendingReset(group, topic, queueId) >= 0) {
      const offset = offsets.takeReset(group, topic, queueId);
      orders.clear(topic, group, queueId);
      offsets.commit(group, topic, queueId, offset);
      return offset;
    }
    const offset = this.position(topic, group, queueId, initMode);
    if (offsets.get(group, topic, queueId) < 0) offsets.commit(group, topic, queueId, offset);
    return offset;
  }

  /** Messages from `offset` on; where that is outside of the queue, from where it goes on. */
  pick(topic: string, queueId: number, offset: number, count: number, filter: EntryFilter): PickedMessages & { from: number } {
    const { store } = this.#o;
    const [min, max] = [store.minQueueOffset(topic, queueId), store.maxQueueOffset(topic, queueId)];
    const from = offset < min ? min : Math.min(offset, max);
    if (from === max) return { status: READ_FOUND, from, nextOffset: from, queueOffsets: [], records: [] };
    const picked = store.pick(topic, queueId, from, count, filter);
    // Where the queue ends by now: the last of those picked may have come after the look above, and would be handed out again.
    const nextOffset = Math.min(Math.max(from + 1, picked.nextOffset), store.maxQueueOffset(topic, queueId));
    return { ...picked, nextOffset, from: Math.min(from, picked.queueOffsets[0] ?? from) };
  }

  /** Messages of the queue that the group has not popped. */
  rest(topic: string, group: string, queueId: number, initMode: number): number {
    return this.#o.store.maxQueueOffset(topic, queueId) - this.position(topic, group, queueId, initMode);
  }

  /** Would a pop find something now? */
  hasMore(topic: string, group: string, queueId: number, isOrdered: boolean): boolean {
    if (this.#locked.has(keyText(topic, group, queueId)) || this.isFull(topic, group, queueId)) return false;
    if (isOrdered && this.#o.orders.isBlocked(undefined, topic, group, queueId)) return false;
    return this.rest(topic, group, queueId, INIT_MIN) > 0;
  }

  /** Too many of its messages are popped and not settled. */
  isFull(topic: string, group: string, queueId: number): boolean {
    const { enablePopMessageThreshold, popInflightMessageThreshold } = this.#o.settings;
    if (!enablePopMessageThreshold) return false;
    return (this.#inFlight.get(keyText(topic, group, queueId)) ?? 0) > popInflightMessageThreshold;
  }

  addInFlight(topic: string, group: string, queueId: number, count: number): void {
    const key = keyText(topic, group, queueId);
    const now = (this.#inFlight.get(key) ?? 0) + count;
    if (now > 0) this.#inFlight.set(key, now);
    else this.#inFlight.delete(key);
  }
}

function keyText(topic: string, group: string, queueId: number): string {
  return `${topic}@${group}@${queueId}`;
}
