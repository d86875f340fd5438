import path from "node:path";
import { entryPhysicalOffset, entrySize } from "../../format/files/consume-queue.ts";
import type { QueueBounds } from "../../format/files/queue-bounds.ts";
import { QUEUE_OFFSET_OFFSET, RECORD_SIZE_MIN, RecordParts, readInt64 } from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import type { LogReader } from "../log/log-reader.ts";
import { BatchConsumeQueue } from "./batch-consume-queue.ts";
import { queueDirectory } from "./consume-queue.ts";
import type { InspectedQueue } from "./queue-recovery.ts";

export interface BatchQueueRecoveryOptions {
  drive: Drive;
  batchConsumeQueue: string;
  batchQueueFileSize: number;
  reader: LogReader;
  /** As for other queues (QueueRecoveryOptions). */
  logStart: number;
  logLimit: number;
  believedEnd: number;
}

export interface InspectedBatchQueue extends InspectedQueue {
  /** Entries that are right; `end` and minOffset count messages. */
  entryCount: number;
  minOffset: number;
}

/**
 * Finds out how much of one queue of whole batches can be believed, and cuts off the rest. Entries are few, so that a queue
 * with anything wrong in it is emptied and made again from the log.
 */
export class BatchQueueRecovery {
  readonly #o: BatchQueueRecoveryOptions;
  readonly #parts = new RecordParts();

  constructor(options: BatchQueueRecoveryOptions) {
    this.#o = options;
  }

  /** @param known what is known of the queue from before */
  inspect(topic: string, queueId: number, known: QueueBounds | undefined): InspectedBatchQueue {
    const { drive, batchConsumeQueue, batchQueueFileSize, logStart, believedEnd } = this.#o;
    const directory = queueDirectory(batchConsumeQueue, topic, queueId);
    const nothing = { topic, queueId, end: 0, minOffset: 0, entryCount: 0, physicalEnd: logStart };
    const fault = this.#fileFault(directory);
    if (fault !== undefined) {
      drive.names.removeTree(directory);
      return { ...nothing, damage: fault };
    }
    const queue = new BatchConsumeQueue(drive, directory, batchQueueFileSize, false, false);
    try {
      const starts = queue.fileStarts();
      const first = starts[0] ?? 0;
      const end = starts.length === 0 ? 0 : queue.endBelow(believedEnd);
      const wrong = this.#firstWrong(queue, first, end, topic, queueId);
      if (wrong !== undefined) {
        queue.close();
        drive.names.removeTree(directory);
        return { ...nothing, damage: wrong };
      }
      this.#cut(queue, directory, starts, end);
      const isEmpty = end === first || !queue.load(end - 1);
      const maxOffset = isEmpty ? 0 : queue.endOffset;
      const physicalEnd = isEmpty ? logStart : Math.max(logStart, queue.physicalOffset + queue.size);
      const minOffset = this.#minOffset(queue, first, end, maxOffset);
      const damage =
        known !== undefined && known.maxOffset > maxOffset
          ? `it ends at ${maxOffset}, but ended at ${known.maxOffset}`
          : undefined;
      return { topic, queueId, end: maxOffset, minOffset, entryCount: isEmpty ? 0 : end, physicalEnd, damage };
    } finally {
      queue.close();
    }
  }

  #fileFault(directory: string): string | undefined {
    const { drive, batchQueueFileSize } = this.#o;
    const { names } = drive;
    let next = -1;
    for (const name of names.list(directory).filter((file) => /^\d{20}$/.test(file))) {
      const size = names.size(path.join(directory, name));
      if (size !== batchQueueFileSize) return `${name} has ${size} bytes`;
      if (next >= 0 && Number(name) !== next) return `a file is missing before ${name}`;
      next = Number(name) + batchQueueFileSize;
    }
    return undefined;
  }

  /** Entries follow one another in the log and in offsets, and the last one points at its own record. */
  #firstWrong(queue: BatchConsumeQueue, first: number, end: number, topic: string, queueId: number): string | undefined {
    const { logLimit } = this.#o;
    let physicalEnd = 0;
    let endOffset = -1;
    for (let index = first; index < end; index++) {
      if (!queue.load(index)) return `its entry ${index} cannot be read`;
      const { physicalOffset, size, baseOffset } = queue;
      const isInOrder = physicalOffset >= physicalEnd && physicalOffset + size <= logLimit && size >= RECORD_SIZE_MIN;
      if (!isInOrder || baseOffset < endOffset || queue.endOffset <= baseOffset) return `its entry ${index} is none`;
      physicalEnd = physicalOffset + size;
      endOffset = queue.endOffset;
    }
    return end > first && !this.#isRight(queue, topic, queueId) ? `its entry ${end - 1} does not point at its record` : undefined;
  }

  /** Of the entry last loaded. */
  #isRight({ physicalOffset, size, baseOffset }: BatchConsumeQueue, topic: string, queueId: number): boolean {
    const { reader, logStart } = this.#o;
    if (physicalOffset + size <= logStart) return true; // Deleted with its log file.
    const record = physicalOffset < logStart ? undefined : reader.record(physicalOffset, physicalOffset + size);
    if (record?.length !== size || readInt64(record, QUEUE_OFFSET_OFFSET) !== baseOffset) return false;
    const parts = this.#parts;
    parts.locate(record, 0);
    return parts.queueId === queueId && record.toString("utf8", parts.topicStart, parts.topicEnd) === topic;
  }

  #minOffset(queue: BatchConsumeQueue, first: number, end: number, maxOffset: number): number {
    const { logStart } = this.#o;
    let low = first;
    for (let high = end; low < high; ) {
      const middle = Math.floor((low + high) / 2);
      if (queue.load(middle) && queue.physicalOffset + queue.size > logStart) high = middle;
      else low = middle + 1;
    }
    return low < end && queue.load(low) ? queue.baseOffset : maxOffset;
  }

  /** Empties the queue from the entry `end` on. */
  #cut(queue: BatchConsumeQueue, directory: string, starts: readonly number[], end: number): void {
    const { drive, batchQueueFileSize } = this.#o;
    const { names } = drive;
    const entry = Buffer.alloc(queue.entrySize);
    if (queue.read(end, 1, entry) === 0) return;
    if (entryPhysicalOffset(entry, 0) === 0 && entrySize(entry, 0) === 0) return;
    queue.close();
    for (const start of starts) {
      const file = basePath(directory, start * queue.entrySize);
      const position = (end - start) * queue.entrySize;
      if (position >= batchQueueFileSize) continue;
      if (position > 0 || start === starts[0]) {
        names.resize(file, Math.max(0, position));
        names.resize(file, batchQueueFileSize);
      } else names.remove(file);
    }
  }
}
