import type { Clock } from "../base/clock.ts";
import { crc32 } from "../base/crc32.ts";
import { MillraceError } from "../base/errors.ts";
import {
  type AppendResult,
  type IndexQueryResult,
  type MessageStore,
  type OutgoingMessage,
  PICK_COUNT_MAX,
  type PickedMessages,
  type QueueEntry,
} from "../broker/message-store.ts";
import { TIMER_TOPIC } from "../broker/topics/system-topics.ts";
import type { EntryFilter } from "../filter/entry-filter.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize, entryTagsCode, isExtAddress } from "../format/files/consume-queue.ts";
import {
  encodeMessage,
  RecordParts,
  readInt64,
  recordSizeAt,
  SYS_FLAG_PREPARED,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_TRANSACTION_MASK,
} from "../format/record/message.ts";
import { encodeProperties, PROPERTIES_SIZE_MAX, PROPERTY } from "../format/record/properties.ts";
import * as shared from "../format/shared/shared-words.ts";
import { WakeRing } from "../ring/wake-ring.ts";
import { KeyIndexReader } from "../store/index/key-index-reader.ts";
import { DedupHash } from "../store/log/dedup-window.ts";
import { FurtherQueues } from "../store/log/further-queues.ts";
import { LogReader } from "../store/log/log-reader.ts";
import { BatchConsumeQueue } from "../store/queue/batch-consume-queue.ts";
import { ConsumeQueue, queueDirectory } from "../store/queue/consume-queue.ts";
import { QueueExtReader } from "../store/queue/queue-ext.ts";
import { QueueReader, READ_ENTRY_MISSING, type ReadLimits } from "../store/queue/queue-reader.ts";
import type { Engine } from "./engine.ts";
import { type AppendOnce, LaneClient } from "./lane-client.ts";

const UNLIMITED: ReadLimits = {
  countInMemory: PICK_COUNT_MAX,
  sizeInMemory: Number.POSITIVE_INFINITY,
  countOnDisk: PICK_COUNT_MAX,
  sizeOnDisk: Number.POSITIVE_INFINITY,
  inMemoryDistance: Number.POSITIVE_INFINITY,
};

/** The store as the control thread (or an embedder) sees it. */
export class EngineStore implements MessageStore {
  readonly #engine: Engine;
  readonly #storeHost: () => string;
  readonly #lane: LaneClient;
  readonly #reader: LogReader;
  readonly #queues = new Map<number, ConsumeQueue>();
  readonly #parts = new RecordParts();
  /** undefined: messages go to their own queues only. */
  readonly #further: FurtherQueues | undefined;
  readonly #dedupHash = new DedupHash();
  /** undefined: the index is off. */
  readonly #index: KeyIndexReader | undefined;
  readonly #picks = new Float64Array(PICK_COUNT_MAX * 3);
  readonly #picker: QueueReader;
  readonly #laneNumber: number;
  /** By slot, of queues that are watched. */
  readonly #watched = new Map<number, { topic: string; queueId: number }>();
  onGrown: (topic: string, queueId: number) => void = () => {};

  /** @param limits of one pick */
  constructor(engine: Engine, lane: number, storeHost: () => string, clock: Clock, limits: ReadLimits = UNLIMITED) {
    this.#engine = engine;
    this.#storeHost = storeHost;
    const { isIndexed, indexSlotCount, indexEntryCount } = engine.init;
    const shape = { slotCount: indexSlotCount, entryCount: indexEntryCount };
    this.#index = isIndexed ? new KeyIndexReader(engine.drive, engine.paths.index, shape) : undefined;
    this.#reader = new LogReader(engine.drive, engine.paths.commitLog, engine.init.logFileSize);
    this.#lane = new LaneClient(engine.init, lane, engine.log, clock);
    if (engine.init.isLmq) {
      this.#further = new FurtherQueues((name) => {
        engine.topics.ensureQueues(name, 1);
        return engine.topics.slotOf(name, 0);
      });
    }
    this.#picker = new QueueReader(this.#reader, limits, this.#picks);
    this.#laneNumber = lane;
    const wakeMemory = engine.init.wakeRings[lane];
    if (wakeMemory !== undefined) {
      const wakeRing = new WakeRing(wakeMemory);
      this.#lane.listen(() => {
        if (wakeRing.drain((slot) => this.#grown(slot))) for (const slot of [...this.#watched.keys()]) this.#grown(slot);
      });
    }
  }

  #grown(slot: number): void {
    const queue = this.#watched.get(slot);
    if (queue === undefined) return;
    this.#watched.delete(slot);
    this.onGrown(queue.topic, queue.queueId);
  }

  watch(topic: string, queueId: number): void {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    if (slot === undefined || this.#watched.has(slot)) return;
    this.#watched.set(slot, { topic, queueId });
    this.#engine.slots.setWaiting(slot, this.#laneNumber);
  }

  pick(topic: string, queueId: number, queueOffset: number, count: number, filter: EntryFilter): PickedMessages {
    const queue = this.#queue(topic, queueId);
    const picked: PickedMessages = { status: READ_ENTRY_MISSING, nextOffset: queueOffset, queueOffsets: [], records: [] };
    if (queue === undefined) return picked;
    this.#reader.invalidate();
    const [picker, picks, wanted] = [this.#picker, this.#picks, Math.min(count, PICK_COUNT_MAX)];
    picked.status = picker.read(
      queue,
      queueOffset,
      this.maxQueueOffset(topic, queueId),
      wanted,
      filter,
      this.maxPhysicalOffset(),
      queue instanceof BatchConsumeQueue ? this.#engine.slots.entryCount(this.#engine.topics.slotOf(topic, queueId)!) : 0,
    );
    picked.nextOffset = picker.nextOffset;
    if (picked.status === READ_ENTRY_MISSING && !(queue instanceof BatchConsumeQueue)) {
      picked.nextOffset = queue.fileStart(queueOffset) + queue.entriesPerFile;
    }
    for (let i = 0; i < picker.pickCount; i++) {
      picked.queueOffsets.push(picks[i * 3]!);
      picked.records.push(picks[i * 3 + 1]!, picks[i * 3 + 2]!);
    }
    return picked;
  }

  get lane(): LaneClient {
    return this.#lane;
  }

  /** The first kept offset of a queue of a compacted topic; set by whoever compacts. */
  compactedFirstOffset: (topic: string, queueId: number) => number | undefined = () => undefined;

  minQueueOffset(topic: string, queueId: number): number {
    const min = this.#minStoredOffset(topic, queueId);
    return Math.min(min, this.compactedFirstOffset(topic, queueId) ?? min);
  }

  #minStoredOffset(topic: string, queueId: number): number {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    return slot === undefined ? 0 : this.#engine.slots.minOffset(slot);
  }

  maxQueueOffset(topic: string, queueId: number): number {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    return slot === undefined ? 0 : this.#engine.slots.maxOffset(slot);
  }

  appendedQueueOffset(topic: string, queueId: number): number {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    return slot === undefined ? 0 : this.#engine.slots.appendedOffset(slot);
  }

  #queue(topic: string, queueId: number): ConsumeQueue | undefined {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    if (slot === undefined) return undefined;
    let queue = this.#queues.get(slot);
    if (queue === undefined) {
      const { drive, paths, init } = this.#engine;
      queue = this.#engine.topics.isBatch(topic)
        ? new BatchConsumeQueue(drive, queueDirectory(paths.batchConsumeQueue, topic, queueId), init.batchQueueFileSize, false)
        : new ConsumeQueue(drive, queueDirectory(paths.consumeQueue, topic, queueId), init.queueFileSize, false, {
            tail: { slots: this.#engine.slots, slot },
          });
      const { queueExtFileSize } = init;
      if (queueExtFileSize > 0 && !(queue instanceof BatchConsumeQueue)) {
        queue.ext = new QueueExtReader(drive, queueDirectory(paths.consumeQueueExt, topic, queueId), queueExtFileSize);
      }
      this.#queues.set(slot, queue);
    }
    return queue;
  }

  queueEntry(topic: string, queueId: number, queueOffset: number): QueueEntry | undefined {
    const queue = this.#queue(topic, queueId);
    if (
      queue === undefined ||
      queueOffset < this.#minStoredOffset(topic, queueId) ||
      queueOffset >= this.maxQueueOffset(topic, queueId)
    ) {
      return undefined;
    }
    if (queue instanceof BatchConsumeQueue) {
      const count = this.#engine.slots.entryCount(this.#engine.topics.slotOf(topic, queueId)!);
      const index = queue.indexOf(queueOffset, count);
      if (index >= count || !queue.load(index)) return undefined;
      const { physicalOffset, size, tagsCode, baseOffset, endOffset } = queue;
      return { physicalOffset, size, tagsCode, baseOffset, endOffset };
    }
    const entry = Buffer.alloc(ENTRY_SIZE);
    if (queue.read(queueOffset, 1, entry) === 0) return undefined;
    let tagsCode = entryTagsCode(entry, 0);
    if (isExtAddress(tagsCode) && queue.ext?.load(entry, 0) === true) tagsCode = queue.ext.tagsCode;
    return { physicalOffset: entryPhysicalOffset(entry, 0), size: entrySize(entry, 0), tagsCode };
  }

  readRecord(physicalOffset: number): Buffer | undefined {
    if (!(physicalOffset >= this.minPhysicalOffset())) return undefined;
    this.#reader.invalidate();
    return this.#reader.record(physicalOffset, this.maxPhysicalOffset());
  }

  storeTimestamp(topic: string, queueId: number, queueOffset: number): number {
    const entry = this.queueEntry(topic, queueId, queueOffset);
    if (entry === undefined) return -1;
    this.#reader.invalidate();
    const limit = this.maxPhysicalOffset();
    if (!this.#reader.window(entry.physicalOffset, limit, entry.size)) return -1;
    const { bytes, at, end } = this.#reader;
    if (recordSizeAt(bytes, at, end) < 0) return -1;
    this.#parts.locate(bytes, at);
    return readInt64(bytes, this.#parts.storeTimestampAt);
  }

  searchOffset(topic: string, queueId: number, timestampMs: number, boundary: "LOWER" | "UPPER"): number {
    const min = this.#minStoredOffset(topic, queueId);
    const max = this.maxQueueOffset(topic, queueId);
    const queue = this.#queue(topic, queueId);
    if (queue instanceof BatchConsumeQueue)
      return min === max ? min : this.#searchBatch(queue, topic, queueId, timestampMs, boundary);
    let low = min;
    let high = max;
    // First entry stored at or after the time (LOWER) or strictly after it (UPPER).
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const stored = this.storeTimestamp(topic, queueId, middle);
      if (boundary === "LOWER" ? stored >= timestampMs : stored > timestampMs) high = middle;
      else low = middle + 1;
    }
    if (boundary === "LOWER") return low;
    return low === min ? 0 : low - 1;
  }

  /** Finds a batch's first message; nothing behind the last batch, whatever the time. Source: Apache `BatchConsumeQueue.getOffsetInQueueByTime`. */
  #searchBatch(
    queue: BatchConsumeQueue,
    topic: string,
    queueId: number,
    timestampMs: number,
    boundary: "LOWER" | "UPPER",
  ): number {
    const last = this.#engine.slots.entryCount(this.#engine.topics.slotOf(topic, queueId)!) - 1;
    const min = this.#minStoredOffset(topic, queueId);
    if (!queue.load(last) || timestampMs >= queue.storeTimestamp) return Math.max(min, queue.baseOffset);
    const isUpper = boundary === "UPPER";
    const index = queue.indexOfTime(timestampMs, last, isUpper) - (isUpper ? 1 : 0);
    return index >= 0 && queue.load(index) ? Math.max(min, queue.baseOffset) : min;
  }

  queryIndex(
    topic: string,
    key: string,
    maxCount: number,
    beginMs: number,
    endMs: number,
    type?: "K" | "U" | "T",
  ): IndexQueryResult {
    return (
      this.#index?.query(topic, key, maxCount, beginMs, endMs, type) ?? {
        physicalOffsets: [],
        lastUpdateTimestampMs: 0,
        lastUpdatePhysicalOffset: 0,
      }
    );
  }

  /** A message for the timer is about to be stored. */
  onTimerMessage: () => void = () => {};

  append(message: OutgoingMessage): Promise<AppendResult> {
    if (message.topic === TIMER_TOPIC) this.onTimerMessage();
    const slot = this.#engine.topics.slotOf(message.topic, message.queueId);
    if (slot === undefined) {
      const { topic, queueId } = message;
      return Promise.reject(
        new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no queue ${queueId} of topic ${topic}`, { topic, queueId }),
      );
    }
    const properties = encodeProperties(message.properties);
    if (Buffer.byteLength(properties) > PROPERTIES_SIZE_MAX) {
      const text = `the properties are larger than ${PROPERTIES_SIZE_MAX} bytes`;
      return Promise.reject(new MillraceError("MILLRACE_MESSAGE_ILLEGAL", text, { topic: message.topic }));
    }
    const bodyCrc = crc32(message.body, 0, message.body.length);
    const record = encodeMessage({ ...message, properties, storeHost: this.#storeHost(), bodyCrc });
    const transaction = message.sysFlag & SYS_FLAG_TRANSACTION_MASK;
    const isWithoutQueue = transaction === SYS_FLAG_PREPARED || transaction === SYS_FLAG_ROLLBACK;
    const isNoWait = message.properties.get(PROPERTY.WAIT) === "false";
    const further = message.properties.has(PROPERTY.MULTI_DISPATCH) ? this.#further?.layOut(record) : undefined;
    return new Promise((resolve, reject) => {
      this.#lane.append(
        further ?? record,
        slot,
        1,
        isWithoutQueue,
        isNoWait,
        (error, result) => {
          if (error === undefined) resolve(result!);
          else reject(error);
        },
        this.#onceOf(message),
        further !== undefined,
      );
    });
  }

  #onceOf({ once, properties }: OutgoingMessage): AppendOnce | undefined {
    const key = properties.get(PROPERTY.UNIQ_KEY);
    const group = once === undefined ? undefined : this.#engine.topics.slotOf(once.topic, 0);
    if (once === undefined || key === undefined || group === undefined) return undefined;
    const bytes = Buffer.from(key);
    this.#dedupHash.of(group, bytes, 0, bytes.length);
    return { windowS: once.windowS, hashLow: this.#dedupHash.low, hashHigh: this.#dedupHash.high };
  }

  minPhysicalOffset(): number {
    return this.#engine.log.offset(shared.MIN_OFFSET);
  }

  maxPhysicalOffset(): number {
    return this.#engine.log.offset(shared.APPENDED_OFFSET);
  }

  dispatchedOffset(): number {
    return this.#engine.log.offset(shared.DISPATCHED_OFFSET);
  }

  flushedOffset(): number {
    return this.#engine.log.offset(shared.FLUSHED_OFFSET);
  }

  ensureQueues(topic: string, queueCount: number, isBatch = false): void {
    this.#engine.topics.ensureQueues(topic, queueCount, isBatch);
  }

  async dropQueues(topic: string): Promise<void> {
    for (let queueId = 0; queueId < this.#engine.topics.queueCount(topic); queueId++) {
      const slot = this.#engine.topics.slotOf(topic, queueId)!;
      this.#queues.get(slot)?.close();
      this.#queues.delete(slot);
    }
    this.#engine.topics.dropQueues(topic);
  }

  /** Closes files that retention has deleted: until then they keep their disk space. */
  forgetDeleted(): void {
    this.#reader.forgetBelow(this.minPhysicalOffset());
    for (const [slot, queue] of this.#queues) queue.forgetBelow(this.#engine.slots.minOffset(slot));
  }

  async close(): Promise<void> {
    await this.#lane.close();
    for (const queue of this.#queues.values()) queue.close();
    this.#reader.close();
    this.#index?.close();
  }
}
