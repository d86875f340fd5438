import { ByteMap } from "../base/byte-map.ts";
import type { PublishedGroup, PublishedSubscription, PublishedTopic } from "../broker/table-publisher.ts";
import { dedupWindowOf } from "../broker/topics/attributes.ts";
import { isCompacted } from "../broker/topics/compaction.ts";
import { type EntryFilter, NO_CODES } from "../filter/entry-filter.ts";
import { FilterCache } from "../filter/filter-cache.ts";
import { RetryFilter } from "../filter/retry-filter.ts";
import { topicHashOfBytes } from "../format/files/index-file.ts";
import { RETRY_PREFIX, UNSENDABLE_TOPICS } from "../format/names.ts";
import { TOPIC_SIZE_MAX_V1 } from "../format/record/message.ts";
import type { TopicSlots, TopicSlotsUpdate } from "../store/queue/topic-slots.ts";
import type { TableChange } from "./control-messages.ts";

/** Retry topics have checks of their own, and system topics take no sends: the control thread sees to both. */
function isPlainName(topic: string): boolean {
  return !topic.startsWith("%") && !UNSENDABLE_TOPICS.has(topic);
}

const NO_SLOTS: TopicSlotsUpdate = { topic: "", slots: [] };

/** A topic as an I/O worker knows it. */
export interface IoTopic extends TopicSlots {
  readonly topic: string;
  readonly key: Buffer;
  slots: readonly number[];
  readQueueNums: number;
  writeQueueNums: number;
  isReadable: boolean;
  /** Plain sends may be stored without asking the control thread. */
  isPlain: boolean;
  topicSysFlag: number;
  /** By queueId: pulls below this queueOffset are the control thread's; undefined: none are. */
  compactedUpTo: readonly number[] | undefined;
  /** Messages without KEYS are refused. */
  needsKeys: boolean;
  /** Seconds; 0: messages are not de-duplicated. */
  dedupWindowS: number;
  /** What its key hashes go on from (format/files/index-file.ts). */
  keyHashSeed: number;
}

export interface IoSubscription extends EntryFilter {
  /** Serves requests up to this version. */
  readonly subVersion: number;
}

export interface IoGroup {
  readonly group: string;
  /** Pulls may be served without asking the control thread. */
  mayPull: boolean;
  /** Expressions other than tags are served. */
  mayFilter: boolean;
  groupSysFlag: number;
  subscriptions: ReadonlyMap<string, IoSubscription>;
  /** Offset cell by slot; a commit goes straight into it. */
  readonly cells: Map<number, number>;
}

/**
 * The read-mostly tables of one I/O worker: copies of what the control thread publishes. What is not in
 * here, or not plain, goes to the control thread, which is always right.
 */
export class IoTables {
  readonly topics: ByteMap<IoTopic> = new ByteMap();
  readonly groups: ByteMap<IoGroup> = new ByteMap();
  readonly filters: FilterCache = new FilterCache();
  /** Moves with every change of `topics`. */
  version = 0;
  /** Told of each topic that is about to change, or to go. */
  onTopicChange: ((key: Buffer) => void) | undefined = undefined;
  readonly #slotsByTopic = new Map<string, TopicSlotsUpdate>();

  take(change: TableChange): void {
    switch (change.kind) {
      case "topic":
        this.topicChanged(change.topic);
        break;
      case "topic-removed":
        this.topicRemoved(change.topic);
        break;
      case "group":
        this.groupChanged(change.group);
        break;
      case "group-removed":
        this.groupRemoved(change.group);
        break;
      case "cell":
        this.offsetCell(change.group, change.topic, change.queueId, change.cell);
        break;
    }
  }

  topicChanged(published: PublishedTopic): void {
    this.version++;
    const key = Buffer.from(published.topic);
    this.onTopicChange?.(key);
    const { slots, isBatch } = this.#slotsByTopic.get(published.topic) ?? NO_SLOTS;
    const queueCount = Math.max(published.readQueueNums, published.writeQueueNums);
    this.topics.set(key, {
      topic: published.topic,
      key,
      slots,
      isBatch,
      readQueueNums: published.readQueueNums,
      writeQueueNums: published.writeQueueNums,
      isReadable: (published.perm & 4) !== 0,
      isPlain:
        isPlainName(published.topic) && !published.refusesSends && slots.length >= queueCount && key.length <= TOPIC_SIZE_MAX_V1,
      topicSysFlag: published.topicSysFlag,
      compactedUpTo: published.compactedUpTo,
      needsKeys: isCompacted(published),
      dedupWindowS: dedupWindowOf(published.attributes),
      keyHashSeed: topicHashOfBytes(key, 0, key.length),
    });
  }

  topicRemoved(topic: string): void {
    this.version++;
    const key = Buffer.from(topic);
    this.onTopicChange?.(key);
    this.topics.delete(key);
    this.#slotsByTopic.delete(topic);
  }

  /** Comes before the topicChanged that makes use of it. */
  slotsChanged(update: TopicSlotsUpdate): void {
    const { topic, slots } = update;
    this.#slotsByTopic.set(topic, update);
    const key = Buffer.from(topic);
    const known = this.topics.get(key, 0, key.length);
    if (known === undefined) return;
    this.onTopicChange?.(key);
    known.slots = slots;
    known.isBatch = update.isBatch;
  }

  groupChanged(published: PublishedGroup): void {
    const key = Buffer.from(published.group);
    const subscriptions = new Map<string, IoSubscription>();
    // A pull that relies on a subscription which is missing here goes to the control thread, and one that brings its
    // own may go on: neither what is forbidden nor broadcasting concerns it.
    const isBroadcastRefused = published.broadcasting && !published.consumeBroadcastEnable;
    for (const subscription of published.subscriptions) {
      if (isBroadcastRefused || published.forbiddenTopics.includes(subscription.topic)) continue;
      const known = subscriptionOf(subscription, published, this.filters);
      if (known !== undefined) subscriptions.set(subscription.topic, known);
    }
    this.groups.set(key, {
      group: published.group,
      mayPull: published.consumeEnable,
      mayFilter: published.mayFilter,
      groupSysFlag: published.groupSysFlag,
      subscriptions,
      cells: this.groups.get(key, 0, key.length)?.cells ?? new Map(),
    });
  }

  groupRemoved(group: string): void {
    this.groups.delete(Buffer.from(group));
  }

  /** The cell of (group, topic, queueId); the queue's slot is known by then. */
  offsetCell(group: string, topic: string, queueId: number, cell: number): void {
    const key = Buffer.from(group);
    const slot = this.#slotsByTopic.get(topic)?.slots[queueId];
    if (slot !== undefined) this.groups.get(key, 0, key.length)?.cells.set(slot, cell);
  }
}

/** undefined: the control thread says why it cannot be served. */
function subscriptionOf(
  subscription: PublishedSubscription,
  group: PublishedGroup,
  filters: FilterCache,
): IoSubscription | undefined {
  const { subVersion, matchAll, codes, filter, topic } = subscription;
  if (filter === "tags") return { subVersion, matchesAll: matchAll, codes: new Set(codes) };
  if (filter === undefined || !group.mayFilter) return undefined;
  if (group.filterRetries && topic.startsWith(RETRY_PREFIX)) {
    return { subVersion, matchesAll: true, codes: NO_CODES, message: new RetryFilter(group.filters) };
  }
  const compiled = filters.get(filter.expressionType, filter.expression);
  return { subVersion: Math.min(subVersion, filter.version), ...compiled, bloom: filter.bloom };
}
