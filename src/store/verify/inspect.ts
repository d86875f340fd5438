import { MillraceError } from "../../base/errors.ts";
import { type DecodedMessage, decodeMessage, RecordParts } from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import { CHECK_RECORD, checkedSize } from "../log/log-scan.ts";
import { recordFault } from "../log/record-fault.ts";
import { QueueEntries } from "../queue/queue-entries.ts";
import { StoppedLog } from "./stopped-log.ts";
import { batchEntryRange, openBatchQueue } from "./verify-batches.ts";
import type { QueueLayout, StoreLayout } from "./verify-layout.ts";

/** A record, or why none can be read there. */
export interface Inspected {
  physicalOffset: number;
  message?: DecodedMessage;
  fault?: string;
  /** Of the queue that was read. */
  queueOffset?: number;
}

/** Reads single records of a store, and says why where one cannot be read. Writes nothing. */
export class StoreInspector {
  readonly #drive: Drive;
  readonly #layout: StoreLayout;
  readonly #log: StoppedLog;

  constructor(drive: Drive, layout: StoreLayout) {
    this.#drive = drive;
    this.#layout = layout;
    this.#log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
  }

  at(physicalOffset: number): Inspected {
    const log = this.#log;
    const end = log.endAt(physicalOffset);
    if (physicalOffset < 0 || physicalOffset >= end) return { physicalOffset, fault: "that is outside of the log as it is" };
    const size = checkedSize(log, physicalOffset, end, new RecordParts(), CHECK_RECORD);
    if (size > 0) {
      return { physicalOffset, message: decodeMessage(Buffer.from(log.bytes.subarray(log.at, log.at + size))) };
    }
    log.window(physicalOffset, end, 131_072);
    return { physicalOffset, fault: recordFault(log.bytes, log.at, log.end, physicalOffset).text };
  }

  /**
   * Up to `count` records of a queue.
   * @param from queueOffset; undefined: the first there is
   * @throws MillraceError MILLRACE_TOPIC_UNKNOWN when the store has no such queue
   */
  *queue(topic: string, queueId: number, from: number | undefined, count: number): Generator<Inspected, void, void> {
    const batches = this.#layout.batchQueues.find((known) => known.topic === topic && known.queueId === queueId);
    if (batches !== undefined) {
      yield* this.#batchQueue(batches, from, count);
      return;
    }
    const queue = this.#layout.queues.find((known) => known.topic === topic && known.queueId === queueId);
    if (queue === undefined) {
      const ids = this.#layout.queues.filter((known) => known.topic === topic).map((known) => known.queueId);
      const text =
        ids.length === 0
          ? `the store has no topic ${topic}`
          : `topic ${topic} has queues ${ids.toSorted((a, b) => a - b).join(", ")}`;
      throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", text, { topic, queueId });
    }
    const entries = new QueueEntries(this.#drive, this.#layout, queue);
    try {
      const first = from ?? this.#firstWritten(entries);
      for (let queueOffset = first, left = count; left > 0 && queueOffset <= entries.last(); queueOffset++) {
        if (!entries.load(queueOffset)) {
          yield { physicalOffset: -1, queueOffset, fault: "the file of this entry is missing" };
        } else if (entries.isZero || entries.isBlank) {
          yield { physicalOffset: -1, queueOffset, fault: "this entry was never written" };
        } else yield { ...this.at(entries.physicalOffset), queueOffset };
        left--;
      }
    } finally {
      entries.close();
    }
  }

  /** Up to `count` records of a queue of whole batches, from the one that holds the message `from` on. */
  *#batchQueue(layout: QueueLayout, from: number | undefined, count: number): Generator<Inspected, void, void> {
    const queue = openBatchQueue(this.#drive, this.#layout, layout);
    try {
      const { first, end } = batchEntryRange(queue, layout);
      const logStart = this.#layout.logFiles[0]?.base ?? 0;
      const start = from === undefined ? queue.indexOfPhysical(logStart, end) : queue.indexOf(from, end);
      for (let index = Math.max(first, start); index < Math.min(end, start + count); index++) {
        if (!queue.load(index)) yield { physicalOffset: -1, queueOffset: -1, fault: "the file of this entry is missing" };
        else yield { ...this.at(queue.physicalOffset), queueOffset: queue.baseOffset };
      }
    } finally {
      queue.close();
    }
  }

  /** Skips what stands before a queue's first entry, and entries whose records were deleted. */
  #firstWritten(entries: QueueEntries): number {
    const logStart = this.#layout.logFiles[0]?.base ?? 0;
    const last = entries.last();
    let queueOffset = entries.bases[0] === undefined ? 0 : entries.bases[0] / 20;
    while (queueOffset < last && entries.load(queueOffset)) {
      if (!entries.isZero && !entries.isBlank && entries.physicalOffset >= logStart) break;
      queueOffset++;
    }
    return queueOffset;
  }

  close(): void {
    this.#log.close();
  }
}
