import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import { isLmq } from "../../format/names.ts";
import { KeyScan } from "../../format/record/key-scan.ts";
import { QUEUE_OFFSET_OFFSET, RECORD_SIZE_MIN, RecordParts, readInt64, recordSizeAt } from "../../format/record/message.ts";
import { MultiDispatchScan } from "../../format/record/multi-dispatch.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { queueDirectory } from "../queue/consume-queue.ts";
import { QueueEntries } from "../queue/queue-entries.ts";
import { StoppedLog } from "./stopped-log.ts";
import type { FindingKind, Findings } from "./verify-findings.ts";
import type { QueueLayout, StoreLayout } from "./verify-layout.ts";
import type { OnVerified } from "./verify-log.ts";
import { hasTagsCode, tagsCodeOf } from "./verify-log-entries.ts";
import { type MarkRanges, Marks } from "./verify-marks.ts";

const REPORT_COUNT = 4096;

export interface VerifiedQueues {
  entryCount: number;
  /** Entries of records that were deleted with their log files. */
  expiredCount: number;
}

/** Checks each entry of the queues [first, end) of the layout: those without a mark against the log. Writes nothing. */
export function verifyQueues(
  drive: Drive,
  layout: StoreLayout,
  marks: MarkRanges,
  first: number,
  end: number,
  findings: Findings,
  onVerified: OnVerified,
): VerifiedQueues {
  const log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
  const check = new QueueCheck(layout, log, findings, onVerified);
  try {
    for (const [i, queue] of layout.queues.slice(first, end).entries()) {
      const entries = new QueueEntries(drive, layout, queue);
      try {
        check.run(queue, entries, new Marks(marks.words, marks.queues[first + i]!));
      } finally {
        entries.close();
      }
    }
  } finally {
    log.close();
  }
  return check.result;
}

interface EntryFault {
  kind: FindingKind;
  text: string;
}

const NO_FAULT: EntryFault = { kind: "queue-entry-record", text: "" };

class QueueCheck {
  readonly #layout: StoreLayout;
  readonly #log: StoppedLog;
  readonly #findings: Findings;
  readonly #onVerified: OnVerified;
  readonly #parts = new RecordParts();
  readonly #scan = new KeyScan();
  readonly #further = new MultiDispatchScan();
  readonly #logStart: number;
  readonly result: VerifiedQueues = { entryCount: 0, expiredCount: 0 };
  #fileCount = 0;
  #fault = NO_FAULT;

  constructor(layout: StoreLayout, log: StoppedLog, findings: Findings, onVerified: OnVerified) {
    this.#layout = layout;
    this.#log = log;
    this.#findings = findings;
    this.#onVerified = onVerified;
    this.#logStart = layout.logFiles[0]?.base ?? 0;
  }

  run(queue: QueueLayout, entries: QueueEntries, marks: Marks): void {
    const { entriesPerFile } = entries;
    /** Where the last entry in order points. */
    let lastPhysicalOffset = -1;
    let holeStart = -1;
    let isAnyWritten = false;
    let next = -1;
    for (const base of queue.bases) {
      const start = base / ENTRY_SIZE;
      if (start !== next) holeStart = -1; // The file between was found missing with the layout.
      next = start + entriesPerFile;
      for (let queueOffset = start; queueOffset < next; queueOffset++) {
        entries.load(queueOffset);
        if (entries.isZero) {
          if (holeStart < 0) holeStart = queueOffset;
          queueOffset = entries.zerosEnd(queueOffset) - 1;
          continue;
        }
        // Before the first entry there may be zeros: the queue was built anew from a log whose start was gone.
        if (holeStart >= 0 && isAnyWritten) this.#addHole(queue, holeStart, queueOffset);
        holeStart = -1;
        if (entries.isBlank && entries.physicalOffset === 0) continue; // Of a record that was deleted, or that is lost.
        isAnyWritten = true;
        this.#checkEntry(queue, entries, queueOffset, lastPhysicalOffset, marks.has(queueOffset));
        if (this.#fault === NO_FAULT) lastPhysicalOffset = entries.physicalOffset;
        if (++this.result.entryCount % REPORT_COUNT === 0) this.#report((queueOffset - start) * ENTRY_SIZE);
      }
      this.#fileCount++;
      this.#report(0);
    }
  }

  #report(bytesInFile: number): void {
    this.#onVerified(this.#fileCount * this.#layout.queueFileSize + bytesInFile, this.result.entryCount);
  }

  #addHole({ topic, queueId }: QueueLayout, first: number, end: number): void {
    const text = `${end - first} entries of ${topic}/${queueId} from queueOffset ${first} on were never written, though later ones were`;
    this.#findings.add({ kind: "queue-hole", text, topic, queueId, queueOffset: first, count: end - first });
  }

  /** Leaves in #fault what is wrong. */
  #checkEntry(
    queue: QueueLayout,
    entries: QueueEntries,
    queueOffset: number,
    lastPhysicalOffset: number,
    isMarked: boolean,
  ): void {
    const { physicalOffset } = entries;
    this.#fault = NO_FAULT;
    const isExpired = physicalOffset >= 0 && physicalOffset < this.#logStart && lastPhysicalOffset < this.#logStart;
    if (isExpired) this.result.expiredCount++;
    else if (!isMarked) this.#fault = this.#targetFault(queue, entries, queueOffset);
    if (this.#fault === NO_FAULT && physicalOffset <= lastPhysicalOffset) {
      this.#fault = { kind: "queue-entry-order", text: `where an entry before it points further, at ${lastPhysicalOffset}` };
    }
    if (this.#fault === NO_FAULT) return;
    const { topic, queueId } = queue;
    const position = queueOffset * ENTRY_SIZE;
    const directory = queueDirectory(this.#layout.consumeQueue, topic, queueId);
    const file = basePath(directory, position - (position % this.#layout.queueFileSize));
    const text = `entry ${queueOffset} of ${topic}/${queueId} points at physicalOffset ${physicalOffset}, ${this.#fault.text}`;
    this.#findings.add({ kind: this.#fault.kind, text, file, physicalOffset, topic, queueId, queueOffset });
  }

  /** What is wrong with the record that the entry points at. */
  #targetFault({ topic, queueId }: QueueLayout, entries: QueueEntries, queueOffset: number): EntryFault {
    const { physicalOffset, size, tagsCode } = entries;
    const log = this.#log;
    if (!log.load(physicalOffset, RECORD_SIZE_MIN)) {
      return { kind: "queue-entry-record", text: "which is outside of the log as it is" };
    }
    const own = log.bytes.readUInt32BE(log.at);
    if (size < RECORD_SIZE_MIN || !log.load(physicalOffset, size) || recordSizeAt(log.bytes, log.at, log.end) !== size) {
      const isWhole =
        own !== size &&
        own >= RECORD_SIZE_MIN &&
        log.load(physicalOffset, own) &&
        recordSizeAt(log.bytes, log.at, log.end) === own;
      if (isWhole) return { kind: "queue-entry-size", text: `at a record of ${own} bytes, not ${size} as the entry says` };
      return { kind: "queue-entry-record", text: `where no whole record of ${size} bytes stands` };
    }
    const { bytes, at } = log;
    const parts = this.#parts;
    parts.locate(bytes, at);
    if (isLmq(topic)) return this.#furtherFault(topic, queueOffset);
    const foundTopic = bytes.toString("utf8", parts.topicStart, parts.topicEnd);
    if (foundTopic !== topic)
      return { kind: "queue-entry-topic", text: `at a record whose topic is ${JSON.stringify(foundTopic)}` };
    if (parts.queueId !== queueId) return { kind: "queue-entry-queue", text: `at a record whose queueId is ${parts.queueId}` };
    const foundOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET);
    if (foundOffset !== queueOffset)
      return { kind: "queue-entry-offset", text: `at a record whose queueOffset is ${foundOffset}` };
    if (!hasTagsCode(topic, tagsCode)) return NO_FAULT;
    this.#scan.scan(bytes, parts.propertiesStart, parts.propertiesEnd);
    const foundCode = tagsCodeOf(bytes, this.#scan);
    if (foundCode === tagsCode) return NO_FAULT;
    return {
      kind: "queue-entry-tags",
      text: `at a record whose tags have code ${foundCode}, not ${tagsCode}: its properties or the entry were changed`,
    };
  }

  /** Of a queue of a further name: the record that is located has to name it, and that offset. */
  #furtherFault(topic: string, queueOffset: number): EntryFault {
    const foundOffset = this.#further.offsetIn(this.#log.bytes, this.#parts, Buffer.from(topic));
    if (foundOffset === queueOffset) return NO_FAULT;
    if (foundOffset < 0) return { kind: "queue-entry-topic", text: "at a record that does not name this queue" };
    return { kind: "queue-entry-offset", text: `at a record whose offset in this queue is ${foundOffset}` };
  }
}
