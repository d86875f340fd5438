import type { EntryFilter } from "../filter/entry-filter.ts";

/**
 * What the control plane (topics, offsets, admin requests, retry, delay …) needs of the store. The
 * runtime implements it over the threaded engine; tests may hand in a map.
 */
export interface MessageStore {
  /** First readable queueOffset of the queue; 0 where the queue has no messages yet. */
  minQueueOffset(topic: string, queueId: number): number;
  /** One past the last dispatched queueOffset. */
  maxQueueOffset(topic: string, queueId: number): number;
  /** One past the last appended queueOffset, dispatched or not. */
  appendedQueueOffset(topic: string, queueId: number): number;
  /** ConsumeQueue entry of the record that holds the message, or undefined outside [min, max). */
  queueEntry(topic: string, queueId: number, queueOffset: number): QueueEntry | undefined;
  /** Raw record bytes at a physicalOffset (a copy), or undefined if there is no whole record there. */
  readRecord(physicalOffset: number): Buffer | undefined;
  /** The next messages of the queue that pass the filter, from `queueOffset` in [min, max) on; at most 32. */
  pick(topic: string, queueId: number, queueOffset: number, count: number, filter: EntryFilter): PickedMessages;
  /**
   * Calls `onGrown` soon after the queue has grown; once. Look at maxQueueOffset after this: what was there before is not told.
   */
  watch(topic: string, queueId: number): void;
  /** Of queues that are watched. Set by the one who watches. */
  onGrown: (topic: string, queueId: number) => void;
  /** Store timestamp (ms) of the message at queueOffset, or -1. */
  storeTimestamp(topic: string, queueId: number, queueOffset: number): number;
  /** Spec: storage.md 3.4. */
  searchOffset(topic: string, queueId: number, timestampMs: number, boundary: "LOWER" | "UPPER"): number;
  /** Physical offsets of up to `maxCount` records by hash of `key` (`topic#key`), newest first. Callers compare the keys. */
  queryIndex(
    topic: string,
    key: string,
    maxCount: number,
    beginMs: number,
    endMs: number,
    type?: "K" | "U" | "T",
  ): IndexQueryResult;
  /** Appends one message through the control thread's own ring. Resolves once it is stored as the flush mode demands. */
  append(message: OutgoingMessage): Promise<AppendResult>;
  /** First and one-past-last physicalOffset of the log. */
  minPhysicalOffset(): number;
  maxPhysicalOffset(): number;
  dispatchedOffset(): number;
  flushedOffset(): number;
  /**
   * Makes the queues [0, queueCount) of `topic` usable by all threads; idempotent; grows only.
   * @param isBatch they hold whole batches
   */
  ensureQueues(topic: string, queueCount: number, isBatch?: boolean): void;
  /** Forgets the topic's queues and deletes their files. */
  dropQueues(topic: string): Promise<void>;
}

/** Most messages of one pick. */
export const PICK_COUNT_MAX = 32;

/** Where messages are, without their bytes. */
export interface PickedMessages {
  /** READ_FOUND, READ_NO_MATCH … of store/queue/queue-reader.ts. */
  status: number;
  /** One past the last entry looked at. */
  nextOffset: number;
  /** Of a whole batch its first message's, which may stand before where was begun. */
  queueOffsets: number[];
  /** physicalOffset and size of each. */
  records: number[];
}

/** The queueOffset behind the message, or behind the whole batch that it is in. */
export function offsetBehind(
  store: Pick<MessageStore, "queueEntry">,
  topic: string,
  queueId: number,
  queueOffset: number,
): number {
  return store.queueEntry(topic, queueId, queueOffset)?.endOffset ?? queueOffset + 1;
}

export interface QueueEntry {
  physicalOffset: number;
  size: number;
  /** Signed 64-bit; beyond 2^53 only for values that are no tag hash. */
  tagsCode: number;
  /** Where the record is a whole batch: queueOffsets of its first message and behind its last. */
  baseOffset?: number;
  endOffset?: number;
}

export interface IndexQueryResult {
  physicalOffsets: number[];
  lastUpdateTimestampMs: number;
  lastUpdatePhysicalOffset: number;
}

/** A message that the broker itself puts into the log; properties as in format/record/properties.ts. */
export interface OutgoingMessage {
  topic: string;
  queueId: number;
  flag: number;
  sysFlag: number;
  bornTimestamp: number;
  /** `ip:port`. */
  bornHost: string;
  reconsumeTimes: number;
  preparedTransactionOffset: number;
  properties: Map<string, string>;
  body: Buffer;
  /** Not stored if a message to this topic with the same unique key was stored within so many seconds before. */
  once?: { topic: string; windowS: number } | undefined;
}

export interface AppendResult {
  physicalOffset: number;
  queueOffset: number;
  storeTimestamp: number;
  size: number;
}
