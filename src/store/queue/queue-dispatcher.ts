import { MillraceError } from "../../base/errors.ts";
import { javaHashOfBytes } from "../../base/java-hash.ts";
import { BATCH_COUNT_MAX } from "../../format/files/batch-consume-queue.ts";
import { ENTRY_SIZE, writeEntry } from "../../format/files/consume-queue.ts";
import { writeExtAddress } from "../../format/files/queue-ext.ts";
import { SCHEDULE_TOPIC } from "../../format/names.ts";
import {
  QUEUE_OFFSET_OFFSET,
  RECORD_BLANK,
  RecordParts,
  readInt64,
  recordSizeAt,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_PREPARED,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_TRANSACTION_MASK,
} from "../../format/record/message.ts";
import { MultiDispatchScan, mayDispatch } from "../../format/record/multi-dispatch.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";
import * as feed from "../../ring/index-feed.ts";
import type { LogReader } from "../log/log-reader.ts";
import { BatchConsumeQueue } from "./batch-consume-queue.ts";
import type { ConsumeQueue } from "./consume-queue.ts";
import type { QueueExtMaker } from "./queue-ext-maker.ts";
import type { QueueSlots } from "./queue-slots.ts";
import { NO_UNIT, type QueueTails } from "./queue-tails.ts";
import type { RebuildOrder } from "./rebuild-order.ts";
import { QUEUE_BATCH, QUEUE_NONE, type TopicSlots, type TopicSlotsTable } from "./topic-slots.ts";

const TAGS = Buffer.from("TAGS");
const DELAY = Buffer.from("DELAY");
const INNER_NUM = Buffer.from("INNER_NUM");
const SCHEDULE_KEY = Buffer.from(SCHEDULE_TOPIC);
/** Records taken before new maximum offsets are published. */
const PASS_MAX = 1024;
/**
 * The same in recovery, where nobody waits for them: the more a queue gets at once, the fewer its files are opened; a
 * thousand of them mapped would take a second.
 */
const PASS_MAX_RECOVERY = 131_072;

export interface QueueDispatcherOptions {
  reader: LogReader;
  topics: TopicSlotsTable;
  slots: QueueSlots;
  tails: QueueTails;
  /** What the log writer says of the records; without it they are read. */
  feed?: feed.IndexFeedConsumer;
  /** Recovery: records may be missing. Their places in the queue get entries without a message. */
  order?: RebuildOrder;
  /** Records go to the further queues that they name. Default: false. */
  isMultiDispatch?: boolean;
  /** Entries point at units of these; undefined: they hold the tags code themselves. */
  ext?: QueueExtMaker | undefined;
  /** Delay of each level in ms, level 1 first. */
  delayLevelsMs: readonly number[];
  /** Asked for a topic or queue that the table lacks; updates the table and says whether anything has changed. */
  refreshTopics: (topic: string, queueId: number) => boolean;
}

/**
 * Makes ConsumeQueue entries out of log records, in log order. Queue-indexer thread, or recovery before the
 * threads start. Entries that exist already (after a restart) are written again with the same bytes.
 * Source: Apache `DefaultMessageStore.ReputMessageService`, `ConsumeQueue.putMessagePositionInfoWrapper`.
 */
export class QueueDispatcher {
  readonly #reader: LogReader;
  readonly #topics: TopicSlotsTable;
  readonly #slots: QueueSlots;
  readonly #tails: QueueTails;
  readonly #feed: feed.IndexFeedConsumer | undefined;
  readonly #order: RebuildOrder | undefined;
  readonly #ext: QueueExtMaker | undefined;
  readonly #further: MultiDispatchScan | undefined;
  readonly #delayLevelsMs: readonly number[];
  readonly #refreshTopics: (topic: string, queueId: number) => boolean;
  readonly #parts = new RecordParts();
  readonly #scan = new PropertyScan();
  readonly #entry = Buffer.alloc(ENTRY_SIZE);
  #lastTopic: TopicSlots | undefined;
  /** Slots that grew in this pass, each once; by slot, how far, 0 for others. */
  readonly #grown: number[] = [];
  #grownTo = new Float64Array(1024);
  readonly #pending = new Map<number, PendingEntries>();
  readonly #passMax: number;

  constructor(options: QueueDispatcherOptions) {
    this.#reader = options.reader;
    this.#topics = options.topics;
    this.#slots = options.slots;
    this.#tails = options.tails;
    this.#feed = options.feed;
    this.#order = options.order;
    this.#ext = options.ext;
    this.#further = options.isMultiDispatch === true ? new MultiDispatchScan() : undefined;
    this.#passMax = options.order === undefined ? PASS_MAX : PASS_MAX_RECOVERY;
    this.#delayLevelsMs = options.delayLevelsMs;
    this.#refreshTopics = options.refreshTopics;
  }

  /** The last `dispatch` did nothing, since the disk had no room for its entries. */
  isDiskFull = false;

  /** Slots that grew in the last `dispatch`. */
  get grown(): readonly number[] {
    return this.#grown;
  }

  /**
   * Dispatches records from `from` on, below `limit`, as many as a pass has. On return their entries are
   * readable and maxOffset of their queues is stored (plainly: ring a doorbell to publish).
   * @returns the offset to go on at; `from` when the bytes there are no record, or the disk is full (`isDiskFull`)
   */
  dispatch(from: number, limit: number): number {
    this.isDiskFull = false;
    try {
      return this.#dispatch(from, limit);
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_STORE_FULL") throw error;
      // The whole pass is made again: entries that were written already get the same bytes.
      this.isDiskFull = true;
      for (const slot of this.#grown) this.#grownTo[slot] = 0;
      this.#grown.length = 0;
      this.#pending.clear();
      this.#ext?.undo();
      return from;
    }
  }

  #dispatch(from: number, limit: number): number {
    this.#grown.length = 0;
    this.#feed?.refresh();
    let offset = from;
    for (let count = 0; offset < limit && count < this.#passMax; count++) {
      const fed = this.#dispatchFed(offset, limit);
      if (fed > 0) {
        offset += fed;
        continue;
      }
      if (!this.#reader.window(offset, limit)) break;
      let size = recordSizeAt(this.#reader.bytes, this.#reader.at, this.#reader.end);
      if (size === RECORD_BLANK) {
        offset = this.#reader.baseOf(offset) + this.#reader.fileSize;
        continue;
      }
      if (size < 0) {
        // In the native-free drive a record may reach over the window's end: ask for all of it.
        const claimed = this.#reader.end - this.#reader.at >= 4 ? this.#reader.bytes.readUInt32BE(this.#reader.at) : 8;
        if (claimed > limit - offset || !this.#reader.window(offset, limit, Math.max(8, claimed))) break;
        size = recordSizeAt(this.#reader.bytes, this.#reader.at, this.#reader.end);
        if (size === RECORD_BLANK) continue;
        if (size < 0) break;
      }
      this.#dispatchRecord(this.#reader.bytes, this.#reader.at, offset, size);
      offset += size;
    }
    this.#finishPass();
    return offset;
  }

  /** By what the log writer says of the records from `offset` on. @returns the size of those done; 0: nothing is said, read it */
  #dispatchFed(offset: number, limit: number): number {
    const from = this.#feed;
    const at = from === undefined ? -1 : from.seek(offset);
    if (at < 0 || this.#ext !== undefined) return 0;
    const { words, cells } = from!;
    const count = from!.countFrom(at, offset, limit);
    if (count === 0) return 0;
    const size = words[at + feed.FEED_SIZE]!;
    const slot = words[at + feed.QUEUE_FEED_SLOT]!;
    if (slot === feed.FEED_BLANK_SLOT) return size;
    const kind = this.#topics.kindOf(slot);
    if (kind === QUEUE_NONE) return count * size; // Deleted since.
    if (kind === QUEUE_BATCH) return 0; // Its entries say more.
    const first = cells[(at >> 1) + feed.QUEUE_FEED_QUEUE_OFFSET]! + from!.skippedAt(at, offset);
    this.#putRun(slot, first, offset, size, words[at + feed.QUEUE_FEED_TAGS_CODE]!, count);
    return count * size;
  }

  #dispatchRecord(bytes: Buffer, at: number, physicalOffset: number, size: number): void {
    const parts = this.#parts;
    parts.locate(bytes, at);
    const transaction = parts.sysFlag & SYS_FLAG_TRANSACTION_MASK;
    if (transaction === SYS_FLAG_PREPARED || transaction === SYS_FLAG_ROLLBACK) {
      if (readInt64(bytes, at + QUEUE_OFFSET_OFFSET) !== 0) this.#order?.addLost(); // These have none: its flags are damaged.
      return;
    }
    const topic = this.#topicOf(bytes, parts.topicStart, parts.topicEnd, parts.queueId);
    if (topic === undefined) {
      this.#order?.addLost(); // Deleted since, or damaged.
      return;
    }
    const slot = topic.slots[parts.queueId]!;
    const queueOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET);
    const tagsCode = this.#tagsCode(bytes, topic);
    const queue = this.#topics.queue(topic, parts.queueId);
    if (queue instanceof BatchConsumeQueue) {
      this.#putBatch(queue, slot, bytes, queueOffset, physicalOffset, size, tagsCode);
      return;
    }
    if (this.#order !== undefined && !this.#fillGap(this.#order, queue, slot, queueOffset)) return;
    const ext = topic.key.equals(SCHEDULE_KEY) ? undefined : this.#ext; // There the code is a time, which must not be lost.
    const unit = ext === undefined ? NO_UNIT : this.#addUnit(ext, topic, queue, slot, bytes, tagsCode);
    this.#put(slot, queueOffset, physicalOffset, size, tagsCode, unit);
    if (this.#further?.begin(bytes, parts) === true && mayDispatch(topic.topic))
      this.#putFurther(this.#further, bytes, physicalOffset, size, tagsCode);
  }

  /**
   * Enters the record in the further queues that it names. Its offsets are what the log writer gave it, unless a client
   * has put them there while this was off: an entry that exists is never replaced, and none is made ahead of the writer.
   * Source: Apache `ConsumeQueue.multiDispatchLmqQueue`.
   */
  #putFurther(further: MultiDispatchScan, bytes: Buffer, physicalOffset: number, size: number, tagsCode: number): void {
    while (further.next()) {
      const topic = this.#topicOf(bytes, further.nameStart, further.nameEnd, 0);
      if (topic === undefined || topic.isBatch === true) continue;
      const slot = topic.slots[0]!;
      const { offset } = further;
      const end = Math.max(this.#grownTo[slot] ?? 0, this.#slots.maxOffset(slot));
      if (offset < end) continue;
      const queue = this.#topics.queue(topic, 0);
      if (this.#order !== undefined) {
        if (!this.#fillGap(this.#order, queue, slot, offset)) continue;
      } else if (offset > end || offset >= this.#slots.appendedOffset(slot)) continue;
      this.#put(slot, offset, physicalOffset, size, tagsCode);
    }
  }

  /** @returns position of the unit */
  #addUnit(
    ext: QueueExtMaker,
    { topic }: TopicSlots,
    queue: ConsumeQueue,
    slot: number,
    bytes: Buffer,
    tagsCode: number,
  ): number {
    const { queueId, storeTimestampAt, propertiesStart, propertiesEnd } = this.#parts;
    const storeTimeMs = readInt64(bytes, storeTimestampAt);
    return ext.add(topic, queueId, slot, queue, tagsCode, storeTimeMs, bytes, propertiesStart, propertiesEnd);
  }

  /** A record that is no batch counts as a batch of one. */
  #putBatch(
    queue: BatchConsumeQueue,
    slot: number,
    bytes: Buffer,
    queueOffset: number,
    physicalOffset: number,
    size: number,
    tagsCode: number,
  ): void {
    const { sysFlag, propertiesStart, propertiesEnd, storeTimestampAt } = this.#parts;
    const isBatch = (sysFlag & SYS_FLAG_INNER_BATCH) !== 0 && this.#scan.find(bytes, propertiesStart, propertiesEnd, INNER_NUM);
    const said = isBatch ? Number(bytes.toString("latin1", this.#scan.start, this.#scan.end)) : 1;
    const count = said >= 1 && said <= BATCH_COUNT_MAX ? said : 1;
    const slots = this.#slots;
    const end = slots.entryCount(slot);
    // A queue without entries: what was before its first record is gone with the start of the log.
    if (this.#order !== undefined && slots.maxOffset(slot) === 0 && (this.#grownTo[slot] ?? 0) === 0)
      slots.setMinOffset(slot, queueOffset);
    const storeTimestamp = readInt64(bytes, storeTimestampAt);
    if (queue.append(end, physicalOffset, size, tagsCode, storeTimestamp, queueOffset, count)) slots.setEntryCount(slot, end + 1);
    this.#grow(slot, queueOffset + count);
  }

  /** @returns false: the record is damaged, its place is another's */
  #fillGap(order: RebuildOrder, queue: ConsumeQueue, slot: number, queueOffset: number): boolean {
    const end = Math.max(this.#grownTo[slot] ?? 0, this.#slots.maxOffset(slot));
    if (!order.takes(slot, queueOffset, end)) return false;
    if (queueOffset <= end) return true;
    // A queue without entries: what was before its first record is gone with the start of the log.
    if (end === 0) this.#slots.setMinOffset(slot, queueOffset);
    this.#tails.write(slot);
    queue.fillBlank(end === 0 ? queue.fileStart(queueOffset) : end, queueOffset);
    queue.close(); // As in #finishPass.
    return true;
  }

  #topicOf(bytes: Buffer, start: number, end: number, queueId: number): TopicSlots | undefined {
    const last = this.#lastTopic;
    const isSame = last !== undefined && last.key.length === end - start && last.key.compare(bytes, start, end) === 0;
    let topic = isSame ? last : this.#topics.get(bytes, start, end);
    if (topic === undefined || queueId >= topic.slots.length) {
      if (!this.#refreshTopics(bytes.toString("utf8", start, end), queueId)) return undefined;
      topic = this.#topics.get(bytes, start, end);
      if (topic === undefined || queueId >= topic.slots.length) return undefined;
    }
    this.#lastTopic = topic;
    return topic;
  }

  /** After a topic was deleted or changed. */
  forgetLastTopic(): void {
    this.#lastTopic = undefined;
  }

  #tagsCode(bytes: Buffer, topic: TopicSlots): number {
    const { propertiesStart, propertiesEnd, storeTimestampAt } = this.#parts;
    if (topic.key.equals(SCHEDULE_KEY) && this.#scan.find(bytes, propertiesStart, propertiesEnd, DELAY)) {
      const level = Number(bytes.toString("latin1", this.#scan.start, this.#scan.end));
      const levels = this.#delayLevelsMs;
      if (level > 0) return readInt64(bytes, storeTimestampAt) + levels[Math.min(level, levels.length) - 1]!;
    }
    if (!this.#scan.find(bytes, propertiesStart, propertiesEnd, TAGS)) return 0;
    return javaHashOfBytes(bytes, this.#scan.start, this.#scan.end);
  }

  /** @param unit position of what the entry points at, or NO_UNIT */
  #put(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number, unit = NO_UNIT): void {
    this.#grow(slot, queueOffset + 1);
    if (this.#tails.put(slot, queueOffset, physicalOffset, size, tagsCode, unit)) return;
    let pending = this.#pending.get(slot);
    if (pending === undefined) {
      pending = new PendingEntries(this.#topics.queueOfSlot(slot)!);
      this.#pending.set(slot, pending);
    }
    writeEntry(this.#entry, 0, physicalOffset, size, tagsCode);
    if (unit >= 0) writeExtAddress(this.#entry, 0, unit);
    pending.add(queueOffset, this.#entry);
  }

  /** Of records that follow each other in the log and are of one size. */
  #putRun(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number, count: number): void {
    let done = count === 1 ? 0 : this.#tails.putRun(slot, queueOffset, physicalOffset, size, tagsCode, count);
    if (done > 0) this.#grow(slot, queueOffset + done);
    for (; done < count; done++) this.#put(slot, queueOffset + done, physicalOffset + done * size, size, tagsCode);
  }

  #grow(slot: number, maxOffset: number): void {
    if (slot >= this.#grownTo.length) {
      const grown = new Float64Array(2 ** Math.ceil(Math.log2(slot + 1)));
      grown.set(this.#grownTo);
      this.#grownTo = grown;
    }
    const known = this.#grownTo[slot]!;
    if (known === 0) this.#grown.push(slot);
    if (maxOffset > known) this.#grownTo[slot] = maxOffset;
  }

  #finishPass(): void {
    this.#feed?.release();
    this.#ext?.flush();
    if (this.#pending.size > 0) {
      for (const pending of this.#pending.values()) {
        pending.write();
        if (this.#order !== undefined) pending.queue.close(); // There may be more of them than descriptors.
      }
      this.#pending.clear();
    }
    const slots = this.#slots;
    slots.order();
    for (const slot of this.#grown) {
      const maxOffset = this.#grownTo[slot]!;
      this.#grownTo[slot] = 0;
      if (maxOffset <= slots.maxOffset(slot)) continue;
      if (slot >= slots.tailsMax || this.#topics.kindOf(slot) === QUEUE_BATCH) slots.setWrittenOffset(slot, maxOffset);
      slots.setMaxOffset(slot, maxOffset);
    }
  }
}

/** Entries of one queue gathered during a pass: of queues without a tail, and such as are in the file already. */
class PendingEntries {
  readonly queue: ConsumeQueue;
  #bytes = Buffer.allocUnsafe(64 * ENTRY_SIZE);
  #size = 0;
  #first = 0;

  constructor(queue: ConsumeQueue) {
    this.queue = queue;
  }

  add(queueOffset: number, entry: Buffer): void {
    if (this.#size > 0 && queueOffset !== this.#first + this.#size / ENTRY_SIZE) this.write();
    if (this.#size === 0) this.#first = queueOffset;
    if (this.#size === this.#bytes.length) {
      const grown = Buffer.allocUnsafe(2 * this.#bytes.length);
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    entry.copy(this.#bytes, this.#size);
    this.#size += ENTRY_SIZE;
  }

  write(): void {
    if (this.#size > 0) this.queue.write(this.#first, this.#bytes, 0, this.#size);
    this.#size = 0;
  }
}
