import { KEYS_UNNOTED, keyNoteOffset, NOTE_KEY_COUNT, NOTE_TAGS_CODE } from "../../format/record/record-notes.ts";
import * as feed from "../../ring/index-feed.ts";
import type { RecentRecords } from "../queue/recent-records.ts";

/** Hands the notes of records on to the indexers and to whoever waits in this thread, once the records are in the log. Log writer only. */
export class RecordFeeds {
  readonly #queues: feed.IndexFeedProducer | undefined;
  readonly #keys: feed.IndexFeedProducer | undefined;
  readonly #recent: RecentRecords | undefined;
  /** End of what belongs to records in the log. */
  #queuesSettled = 0;
  #keysSettled = 0;

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
    const queues = this.#queues;
    const queueEntry = queues === undefined ? -1 : queues.add();
    if (queueEntry >= 0) {
      const { words, cells } = queues!;
      const cell = queueEntry >> 1;
      cells[cell + feed.QUEUE_FEED_PHYSICAL_OFFSET] = physicalOffset;
      cells[cell + feed.QUEUE_FEED_QUEUE_OFFSET] = queueOffset;
      words[queueEntry + feed.QUEUE_FEED_SIZE] = size;
      words[queueEntry + feed.QUEUE_FEED_SLOT] = slot;
      words[queueEntry + feed.QUEUE_FEED_TAGS_CODE] = tagsCode;
    }
    const keyCount = view.getInt32(at + NOTE_KEY_COUNT);
    const keys = this.#keys;
    const keyEntry = keys === undefined || keyCount === KEYS_UNNOTED ? -1 : keys.add();
    if (keyEntry < 0) return;
    const { words, cells } = keys!;
    const cell = keyEntry >> 1;
    cells[cell + feed.KEY_FEED_PHYSICAL_OFFSET] = physicalOffset;
    cells[cell + feed.KEY_FEED_STORE_TIMESTAMP] = storeTimestamp;
    words[keyEntry + feed.KEY_FEED_SIZE] = size;
    words[keyEntry + feed.KEY_FEED_COUNT] = keyCount;
    for (let i = 0; i < keyCount; i++) {
      words[keyEntry + feed.KEY_FEED_HASHES + i] = view.getInt32(at + keyNoteOffset(sysFlag, i));
    }
  }

  settle(): void {
    if (this.#queues !== undefined) this.#queuesSettled = this.#queues.tail;
    if (this.#keys !== undefined) this.#keysSettled = this.#keys.tail;
    this.#recent?.settle();
  }

  undo(): void {
    this.#queues?.rewind(this.#queuesSettled);
    this.#keys?.rewind(this.#keysSettled);
    this.#recent?.undo();
  }

  publish(): void {
    this.#queues?.publish();
    this.#keys?.publish();
  }

  get isKeyFeedBusy(): boolean {
    return this.#keys?.isBusy === true;
  }
}
