import { ByteMap } from "../../base/byte-map.ts";
import { innerTopicNameFault } from "../../format/names.ts";
import { KeyScan } from "../../format/record/key-scan.ts";
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
import { StoppedLog } from "./stopped-log.ts";
import type { Finding, Findings } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";
import { LogEntryCheck, type WalkedTopic } from "./verify-log-entries.ts";
import { LogIndexWalk } from "./verify-log-index.ts";
import type { LogPart, VerifiedLogPart } from "./verify-log-parts.ts";
import type { MarkRanges } from "./verify-marks.ts";

/** Called with how far the work has got, in bytes and in records or entries. */
export type OnVerified = (bytes: number, count: number) => void;

const ZEROS = Buffer.alloc(1_048_576);
const REPORT_COUNT = 4096;

/**
 * Checks each record of one part of a log file: its own fields, and that its queue has an entry of it; marks entries
 * of queues and of the key index that are right. Writes nothing.
 */
export function verifyLogPart(
  drive: Drive,
  layout: StoreLayout,
  marks: MarkRanges,
  part: LogPart,
  findings: Findings,
  onVerified: OnVerified,
): VerifiedLogPart {
  const check = new LogPartCheck(drive, layout, marks, part, findings, onVerified);
  try {
    return check.run();
  } finally {
    check.close();
  }
}

/** What the walk knows of a topic, by its name's bytes. */
interface CheckedTopic extends WalkedTopic {
  fault: string | undefined;
  hasBatches: boolean;
}

class LogPartCheck {
  readonly #drive: Drive;
  readonly #layout: StoreLayout;
  readonly #findings: Findings;
  readonly #onVerified: OnVerified;
  readonly #log: StoppedLog;
  /** For bytes looked up meanwhile. */
  readonly #others: StoppedLog;
  readonly #file: string;
  readonly #base: number;
  /** One past the file's last byte. */
  readonly #limit: number;
  readonly #isFirst: boolean;
  readonly #parts = new RecordParts();
  readonly #scan = new KeyScan();
  readonly #topics = new ByteMap<CheckedTopic>();
  readonly #entries: LogEntryCheck;
  readonly #index: LogIndexWalk;
  readonly #result: VerifiedLogPart;

  constructor(drive: Drive, layout: StoreLayout, marks: MarkRanges, part: LogPart, findings: Findings, onVerified: OnVerified) {
    const { base } = layout.logFiles[part.fileIndex]!;
    this.#drive = drive;
    this.#layout = layout;
    this.#findings = findings;
    this.#onVerified = onVerified;
    this.#log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
    this.#others = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
    this.#file = basePath(layout.commitLog, base);
    this.#base = base;
    this.#limit = this.#log.endAt(base);
    this.#isFirst = part.start === base;
    this.#entries = new LogEntryCheck(drive, layout, marks, findings, this.#file, this.#others);
    this.#index = new LogIndexWalk(drive, layout, marks, part.start, part.end);
    this.#result = {
      ...part,
      first: -1,
      next: -1,
      recordCount: 0,
      lastEnd: part.start,
      isClosed: false,
      tail: undefined,
      pendingCount: 0,
      removedCount: 0,
    };
  }

  run(): VerifiedLogPart {
    const result = this.#result;
    const log = this.#log;
    const limit = this.#limit;
    const { start, end } = result;
    result.first = this.#isFirst ? start : this.#firstRecord();
    for (let offset = result.first; offset >= 0 && offset < limit; ) {
      const size = checkedSize(log, offset, limit, this.#parts, CHECK_RECORD);
      if (size === RECORD_BLANK) {
        result.isClosed = true;
        break;
      }
      if (size > 0) {
        if (offset >= end) {
          result.next = offset;
          break;
        }
        this.#checkRecord(offset, size);
        offset += size;
        result.lastEnd = offset;
        if (++result.recordCount % REPORT_COUNT === 0) this.#onVerified(Math.min(offset, end) - start, result.recordCount);
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
    this.#entries.end();
    result.pendingCount = this.#entries.pendingCount;
    result.removedCount = this.#entries.removedCount;
    return result;
  }

  /** The first record of a part that may begin within one; -1: none starts there. */
  #firstRecord(): number {
    const { start, end } = this.#result;
    const from = this.#dataFrom(start);
    if (from >= end) return -1;
    // Behind its size a record has its magic, which may lie in the next part.
    const found = nextRecord(this.#log, from, Math.min(end + 8, this.#limit), this.#parts, CHECK_RECORD);
    return found < end ? found : -1;
  }

  /** Where, from the offset on, there may be other bytes than zeros. */
  #dataFrom(offset: number): number {
    return this.#base + this.#drive.nextData(this.#file, offset - this.#base);
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
      offset = this.#dataFrom(offset + size);
    }
    return true;
  }

  /** Of a record that is whole in itself; it stands in the log's window. */
  #checkRecord(offset: number, size: number): void {
    const { bytes, at } = this.#log;
    const parts = this.#parts;
    const { queueId, sysFlag } = parts;
    const topic = this.#topics.get(bytes, parts.topicStart, parts.topicEnd) ?? this.#addTopic(bytes);
    const { propertiesStart, propertiesEnd } = parts;
    this.#scan.scan(bytes, propertiesStart, propertiesEnd);
    this.#index.check(offset, bytes, parts, this.#scan);
    const propertyFault = this.#scan.isPlain ? undefined : propertiesFault(bytes, propertiesStart, propertiesEnd);
    if (propertyFault !== undefined) {
      const text = `the record at physicalOffset ${offset} of ${topic.name}/${queueId} is damaged: ${propertyFault}`;
      this.#addOfRecord("record-properties", text, offset, topic.name);
    }
    if (topic.fault !== undefined) {
      const text = `the record at physicalOffset ${offset} has a topic that cannot be: ${topic.fault}`;
      this.#addOfRecord("record-topic", text, offset, topic.name);
      return;
    }
    const transaction = sysFlag & SYS_FLAG_TRANSACTION_MASK;
    if (transaction === SYS_FLAG_PREPARED || transaction === SYS_FLAG_ROLLBACK) return;
    const queueOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET);
    if (topic.hasBatches) {
      this.#entries.checkBatch(topic.name, queueId, queueOffset, offset, size);
      return;
    }
    if ((sysFlag & (SYS_FLAG_INNER_BATCH | SYS_FLAG_NEED_UNWRAP)) !== 0) return; // Of a topic that was removed.
    this.#entries.check(topic, queueId, queueOffset, offset, size, bytes, this.#scan);
  }

  #addTopic(bytes: Buffer): CheckedTopic {
    const { topicStart, topicEnd } = this.#parts;
    const name = bytes.toString("utf8", topicStart, topicEnd);
    const hasBatches = this.#layout.batchTopics.has(name);
    const topic = { name, fault: innerTopicNameFault(name), hasBatches, queues: new Map() };
    this.#topics.set(Buffer.from(bytes.subarray(topicStart, topicEnd)), topic);
    return topic;
  }

  #addOfRecord(kind: "record-properties" | "record-topic", text: string, physicalOffset: number, topic: string): void {
    this.#findings.add({ kind, text, file: this.#file, physicalOffset, topic, queueId: this.#parts.queueId });
  }

  close(): void {
    this.#entries.close();
    this.#index.close();
    this.#log.close();
    this.#others.close();
  }
}
