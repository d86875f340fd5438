import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { BLANK_ENTRY_SIZE, ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../format/files/consume-queue.ts";
import type { QueueBounds } from "../../format/files/queue-bounds.ts";
import { isLmq } from "../../format/names.ts";
import { QUEUE_OFFSET_OFFSET, RECORD_SIZE_MIN, RecordParts, readInt64 } from "../../format/record/message.ts";
import { MultiDispatchScan } from "../../format/record/multi-dispatch.ts";
import type { Drive, FileNames } from "../../os/api.ts";
import { basePath, listBases } from "../log/log-files.ts";
import type { LogReader } from "../log/log-reader.ts";
import { isIntact } from "../log/log-scan.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";
import { EntryWindow } from "./entry-window.ts";

/** Entries that a start looks at: some tenths of a second. Beyond, only the ends of queues are looked at. */
const LOOKED_AT_MAX = 25_000_000;

export interface QueueRecoveryOptions {
  drive: Drive;
  consumeQueue: string;
  queueFileSize: number;
  reader: LogReader;
  /** First byte of the log, and one past its last possible one. */
  logStart: number;
  logLimit: number;
  /** Entries of records from here on are not believed: they will be made again. */
  believedEnd: number;
  /** The machine died: what is not believed may be garbage. Otherwise it is right as far as it goes, and stays till then. */
  isCacheLost: boolean;
  /** Whether it is to be said what stands behind the end: entries of records that the log may have lost since. */
  looksBehind: boolean;
  /** What of a record is compared: CHECK_… of log-scan.ts. */
  check: number;
}

/** What a queue's files are good for. */
export interface InspectedQueue {
  topic: string;
  queueId: number;
  /** Entries below are right; what lies beyond is cut off, or will be written again. */
  end: number;
  /** The first entry of a message that the log still has; `end` without any. */
  minOffset: number;
  /** End of the record of the last of them; `logStart` without any. Records from here on may lack their entries. */
  physicalEnd: number;
  /** Entries from `end` to here are written, and this one is not; undefined: nobody has looked. */
  writtenEnd?: number;
  /** What is wrong, in words; undefined: nothing. */
  damage: string | undefined;
}

/** Topics and queues by the names of their directories. */
export function listQueues(names: FileNames, root: string): { topic: string; queueId: number }[] {
  const found: { topic: string; queueId: number }[] = [];
  for (const topic of names.list(root)) {
    for (const name of names.list(path.join(root, topic))) {
      if (/^\d{1,9}$/.test(name)) found.push({ topic, queueId: Number(name) });
    }
  }
  return found;
}

/**
 * Finds out how much of one queue can be believed, and cuts off what was torn when the machine died, and what somebody
 * else has damaged. Nothing is lost by that: entries are made again from the log.
 */
export class QueueRecovery {
  readonly #o: QueueRecoveryOptions;
  readonly #parts = new RecordParts();
  readonly #further = new MultiDispatchScan();
  readonly #window = new EntryWindow();
  #lookedAt = 0;

  constructor(options: QueueRecoveryOptions) {
    this.#o = options;
  }

  /**
   * Files that were written since they were last known are read through.
   * @param known what is known of the queue from before
   */
  inspect(topic: string, queueId: number, known: QueueBounds | undefined): InspectedQueue {
    const { drive, consumeQueue, queueFileSize, logStart, believedEnd, looksBehind } = this.#o;
    const directory = queueDirectory(consumeQueue, topic, queueId);
    const { starts, damage } = this.#mendFiles(directory);
    const queue = new ConsumeQueue(drive, directory, queueFileSize, false, { isMapped: false });
    this.#window.show(queue);
    try {
      const first = starts[0] ?? 0;
      let reason = damage;
      // The front is missing though the log still has its records: there is nothing to build on.
      if (known !== undefined && starts.length > 0 && first > known.minOffset && known.minOffset < known.maxOffset) {
        queue.close();
        cutQueue(drive, directory, queueFileSize, 0);
        const text = `its entries before ${first} are missing`;
        return { topic, queueId, end: 0, minOffset: 0, physicalEnd: logStart, damage: text };
      }
      let end = this.#endFrom(known?.maxOffset ?? 0, first) ?? queue.endBelow(believedEnd, starts);
      // An older version left zeros before a queue's first message.
      const zerosEnd = damage === undefined ? (known?.minOffset ?? end) : 0;
      const wrong = this.#firstWrong(this.#unknownStart(directory, starts, known), end, zerosEnd);
      if (wrong < end) {
        reason ??= `its entry ${wrong} is none`;
        end = wrong;
      }
      const believed = this.#lastRight(first, end, queueId, topic);
      if (believed < end) reason ??= `its entry ${end - 1} does not point at its message`;
      // Without one that is right its number means nothing either, unless it is known that the queue got so far.
      end = believed > first || known?.maxOffset === first ? believed : 0;
      if (known !== undefined && known.maxOffset > end) reason ??= `it ends at ${end}, but ended at ${known.maxOffset}`;
      const physicalEnd = end > first ? Math.max(logStart, this.#physicalEnd(first, end)) : logStart;
      const writtenEnd = looksBehind && reason === undefined ? this.#writtenEnd(end) : undefined;
      const minOffset = this.#minOffset(queue, Math.min(first, end), end);
      if (reason !== undefined || this.#o.isCacheLost) {
        queue.close();
        cutQueue(drive, directory, queueFileSize, end);
      }
      const found = { topic, queueId, end, minOffset, physicalEnd, damage: reason };
      return writtenEnd === undefined ? found : { ...found, writtenEnd };
    } finally {
      queue.close();
    }
  }

  /** Files of a wrong size become whole, zeros where nothing is; files behind a gap go. @returns those that are left, and what was wrong */
  #mendFiles(directory: string): { starts: number[]; damage: string | undefined } {
    const { drive, queueFileSize } = this.#o;
    const { names } = drive;
    const starts: number[] = [];
    let damage: string | undefined;
    let next = -1;
    for (const name of names.list(directory).filter((file) => /^\d{20}$/.test(file))) {
      const file = path.join(directory, name);
      const base = Number(name);
      const size = names.size(file);
      if (size > queueFileSize || base % queueFileSize !== 0) {
        const text = `${file} has ${size} bytes, but the configured file size is ${queueFileSize}`;
        throw new MillraceError("MILLRACE_STORE_CORRUPT", text, { file, size, queueFileSize });
      }
      if (next >= 0 && base !== next) {
        damage ??= `a file is missing before ${name}`;
        names.remove(file);
        continue;
      }
      if (size < queueFileSize) {
        damage ??= `${name} has ${size} bytes`;
        names.resize(file, size - (size % ENTRY_SIZE)); // Half an entry is none.
        names.resize(file, queueFileSize);
      }
      next = base + queueFileSize;
      starts.push(base / ENTRY_SIZE);
    }
    return { starts, damage };
  }

  /**
   * One past the last entry of a message that ends at or below believedEnd, where that is at or behind the known end, as
   * it is for a killed store: a few entries in a row instead of a bisection. undefined: it is not there.
   */
  #endFrom(knownEnd: number, first: number): number | undefined {
    if (knownEnd <= first || !this.#isBelieved(this.#window.at(knownEnd - 1))) return undefined;
    let end = knownEnd;
    for (let next = end; ; next++) {
      const at = this.#window.at(next);
      if (this.#isBelieved(at)) end = next + 1;
      else if (at < 0 || !this.#window.isBlank(at)) return end;
    }
  }

  /** Whether the entry there is that of a message that ends at or below believedEnd. */
  #isBelieved(at: number): boolean {
    if (at < 0) return false;
    const size = this.#window.size(at);
    const physicalOffset = this.#window.physicalOffset(at);
    return size > 0 && size !== BLANK_ENTRY_SIZE && physicalOffset >= 0 && physicalOffset + size <= this.#o.believedEnd;
  }

  #writtenEnd(end: number): number {
    for (let next = end; ; next++) {
      const at = this.#window.at(next);
      if (at < 0 || this.#window.isZero(at)) return next;
    }
  }

  /** First entry that has to be looked at: the files before it have not been written since they were last known. */
  #unknownStart(directory: string, starts: readonly number[], known: QueueBounds | undefined): number {
    const { names } = this.#o.drive;
    for (const start of starts) {
      const base = start * ENTRY_SIZE;
      const modifiedMs = known?.files.find((file) => file.base === base)?.modifiedMs;
      if (modifiedMs === undefined || names.modifiedMs(basePath(directory, base)) !== modifiedMs) return start;
    }
    return Number.MAX_SAFE_INTEGER;
  }

  /** The first of [from, end) that cannot be an entry: it is out of order, or points outside of the log. */
  #firstWrong(from: number, end: number, zerosEnd: number): number {
    const window = this.#window;
    let physicalEnd = 0;
    let isAnyWritten = false;
    for (let next = from; next < end && this.#lookedAt < LOOKED_AT_MAX; ) {
      let at = window.at(next);
      if (at < 0) return next;
      const count = Math.min(window.countFrom(next), end - next);
      for (let i = 0; i < count; i++, at += ENTRY_SIZE) {
        const size = window.size(at);
        const physicalOffset = window.physicalOffset(at);
        if (size === BLANK_ENTRY_SIZE && physicalOffset === 0) continue;
        if (size === 0 && physicalOffset === 0 && !isAnyWritten && next + i < zerosEnd) continue;
        if (size < RECORD_SIZE_MIN || physicalOffset < physicalEnd || physicalOffset + size > this.#o.logLimit) return next + i;
        isAnyWritten = true;
        // Those that follow in order need no further look but the last one, which the next round gives.
        const skipped = Math.max(0, window.runLength(at, count - i) - 2);
        if (skipped > 0 && this.#endsInLog(at + skipped * ENTRY_SIZE)) {
          i += skipped;
          at += skipped * ENTRY_SIZE;
        }
        physicalEnd = window.physicalOffset(at) + window.size(at);
      }
      next += count;
      this.#lookedAt += count;
    }
    return end;
  }

  #endsInLog(at: number): boolean {
    return this.#window.physicalOffset(at) + this.#window.size(at) <= this.#o.logLimit;
  }

  /** One past the last entry below `end` that points at its own message (or at one that was deleted); `first` without any. */
  #lastRight(first: number, end: number, queueId: number, topic: string): number {
    let believed = end;
    for (let queueOffset = end - 1; queueOffset >= first; queueOffset--) {
      const at = this.#window.at(queueOffset);
      if (at < 0 || this.#window.isBlank(at)) continue;
      if (this.#isRight(this.#window.physicalOffset(at), this.#window.size(at), queueOffset, queueId, topic)) return believed;
      believed = queueOffset;
    }
    return believed === end ? end : first;
  }

  #isRight(physicalOffset: number, size: number, queueOffset: number, queueId: number, topic: string): boolean {
    const { reader, logStart, believedEnd, check } = this.#o;
    if (size < RECORD_SIZE_MIN || physicalOffset < 0 || physicalOffset + size > believedEnd) return false;
    if (physicalOffset + size <= logStart) return true; // Deleted with its log file.
    const record = physicalOffset < logStart ? undefined : reader.record(physicalOffset, physicalOffset + size);
    if (record?.length !== size) return false;
    const parts = this.#parts;
    parts.locate(record, 0);
    if (!isIntact(record, 0, parts, check)) return false;
    if (isLmq(topic)) return queueId === 0 && this.#further.offsetIn(record, parts, Buffer.from(topic)) === queueOffset;
    if (readInt64(record, QUEUE_OFFSET_OFFSET) !== queueOffset || parts.queueId !== queueId) return false;
    return record.toString("utf8", parts.topicStart, parts.topicEnd) === topic;
  }

  #physicalEnd(first: number, end: number): number {
    const window = this.#window;
    for (let queueOffset = end - 1; queueOffset >= first; queueOffset--) {
      const at = window.at(queueOffset);
      if (at < 0 || window.size(at) === BLANK_ENTRY_SIZE) continue;
      const physicalEnd = window.physicalOffset(at) + window.size(at);
      if (physicalEnd > 0) return physicalEnd;
    }
    return 0;
  }

  #minOffset(queue: ConsumeQueue, first: number, end: number): number {
    const { logStart } = this.#o;
    const entry = Buffer.alloc(ENTRY_SIZE);
    /** The next entry in [from, limit) that has a message; those that have none do not tell how old they are. */
    const messageFrom = (from: number, limit: number): number => {
      let next = from;
      while (next < limit && queue.read(next, 1, entry) > 0 && [0, BLANK_ENTRY_SIZE].includes(entrySize(entry, 0))) next++;
      return next;
    };
    let low = first;
    // Most often nothing of it has been deleted.
    const isFirstKept = messageFrom(first, end) === first && entryPhysicalOffset(entry, 0) + entrySize(entry, 0) > logStart;
    for (let high = isFirstKept ? first : end; low < high; ) {
      const middle = Math.floor((low + high) / 2);
      const probe = messageFrom(middle, high);
      if (probe < high && entryPhysicalOffset(entry, 0) + entrySize(entry, 0) <= logStart) low = probe + 1;
      else high = middle;
    }
    return messageFrom(low, end);
  }
}

/** Empties a queue from `end` on. Nobody may have its files open. */
export function cutQueue({ names }: Drive, directory: string, queueFileSize: number, end: number): void {
  const starts = listBases(names, directory, queueFileSize).map((base) => base / ENTRY_SIZE);
  for (const start of starts) {
    const file = basePath(directory, start * ENTRY_SIZE);
    const position = (end - start) * ENTRY_SIZE;
    if (position >= queueFileSize) continue;
    if (position > 0 || (start === starts[0] && end > 0)) {
      names.resize(file, Math.max(0, position));
      names.resize(file, queueFileSize);
    } else names.remove(file);
  }
}
