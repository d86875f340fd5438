import path from "node:path";
import { BLANK_ENTRY_SIZE, ENTRY_SIZE, entryPhysicalOffset, entrySize, writeEntry } from "../../format/files/consume-queue.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath, listBases } from "../log/log-files.ts";
import type { QueueExtReader } from "./queue-ext.ts";
import type { QueueSlots } from "./queue-slots.ts";

/** A file is mapped by its reader at the nth look into it: for a few, reads are cheaper. */
const LOOKS_BEFORE_MAPPING = 16;
/** Files of queues that one thread maps at most. A process has 65,530 mappings, and each weighs on the garbage collector. */
const MAPPED_MAX = 256;
let mappedCount = 0;

/** Where the queue's files lie. Names were validated when the topic was made. */
export function queueDirectory(root: string, topic: string, queueId: number): string {
  return path.join(root, topic, String(queueId));
}

/** Those whose names and contents a new queue changes: its own, its topic's, and that of all queues. */
export function directoriesOf(queue: string): string[] {
  const topic = path.dirname(queue);
  return [queue, topic, path.dirname(topic)];
}

export interface ConsumeQueueOptions {
  /** Bytes. */
  entrySize?: number;
  /** false: never mapped. Else files that are looked at often are, where the drive can. */
  isMapped?: boolean;
  /** Where a running queue indexer has the newest entries; undefined: all are in files. */
  tail?: { slots: QueueSlots; slot: number } | undefined;
}

/**
 * One queue's files of entries of equal size, by index; in a plain queue (20 bytes an entry) the index is the
 * queueOffset. A thread opens its own instance; only the queue indexer (or recovery, while nothing else runs) writes.
 * Files are made sparse and written by calls: a full disk is an error, and a new queue costs next to nothing.
 */
export class ConsumeQueue {
  readonly directory: string;
  readonly entrySize: number;
  /** Reads what its entries point at; undefined: nobody asked for that. */
  ext: QueueExtReader | undefined;
  readonly #drive: Drive;
  readonly #fileSize: number;
  readonly #writable: boolean;
  readonly #mayMap: boolean;
  readonly #tail: ConsumeQueueOptions["tail"];
  readonly #files = new Map<number, StoreFile>();
  #lastBase = -1;
  #last: StoreFile | undefined;
  #looks = 0;

  constructor(drive: Drive, directory: string, fileSize: number, writable: boolean, options: ConsumeQueueOptions = {}) {
    const { entrySize = ENTRY_SIZE, isMapped = true, tail } = options;
    this.#drive = drive;
    this.directory = directory;
    this.entrySize = entrySize;
    this.#fileSize = fileSize;
    this.#writable = writable;
    this.#mayMap = isMapped && !writable && drive.name === "ffi";
    this.#tail = tail;
  }

  get entriesPerFile(): number {
    return this.#fileSize / this.entrySize;
  }

  /** The file that holds byte `position` of the queue; created when writable. */
  #file(position: number): StoreFile | undefined {
    const base = position - (position % this.#fileSize);
    if (base === this.#lastBase) return this.#last;
    let file = this.#files.get(base);
    if (file === undefined) {
      const { names } = this.#drive;
      const name = basePath(this.directory, base);
      if (!this.#writable && !names.exists(name)) return undefined;
      // Not on the disk yet: waiting for it at each new queue would hold up all the others. Whoever flushes sees to it.
      if (this.#writable) names.makeDirectory(this.directory, false);
      try {
        file = this.#open(name, false);
      } catch (error) {
        if (!this.#writable && !names.exists(name)) return undefined; // Deleted at this moment.
        throw error;
      }
      this.#files.set(base, file);
    }
    this.#lastBase = base;
    this.#last = file;
    this.#looks = 0;
    return file;
  }

  #open(name: string, mapped: boolean): StoreFile {
    return this.#drive.openFile(name, { size: this.#fileSize, writable: this.#writable, keepDescriptor: false, mapped });
  }

  #close(file: StoreFile): void {
    if (file.mapped !== undefined) mappedCount--;
    file.close();
  }

  /** Writes raw, whole entries from queueOffset on. */
  write(queueOffset: number, entries: Buffer, start: number, end: number): void {
    let position = queueOffset * this.entrySize;
    while (start < end) {
      const file = this.#file(position)!;
      const at = position % this.#fileSize;
      const size = Math.min(end - start, this.#fileSize - at);
      file.write(at, entries, start, start + size);
      start += size;
      position += size;
    }
  }

  /** The file that holds the entry; undefined: it is gone. */
  fileOf(queueOffset: number): StoreFile | undefined {
    return this.#file(queueOffset * this.entrySize);
  }

  /**
   * Memory of the file that holds the entry, at `positionInFile(queueOffset)`, up to the file's end or `mappedEnd`.
   * @returns undefined: use `read`
   */
  mappedFor(queueOffset: number): Buffer | undefined {
    if (!this.#mayMap || queueOffset >= this.mappedEnd) return undefined;
    const file = this.#file(queueOffset * this.entrySize);
    if (file === undefined || file.mapped !== undefined) return file?.mapped;
    if (++this.#looks < LOOKS_BEFORE_MAPPING || mappedCount >= MAPPED_MAX) return undefined;
    const mapped = this.#mapped(file);
    if (mapped === undefined) return undefined; // Deleted meanwhile: what is open can still be read.
    mappedCount++;
    this.#files.set(this.#lastBase, mapped);
    this.#last = mapped;
    file.close();
    return mapped.mapped;
  }

  #mapped(file: StoreFile): StoreFile | undefined {
    try {
      return this.#open(file.path, true);
    } catch {
      return undefined;
    }
  }

  /** queueOffset from which on entries are in no file. */
  get mappedEnd(): number {
    return this.#tail === undefined ? Number.POSITIVE_INFINITY : this.#tail.slots.writtenOffset(this.#tail.slot);
  }

  positionInFile(queueOffset: number): number {
    return (queueOffset * this.entrySize) % this.#fileSize;
  }

  /**
   * Copies up to `count` entries from queueOffset on, which stand together.
   * @returns entries copied; 0 when the file is gone
   */
  read(queueOffset: number, count: number, target: Buffer): number {
    const tail = this.#tail;
    if (tail === undefined) return this.#readFile(queueOffset, count, target);
    const { slots, slot } = tail;
    let written = slots.writtenOffset(slot);
    if (queueOffset >= written) {
      const copied = slots.readTail(slot, queueOffset, count, target);
      if (copied > 0) return copied;
      written = slots.writtenOffset(slot);
    }
    return queueOffset < written ? this.#readFile(queueOffset, Math.min(count, written - queueOffset), target) : 0;
  }

  #readFile(queueOffset: number, count: number, target: Buffer): number {
    const position = queueOffset * this.entrySize;
    const file = this.#file(position);
    if (file === undefined) return 0;
    const at = position % this.#fileSize;
    const size = Math.min(count * this.entrySize, this.#fileSize - at, target.length - (target.length % this.entrySize));
    file.read(at, target, 0, size);
    return size / this.entrySize;
  }

  /** Enters [first, end) as entries without a message: their records are lost, or were deleted before. Source: Apache `ConsumeQueue.fillPreBlank`. */
  fillBlank(first: number, end: number): void {
    const blanks = Buffer.alloc(Math.min(end - first, 1024) * ENTRY_SIZE);
    for (let at = 0; at < blanks.length; at += ENTRY_SIZE) writeEntry(blanks, at, 0, BLANK_ENTRY_SIZE, 0);
    for (let next = first; next < end; ) {
      const count = Math.min(1024, end - next);
      this.write(next, blanks, 0, count * ENTRY_SIZE);
      next += count;
    }
  }

  /** First queueOffset of the file that holds the entry. */
  fileStart(queueOffset: number): number {
    return queueOffset - (queueOffset % this.entriesPerFile);
  }

  /** First offsets of its files, ascending, in entries. @throws MillraceError MILLRACE_STORE_CORRUPT on files of another size, or a gap */
  fileStarts(): number[] {
    return listBases(this.#drive.names, this.directory, this.#fileSize).map((base) => base / this.entrySize);
  }

  /**
   * One past the last entry of a message that ends at or below `logEnd`, by bisection: right where all entries below
   * it were written. Source: Apache `ConsumeQueue.recover`.
   * @param starts as of `fileStarts`
   */
  endBelow(logEnd: number, starts: readonly number[] = this.fileStarts()): number {
    if (starts.length === 0) return 0;
    const scratch = Buffer.alloc(this.entrySize);
    // Entries without a message do not tell where they stand: the next one that has a message does.
    const isBelow = (queueOffset: number, limit: number): boolean => {
      for (let next = queueOffset; next < limit && this.read(next, 1, scratch) > 0; next++) {
        const size = entrySize(scratch, 0);
        const physicalOffset = entryPhysicalOffset(scratch, 0);
        if (size === BLANK_ENTRY_SIZE && physicalOffset === 0) continue;
        return size > 0 && physicalOffset >= 0 && physicalOffset + size <= logEnd;
      }
      return false;
    };
    let low = starts[0]!;
    for (const start of starts) if (isBelow(start, start + this.entriesPerFile)) low = start;
    let high = low + this.entriesPerFile;
    if (!isBelow(low, high)) return low;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (isBelow(middle, high)) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  /** Physical end of the record behind the entry; 0 without one. */
  physicalEnd(queueOffset: number): number {
    const scratch = Buffer.alloc(this.entrySize);
    if (this.read(queueOffset, 1, scratch) === 0) return 0;
    const size = entrySize(scratch, 0);
    return size === BLANK_ENTRY_SIZE ? 0 : entryPhysicalOffset(scratch, 0) + size;
  }

  /** Closes the files that hold no entry from queueOffset on: they may have been deleted. No view of them may be in use. */
  forgetBelow(queueOffset: number): void {
    for (const [base, file] of this.#files) {
      if (base + this.#fileSize > queueOffset * this.entrySize) continue;
      this.#files.delete(base);
      if (base === this.#lastBase) {
        this.#lastBase = -1;
        this.#last = undefined;
      }
      this.#close(file);
    }
  }

  close(): void {
    for (const file of this.#files.values()) this.#close(file);
    this.ext?.close();
    this.#files.clear();
    this.#lastBase = -1;
    this.#last = undefined;
  }
}
