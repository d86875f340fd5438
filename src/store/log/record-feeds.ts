import { KEYS_UNNOTED, keyNoteOffset, NOTE_KEY_COUNT, NOTE_TAGS_CODE } from "../../format/record/record-notes.ts";
import * as feed from "../../ring/index-feed.ts";
import type { RecentRecords } from "../queue/recent-records.ts";
import type { RunKernel } from "./run-kernel.ts";

const NO_ENTRY = -1;
const ONE_MORE: number = 1 << feed.FEED_COUNT_SHIFT;

/**
 * Hands the notes of records on to the indexers and to whoever waits in this thread, once the records are in the log. What
 * follows each other in the log and is alike, as the messages of a batch are, shares one entry. Log writer only.
 */
export class RecordFeeds {
  readonly #queues: feed.IndexFeedProducer | undefined;
  readonly #keys: feed.IndexFeedProducer | undefined;
  readonly #recent: RecentRecords | undefined;
  /** End of what belongs to records in the log. */
  #queuesSettled = 0;
  #keysSettled = 0;
  /** The entry that may take more records, and what these must be like. */
  #queueEntry = NO_ENTRY;
  #queueEnd = 0;
  #queueNext = 0;
  #keyEntry = NO_ENTRY;
  #keyEnd = 0;
  /** Its words, and those of them that are used. */
  #keyLength = 0;
  #keyUsed = 0;

  constructor(
    queueFeed: feed.IndexFeedMemory | undefined,
    keyFeed: feed.IndexFeedMemory | undefined,
    recent: RecentRecords | undefined,
  ) {
    this.#recent = recent;
    this.#queues = queueFeed === undefined ? undefined : new feed.IndexFeedProducer(queueFeed);
    this.#keys = keyFeed === undefined ? undefined : new feed.IndexFeedProducer(keyFeed);
    this.settle();
  }

  /** Reads the notes of the record at `at`, before its open fields are filled. */
  add(
    view: DataView,
    at: number,
    sysFlag: number,
    slot: number,
    queueOffset: number,
    physicalOffset: number,
    storeTimestamp: number,
    size: number,
  ): void {
    const tagsCode = view.getInt32(at + NOTE_TAGS_CODE);
    this.#recent?.add(slot, queueOffset, physicalOffset, size, tagsCode);
    if (this.#queues !== undefined) this.#addToQueues(this.#queues, slot, queueOffset, physicalOffset, size, tagsCode, 1);
    const keyCount = view.getInt32(at + NOTE_KEY_COUNT);
    if (this.#keys === undefined || keyCount === KEYS_UNNOTED) return;
    const place = this.#addToKeys(this.#keys, keyCount, physicalOffset, storeTimestamp, size, 1);
    if (place < 0) return;
    const { words } = this.#keys;
    for (let i = 0; i < keyCount; i++) words[place + i] = view.getInt32(at + keyNoteOffset(sysFlag, i));
  }

  /** The same of the `count` records that `run` has just filled, the first at these offsets. */
  addRun(run: RunKernel, count: number, slot: number, queueOffset: number, physicalOffset: number, storeTimestamp: number): void {
    const { size, tagsCode, keyCount } = run;
    const recent = this.#recent;
    if (recent !== undefined)
      for (let i = 0; i < count; i++) recent.add(slot, queueOffset + i, physicalOffset + i * size, size, tagsCode);
    if (this.#queues !== undefined) this.#addToQueues(this.#queues, slot, queueOffset, physicalOffset, size, tagsCode, count);
    if (this.#keys === undefined) return;
    const place = this.#addToKeys(this.#keys, keyCount, physicalOffset, storeTimestamp, size, count);
    if (place < 0) return;
    const { words } = this.#keys;
    for (let i = 0; i < count * keyCount; i++) words[place + i] = run.hash(i);
  }

  #addToQueues(
    queues: feed.IndexFeedProducer,
    slot: number,
    queueOffset: number,
    physicalOffset: number,
    size: number,
    tagsCode: number,
    count: number,
  ): void {
    const { words, cells } = queues;
    const last = this.#queueEntry;
    const isNext = last !== NO_ENTRY && physicalOffset === this.#queueEnd && queueOffset === this.#queueNext;
    this.#queueEnd = physicalOffset + count * size;
    this.#queueNext = queueOffset + count;
    if (
      isNext &&
      words[last + feed.FEED_SIZE] === size &&
      words[last + feed.QUEUE_FEED_SLOT] === slot &&
      words[last + feed.QUEUE_FEED_TAGS_CODE] === tagsCode
    ) {
      words[last] = words[last]! + count * ONE_MORE;
      return;
    }
    const entry = queues.add(feed.QUEUE_FEED_WORDS);
    this.#queueEntry = entry;
    if (entry < 0) return;
    words[entry] = feed.QUEUE_FEED_WORDS + count * ONE_MORE;
    words[entry + feed.FEED_SIZE] = size;
    cells[(entry >> 1) + feed.FEED_PHYSICAL_OFFSET] = physicalOffset;
    cells[(entry >> 1) + feed.QUEUE_FEED_QUEUE_OFFSET] = queueOffset;
    words[entry + feed.QUEUE_FEED_SLOT] = slot;
    words[entry + feed.QUEUE_FEED_TAGS_CODE] = tagsCode;
  }

  /** @returns the word where the hashes of the `count` records begin, or NO_ENTRY */
  #addToKeys(
    keys: feed.IndexFeedProducer,
    keyCount: number,
    physicalOffset: number,
    storeTimestamp: number,
    size: number,
    count: number,
  ): number {
    const { words, cells } = keys;
    const last = this.#keyEntry;
    const isNext = last !== NO_ENTRY && physicalOffset === this.#keyEnd;
    const hashCount = count * keyCount;
    this.#keyEnd = physicalOffset + count * size;
    if (
      isNext &&
      words[last + feed.FEED_SIZE] === size &&
      words[last + feed.KEY_FEED_COUNT] === keyCount &&
      cells[(last >> 1) + feed.KEY_FEED_STORE_TIMESTAMP] === storeTimestamp &&
      this.#growKeys(keys, hashCount)
    ) {
      words[last] = this.#keyLength + (words[last]! & -ONE_MORE) + count * ONE_MORE;
      return last + this.#keyUsed - hashCount;
    }
    const used = feed.KEY_FEED_HASHES + hashCount;
    const length = used + (used & 1);
    const entry = keys.add(length);
    this.#keyEntry = entry;
    if (entry < 0) return NO_ENTRY;
    this.#keyLength = length;
    this.#keyUsed = used;
    words[entry] = length + count * ONE_MORE;
    words[entry + feed.FEED_SIZE] = size;
    cells[(entry >> 1) + feed.FEED_PHYSICAL_OFFSET] = physicalOffset;
    cells[(entry >> 1) + feed.KEY_FEED_STORE_TIMESTAMP] = storeTimestamp;
    words[entry + feed.KEY_FEED_COUNT] = keyCount;
    return entry + feed.KEY_FEED_HASHES;
  }

  /** Makes room for so many hashes more in the last entry. */
  #growKeys(keys: feed.IndexFeedProducer, hashCount: number): boolean {
    const used = this.#keyUsed + hashCount;
    const length = used + (used & 1);
    if (length > feed.FEED_LENGTH_MAX || (length > this.#keyLength && !keys.grow(length - this.#keyLength))) return false;
    this.#keyUsed = used;
    this.#keyLength = length;
    return true;
  }

  /** No entry takes more records: what comes may be taken back or seen apart from those before. */
  #close(): void {
    this.#queueEntry = NO_ENTRY;
    this.#keyEntry = NO_ENTRY;
  }

  /**
   * Tells of the blank end of a log file, and of all before it: an indexer that looked for itself would have to map the whole
   * file for it. What was added before is in the log.
   */
  addBlank(physicalOffset: number, size: number): void {
    this.#close();
    if (this.#queues !== undefined) this.#addToQueues(this.#queues, feed.FEED_BLANK_SLOT, 0, physicalOffset, size, 0, 1);
    if (this.#keys !== undefined) this.#addToKeys(this.#keys, 0, physicalOffset, 0, size, 1);
    this.settle();
    this.publish();
  }

  settle(): void {
    this.#recent?.settle();
    if (this.#queues !== undefined) this.#queuesSettled = this.#queues.tail;
    if (this.#keys !== undefined) this.#keysSettled = this.#keys.tail;
    this.#close();
  }

  undo(): void {
    this.#recent?.undo();
    this.#queues?.rewind(this.#queuesSettled);
    this.#keys?.rewind(this.#keysSettled);
    this.#close();
  }

  publish(): void {
    this.#queues?.publish();
    this.#keys?.publish();
    this.#close();
  }

  get isKeyFeedBusy(): boolean {
    return this.#keys?.isBusy === true;
  }
}
