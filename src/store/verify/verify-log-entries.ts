import { javaHashOfBytes } from "../../base/java-hash.ts";
import { isExtAddress } from "../../format/files/consume-queue.ts";
import { SCHEDULE_TOPIC } from "../../format/names.ts";
import type { KeyScan } from "../../format/record/key-scan.ts";
import { QUEUE_OFFSET_OFFSET, RecordParts, readInt64 } from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import type { BatchConsumeQueue } from "../queue/batch-consume-queue.ts";
import { QueueEntries } from "../queue/queue-entries.ts";
import type { StoppedLog } from "./stopped-log.ts";
import { batchEntryRange, openBatchQueue } from "./verify-batches.ts";
import type { Findings } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";
import { type MarkRanges, Marks } from "./verify-marks.ts";

/** Queues of which a block of entries is held at once, 5 KiB each. */
const OPEN_QUEUES_MAX = 8192;

/** Records of one queue without an entry, one after the other: one finding. */
interface MissingEntries {
  topic: string;
  queueId: number;
  first: number;
  last: number;
  physicalOffset: number;
  reason: string;
}

interface OpenQueue {
  entries: QueueEntries;
  marks: Marks;
}

/** What a walk over the log keeps of a topic. */
export interface WalkedTopic {
  name: string;
  /** Undefined in the map: the queue has no files. */
  queues: Map<number, OpenQueue | undefined>;
}

/** Code of the tags that the scan found. */
export function tagsCodeOf(bytes: Buffer, { tagsStart, tagsEnd }: KeyScan): number {
  return tagsStart < 0 ? 0 : javaHashOfBytes(bytes, tagsStart, tagsEnd);
}

/**
 * Whether an entry has to hold the code of its record's tags. Where that stands elsewhere, nothing depends on it: a
 * consumer that misses it looks at the message. Those of delayed messages are times of delivery, which depend on the
 * broker's delay levels.
 */
export function hasTagsCode(topic: string, tagsCode: number): boolean {
  return !isExtAddress(tagsCode) && topic !== SCHEDULE_TOPIC;
}

/** Whether the records of a walk over the log have their queue entries; marks those that are right. */
export class LogEntryCheck {
  readonly #drive: Drive;
  readonly #layout: StoreLayout;
  readonly #marks: MarkRanges;
  readonly #findings: Findings;
  readonly #file: string;
  /** For records looked up meanwhile. */
  readonly #others: StoppedLog;
  readonly #topics: ReadonlySet<string>;
  readonly #queueNames: ReadonlyMap<string, number>;
  readonly #open: { topic: WalkedTopic; queueId: number; queue: OpenQueue }[] = [];
  readonly #batches = new Map<string, { queue: BatchConsumeQueue; first: number; end: number }>();
  readonly #missing = new Map<string, MissingEntries>();
  pendingCount = 0;
  removedCount = 0;

  constructor(drive: Drive, layout: StoreLayout, marks: MarkRanges, findings: Findings, file: string, others: StoppedLog) {
    this.#drive = drive;
    this.#layout = layout;
    this.#marks = marks;
    this.#findings = findings;
    this.#file = file;
    this.#others = others;
    this.#topics = new Set(layout.queues.map(({ topic }) => topic));
    this.#queueNames = new Map(layout.queues.map(({ topic, queueId }, i) => [`${topic}/${queueId}`, i]));
  }

  /** Of a record of a plain queue. @param scan of its properties */
  check(
    topic: WalkedTopic,
    queueId: number,
    queueOffset: number,
    offset: number,
    size: number,
    bytes: Buffer,
    scan: KeyScan,
  ): void {
    const queue = topic.queues.get(queueId) ?? this.#openQueue(topic, queueId);
    if (queue === undefined) {
      const isRemoved = !this.#topics.has(topic.name) && this.#layout.knownTopics?.has(topic.name) === false;
      if (isRemoved) this.removedCount++;
      else this.#miss(topic.name, queueId, queueOffset, offset, "the queue has no files");
      return;
    }
    const { entries } = queue;
    const isThere = entries.load(queueOffset);
    if (isThere && entries.physicalOffset === offset && entries.size === size) {
      if (entries.tagsCode === tagsCodeOf(bytes, scan) || !hasTagsCode(topic.name, entries.tagsCode))
        queue.marks.set(queueOffset);
      return;
    }
    const reason = !isThere
      ? "the queue's file is missing"
      : entries.isZero
        ? "the entry was never written"
        : `the entry says ${entries.physicalOffset}, size ${entries.size}`;
    if (this.#isOvertaken(entries, topic.name, queueId, queueOffset, offset)) this.removedCount++;
    else this.#miss(topic.name, queueId, queueOffset, offset, reason);
  }

  /** Of a topic whose queues hold whole batches. */
  checkBatch(topic: string, queueId: number, queueOffset: number, offset: number, size: number): void {
    const name = `${topic}/${queueId}`;
    let batches = this.#batches.get(name);
    if (batches === undefined) {
      const layoutQueue = this.#layout.batchQueues.find((queue) => queue.topic === topic && queue.queueId === queueId);
      if (layoutQueue === undefined) {
        this.#miss(topic, queueId, queueOffset, offset, "the queue has no files");
        return;
      }
      const opened = openBatchQueue(this.#drive, this.#layout, layoutQueue);
      batches = { queue: opened, ...batchEntryRange(opened, layoutQueue) };
      this.#batches.set(name, batches);
    }
    const { queue, first, end } = batches;
    const index = queue.indexOfPhysical(offset, end);
    if (index < end && queue.load(index) && queue.physicalOffset === offset && queue.size === size) return;
    // The queue was made anew by later records.
    if (first < end && queue.load(first) && queue.physicalOffset > offset) this.removedCount++;
    else this.#miss(topic, queueId, queueOffset, offset, "none points at it");
  }

  /**
   * Whether the queue was removed, and made anew by later records: all its entries point further on, and the one of
   * the same number, or else the last, at a whole record of that number.
   */
  #isOvertaken(queue: QueueEntries, topic: string, queueId: number, queueOffset: number, offset: number): boolean {
    if (!queue.load(queue.first()) || queue.physicalOffset <= offset) return false;
    const candidate = Math.min(queueOffset, queue.last());
    if (candidate < 0 || !queue.load(candidate) || queue.isZero || queue.isBlank || queue.physicalOffset <= offset) return false;
    const record = this.#others.record(queue.physicalOffset, this.#others.endAt(queue.physicalOffset));
    if (record === undefined || readInt64(record, QUEUE_OFFSET_OFFSET) !== candidate) return false;
    const parts = new RecordParts();
    parts.locate(record, 0);
    return parts.queueId === queueId && record.toString("utf8", parts.topicStart, parts.topicEnd) === topic;
  }

  #openQueue(topic: WalkedTopic, queueId: number): OpenQueue | undefined {
    if (topic.queues.has(queueId)) return undefined;
    const index = this.#queueNames.get(`${topic.name}/${queueId}`);
    if (index === undefined) {
      topic.queues.set(queueId, undefined);
      return undefined;
    }
    if (this.#open.length >= OPEN_QUEUES_MAX) this.#closeQueues();
    const entries = new QueueEntries(this.#drive, this.#layout, this.#layout.queues[index]!);
    const queue = { entries, marks: new Marks(this.#marks.words, this.#marks.queues[index]!) };
    topic.queues.set(queueId, queue);
    this.#open.push({ topic, queueId, queue });
    return queue;
  }

  #miss(topic: string, queueId: number, queueOffset: number, physicalOffset: number, reason: string): void {
    if (physicalOffset >= this.#layout.pendingFrom) {
      this.pendingCount++;
      return;
    }
    const name = `${topic}/${queueId}`;
    const missing = this.#missing.get(name);
    if (missing?.last === queueOffset - 1) {
      missing.last = queueOffset;
      return;
    }
    if (missing !== undefined) this.#addMissing(missing);
    this.#missing.set(name, { topic, queueId, first: queueOffset, last: queueOffset, physicalOffset, reason });
  }

  #addMissing({ topic, queueId, first, last, physicalOffset, reason }: MissingEntries): void {
    const count = last - first + 1;
    const who =
      count === 1
        ? `the record at physicalOffset ${physicalOffset}, queueOffset ${first} of ${topic}/${queueId}, has`
        : `${count} records from physicalOffset ${physicalOffset} on, queueOffset ${first} to ${last} of ${topic}/${queueId}, have`;
    const text = `${who} no entry in the queue: ${reason}`;
    const where = { file: this.#file, physicalOffset, topic, queueId, queueOffset: first };
    this.#findings.add({ kind: "record-without-entry", text, ...where, ...(count === 1 ? {} : { count }) });
  }

  /** Behind the last record: finds fault with what is missing. */
  end(): void {
    for (const missing of this.#missing.values()) this.#addMissing(missing);
  }

  #closeQueues(): void {
    for (const { topic, queueId, queue } of this.#open) {
      queue.entries.close();
      queue.marks.flush();
      topic.queues.delete(queueId);
    }
    this.#open.length = 0;
  }

  close(): void {
    this.#closeQueues();
    for (const { queue } of this.#batches.values()) queue.close();
  }
}
