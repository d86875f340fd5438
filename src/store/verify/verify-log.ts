import { topicNameFault } from "../../format/names.ts";
import {
  bodySizeOffset,
  MAGIC_BLANK,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  QUEUE_OFFSET_OFFSET,
  RECORD_BLANK,
  RECORD_SIZE_MIN,
  RecordParts,
  readInt64,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_NEED_UNWRAP,
  SYS_FLAG_OFFSET,
  SYS_FLAG_PREPARED,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_TRANSACTION_MASK,
} from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { CHECK_RECORD, checkedSize, nextRecord } from "../log/log-scan.ts";
import { propertiesFault, recordFault, sizeOfParts } from "../log/record-fault.ts";
import type { BatchConsumeQueue } from "../queue/batch-consume-queue.ts";
import { QueueEntries } from "../queue/queue-entries.ts";
import { StoppedLog } from "./stopped-log.ts";
import { batchEntryRange, openBatchQueue } from "./verify-batches.ts";
import type { Finding, Findings } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";

/** What was found in one log file. Plain data. */
export interface VerifiedLogFile {
  base: number;
  recordCount: number;
  /** One past its last good record; `base` without any. */
  end: number;
  /** Whether the marker stands behind its last record that says that the log goes on in the next file. */
  isClosed: boolean;
  /** Bytes behind `end` that are no record and not zeros: the torn end of the log, or a fault, if the log goes on. */
  tail: Finding | undefined;
  /** Records whose entries the next start makes, since the last stop was not a clean one. */
  pendingCount: number;
  /** Records of topics that were removed, or removed and made again. */
  removedCount: number;
}

/** Called with how far the work has got, in bytes and in records or entries. */
export type OnVerified = (bytes: number, count: number) => void;

const ZEROS = Buffer.alloc(1_048_576);
const REPORT_COUNT = 4096;
/** Queues of which files are held open at once. */
const OPEN_QUEUES_MAX = 1024;

/** Checks each record of one log file: its own fields, and that its queue has an entry of it. Writes nothing. */
export function verifyLogFile(
  drive: Drive,
  layout: StoreLayout,
  fileIndex: number,
  findings: Findings,
  onVerified: OnVerified,
): VerifiedLogFile {
  const check = new LogFileCheck(drive, layout, fileIndex, findings, onVerified);
  try {
    return check.run();
  } finally {
    check.close();
  }
}

/** Records of one queue without an entry, one after the other: one finding. */
interface MissingEntries {
  topic: string;
  queueId: number;
  first: number;
  last: number;
  physicalOffset: number;
  reason: string;
}

class LogFileCheck {
  readonly #drive: Drive;
  readonly #layout: StoreLayout;
  readonly #findings: Findings;
  readonly #onVerified: OnVerified;
  readonly #log: StoppedLog;
  /** For records looked up meanwhile. */
  readonly #others: StoppedLog;
  readonly #file: string;
  readonly #limit: number;
  readonly #parts = new RecordParts();
  readonly #topics: ReadonlySet<string>;
  readonly #queueNames: ReadonlyMap<string, number>;
  readonly #queues = new Map<string, QueueEntries>();
  readonly #batches = new Map<string, { queue: BatchConsumeQueue; first: number; end: number }>();
  readonly #missing = new Map<string, MissingEntries>();
  readonly #result: VerifiedLogFile;
  #lastTopic = "";
  #lastTopicBytes = Buffer.alloc(0);

  constructor(drive: Drive, layout: StoreLayout, fileIndex: number, findings: Findings, onVerified: OnVerified) {
    const { base } = layout.logFiles[fileIndex]!;
    this.#drive = drive;
    this.#layout = layout;
    this.#findings = findings;
    this.#onVerified = onVerified;
    this.#log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
    this.#others = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
    this.#file = basePath(layout.commitLog, base);
    this.#limit = this.#log.endAt(base);
    this.#topics = new Set(layout.queues.map(({ topic }) => topic));
    this.#queueNames = new Map(layout.queues.map(({ topic, queueId }, i) => [`${topic}/${queueId}`, i]));
    this.#result = { base, recordCount: 0, end: base, isClosed: false, tail: undefined, pendingCount: 0, removedCount: 0 };
  }

  run(): VerifiedLogFile {
    const result = this.#result;
    const log = this.#log;
    const limit = this.#limit;
    for (let offset = result.base; offset < limit; ) {
      const size = checkedSize(log, offset, limit, this.#parts, CHECK_RECORD);
      if (size === RECORD_BLANK) {
        result.isClosed = true;
        break;
      }
      if (size > 0) {
        this.#checkRecord(offset, size);
        offset += size;
        result.end = offset;
        if (++result.recordCount % REPORT_COUNT === 0) this.#onVerified(offset - result.base, result.recordCount);
        continue;
      }
      if (this.#isZeroFrom(offset)) break;
      const finding = this.#damage(offset);
      const next = this.#nextBehind(offset);
      if (next < 0 || this.#isZeroFrom(next)) {
        result.tail = finding;
        break;
      }
      this.#findings.add({ ...finding, text: `${finding.text}; ${next - offset} bytes are passed over` });
      offset = next;
    }
    for (const missing of this.#missing.values()) this.#addMissing(missing);
    return result;
  }

  #damage(offset: number): Finding {
    const { bytes, at, end } = this.#wholeWindow(offset);
    const { kind, text } = recordFault(bytes, at, end, offset);
    return { kind, text: `no record can be read at physicalOffset ${offset}: ${text}`, file: this.#file, physicalOffset: offset };
  }

  /** From the offset on as much as a record there may take, whichever of its sizes is right. */
  #wholeWindow(offset: number): StoppedLog {
    const log = this.#log;
    log.window(offset, this.#limit, 65_536);
    const { bytes, at, end } = log;
    if (end - at < RECORD_SIZE_MIN) return log;
    const bodySize = bytes.readUInt32BE(at + bodySizeOffset(bytes.readInt32BE(at + SYS_FLAG_OFFSET)));
    log.window(offset, this.#limit, Math.max(bytes.readUInt32BE(at), bodySize + 131_072));
    return log;
  }

  /** Where to go on behind bytes that are no good record; -1: nowhere. */
  #nextBehind(offset: number): number {
    const { bytes, at, end } = this.#wholeWindow(offset);
    const sizes = end - at < RECORD_SIZE_MIN ? [] : [bytes.readUInt32BE(at), sizeOfParts(bytes, at, end)];
    // The size it claims, if a record follows there: so two damaged neighbours are two findings.
    for (const size of sizes) if (size >= RECORD_SIZE_MIN && this.#isBoundary(offset + size)) return offset + size;
    return nextRecord(this.#log, offset + 1, this.#limit, this.#parts, CHECK_RECORD);
  }

  #isBoundary(offset: number): boolean {
    if (offset === this.#limit) return true;
    if (offset > this.#limit - 8 || !this.#others.load(offset, 8)) return false;
    const { bytes, at } = this.#others;
    const magic = bytes.readUInt32BE(at + MAGIC_OFFSET);
    if (magic === 0) return this.#isZeroFrom(offset);
    return magic === MAGIC_V1 || magic === MAGIC_V2 || magic === MAGIC_BLANK;
  }

  #isZeroFrom(from: number): boolean {
    for (let offset = from; offset < this.#limit; ) {
      const size = Math.min(ZEROS.length, this.#limit - offset);
      if (!this.#others.load(offset, size)) return false;
      const { bytes, at } = this.#others;
      if (bytes.compare(ZEROS, 0, size, at, at + size) !== 0) return false;
      offset += size;
    }
    return true;
  }

  /** Of a record that is whole in itself; it stands in the log's window. */
  #checkRecord(offset: number, size: number): void {
    const { bytes, at } = this.#log;
    const parts = this.#parts;
    const { queueId, sysFlag } = parts;
    const topic = this.#topicOf(bytes, parts.topicStart, parts.topicEnd);
    const where = { file: this.#file, physicalOffset: offset, topic, queueId };
    const nameFault = topicNameFault(topic);
    const propertyFault = propertiesFault(bytes, parts.propertiesStart, parts.propertiesEnd);
    if (propertyFault !== undefined) {
      const text = `the record at physicalOffset ${offset} of ${topic}/${queueId} is damaged: ${propertyFault}`;
      this.#findings.add({ kind: "record-properties", text, ...where });
    }
    if (nameFault !== undefined) {
      const text = `the record at physicalOffset ${offset} has a topic that cannot be: ${nameFault}`;
      this.#findings.add({ kind: "record-topic", text, ...where });
      return;
    }
    const transaction = sysFlag & SYS_FLAG_TRANSACTION_MASK;
    if (transaction === SYS_FLAG_PREPARED || transaction === SYS_FLAG_ROLLBACK) return;
    if (this.#layout.batchTopics.has(topic)) {
      this.#checkBatchEntry(topic, queueId, readInt64(bytes, at + QUEUE_OFFSET_OFFSET), offset, size);
      return;
    }
    if ((sysFlag & (SYS_FLAG_INNER_BATCH | SYS_FLAG_NEED_UNWRAP)) !== 0) return; // Of a topic that was removed.
    this.#checkEntry(topic, queueId, readInt64(bytes, at + QUEUE_OFFSET_OFFSET), offset, size);
  }

  /** Of a topic whose queues hold whole batches. */
  #checkBatchEntry(topic: string, queueId: number, queueOffset: number, offset: number, size: number): void {
    const name = `${topic}/${queueId}`;
    const layoutQueue = this.#layout.batchQueues.find((queue) => queue.topic === topic && queue.queueId === queueId);
    if (layoutQueue === undefined) {
      this.#miss(topic, queueId, queueOffset, offset, "the queue has no files");
      return;
    }
    let batches = this.#batches.get(name);
    if (batches === undefined) {
      const opened = openBatchQueue(this.#drive, this.#layout, layoutQueue);
      batches = { queue: opened, ...batchEntryRange(opened, layoutQueue) };
      this.#batches.set(name, batches);
    }
    const { queue, first, end } = batches;
    const index = queue.indexOfPhysical(offset, end);
    if (index < end && queue.load(index) && queue.physicalOffset === offset && queue.size === size) return;
    // The queue was made anew by later records.
    if (first < end && queue.load(first) && queue.physicalOffset > offset) this.#result.removedCount++;
    else this.#miss(topic, queueId, queueOffset, offset, "none points at it");
  }

  #topicOf(bytes: Buffer, start: number, end: number): string {
    const last = this.#lastTopicBytes;
    if (last.length === end - start && last.compare(bytes, start, end) === 0) return this.#lastTopic;
    this.#lastTopicBytes = Buffer.from(bytes.subarray(start, end));
    this.#lastTopic = bytes.toString("utf8", start, end);
    return this.#lastTopic;
  }

  #checkEntry(topic: string, queueId: number, queueOffset: number, offset: number, size: number): void {
    const queue = this.#queueOf(topic, queueId);
    if (queue === undefined) {
      const isRemoved = !this.#topics.has(topic) && this.#layout.knownTopics?.has(topic) === false;
      if (isRemoved) this.#result.removedCount++;
      else this.#miss(topic, queueId, queueOffset, offset, "the queue has no files");
      return;
    }
    const isThere = queue.load(queueOffset);
    if (isThere && queue.physicalOffset === offset && queue.size === size) return;
    const reason = !isThere
      ? "the queue's file is missing"
      : queue.isZero
        ? "the entry was never written"
        : `the entry says ${queue.physicalOffset}, size ${queue.size}`;
    if (this.#isOvertaken(queue, topic, queueId, queueOffset, offset)) this.#result.removedCount++;
    else this.#miss(topic, queueId, queueOffset, offset, reason);
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

  #queueOf(topic: string, queueId: number): QueueEntries | undefined {
    const name = `${topic}/${queueId}`;
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const index = this.#queueNames.get(name);
    if (index === undefined) return undefined;
    if (this.#queues.size >= OPEN_QUEUES_MAX) this.#closeQueues();
    const queue = new QueueEntries(this.#drive, this.#layout, this.#layout.queues[index]!);
    this.#queues.set(name, queue);
    return queue;
  }

  #miss(topic: string, queueId: number, queueOffset: number, physicalOffset: number, reason: string): void {
    if (physicalOffset >= this.#layout.pendingFrom) {
      this.#result.pendingCount++;
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

  #closeQueues(): void {
    for (const queue of this.#queues.values()) queue.close();
    this.#queues.clear();
  }

  close(): void {
    this.#closeQueues();
    for (const { queue } of this.#batches.values()) queue.close();
    this.#log.close();
    this.#others.close();
  }
}
