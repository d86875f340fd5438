import path from "node:path";
import {
  BLANK_ENTRY_SIZE,
  ENTRY_SIZE,
  entryPhysicalOffset,
  entrySize,
  writeEntry,
  writeEntryTo,
} from "../../format/files/consume-queue.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath, listBases } from "../log/log-files.ts";

const PAGE_SIZE = 4096;
/** Disk space is taken for a file in steps that grow to this with what it holds already, bytes. */
const RESERVED_MAX = 65_536;

/** Where the queue's files lie. Names were validated when the topic was made. */
export function queueDirectory(root: string, topic: string, queueId: number): string {
  return path.join(root, topic, String(queueId));
}

/** Those whose names and contents a new queue changes: its own, its topic's, and that of all queues. */
export function directoriesOf(queue: string): string[] {
  const topic = path.dirname(queue);
  return [queue, topic, path.dirname(topic)];
}

/**
 * One queue's files of entries of equal size, by index; in a plain queue (20 bytes an entry) the index is the
 * queueOffset. A thread opens its own instance; only the queue indexer (or recovery, while nothing else runs) writes.
 */
export class ConsumeQueue {
  readonly directory: string;
  readonly entrySize: number;
  readonly #drive: Drive;
  readonly #fileSize: number;
  readonly #writable: boolean;
  readonly #isMapped: boolean;
  readonly #files = new Map<number, StoreFile>();
  readonly #dirty = new Set<StoreFile>();
  #hasNewNames = false;
  #lastBase = -1;
  #last: StoreFile | undefined;
  /** The mapped file written last, whether it is in #dirty, and its memory. */
  #written: StoreFile | undefined;
  #isWrittenDirty = false;
  /** So far it has disk space. */
  #reservedTo = 0;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** @param isMapped false: for a few looks, reads are cheaper than mappings */
  constructor(
    drive: Drive,
    directory: string,
    fileSize: number,
    writable: boolean,
    entrySize: number = ENTRY_SIZE,
    isMapped = true,
  ) {
    this.#drive = drive;
    this.directory = directory;
    this.entrySize = entrySize;
    this.#fileSize = fileSize;
    this.#writable = writable;
    this.#isMapped = isMapped;
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
      const isThere = names.exists(name);
      if (!this.#writable && !isThere) return undefined;
      // Not on the disk yet: waiting for it at each new queue would hold up all the others. Whoever flushes sees to it.
      if (this.#writable) names.makeDirectory(this.directory, false);
      this.#hasNewNames ||= !isThere;
      try {
        const options = { size: this.#fileSize, writable: this.#writable, keepDescriptor: false, mapped: this.#isMapped };
        file = this.#drive.openFile(name, options);
      } catch (error) {
        if (!this.#writable && !names.exists(name)) return undefined; // Deleted at this moment.
        throw error;
      }
      this.#files.set(base, file);
    }
    this.#lastBase = base;
    this.#last = file;
    return file;
  }

  /** Writes raw, whole entries from queueOffset on. */
  write(queueOffset: number, entries: Buffer, start: number, end: number): void {
    let position = queueOffset * this.entrySize;
    while (start < end) {
      const file = this.#file(position)!;
      const at = position % this.#fileSize;
      const size = Math.min(end - start, this.#fileSize - at);
      if (file.mapped !== undefined) file.reserve(at, size);
      file.write(at, entries, start, start + size);
      this.#dirty.add(file);
      start += size;
      position += size;
    }
  }

  /** Memory of the file that holds the entry, if this drive maps files; entry at `positionInFile(queueOffset)`. */
  mappedFor(queueOffset: number): Buffer | undefined {
    const file = this.#file(queueOffset * this.entrySize);
    if (file === undefined) return undefined;
    return file.mapped;
  }

  /**
   * Writes one entry straight into mapped memory. @returns false: this drive does not map files; gather entries and `write`
   * @throws MillraceError MILLRACE_STORE_FULL
   */
  writeMapped(queueOffset: number, physicalOffset: number, size: number, tagsCode: number): boolean {
    return this.writeRunMapped(queueOffset, physicalOffset, size, tagsCode, 1) > 0;
  }

  /**
   * The same for records of one size that follow each other in the log.
   * @returns how many of `count` entries it has written; 0: this drive does not map files
   */
  writeRunMapped(queueOffset: number, physicalOffset: number, size: number, tagsCode: number, count: number): number {
    if (!this.#isMapped) return 0; // Its file need not even be opened.
    const position = queueOffset * ENTRY_SIZE;
    const file = this.#file(position)!;
    if (file !== this.#written) {
      if (file.mapped === undefined) return 0;
      this.#written = file;
      this.#isWrittenDirty = false;
      this.#reservedTo = 0;
      this.#view = new DataView(file.mapped.buffer, file.mapped.byteOffset, file.mapped.byteLength);
    }
    const at = position % this.#fileSize;
    if (at + ENTRY_SIZE > this.#reservedTo) this.#reserve(file, at);
    if (!this.#isWrittenDirty) {
      this.#dirty.add(file);
      this.#isWrittenDirty = true;
    }
    const written = Math.min(count, Math.floor((this.#reservedTo - at) / ENTRY_SIZE));
    const view = this.#view;
    let physical = physicalOffset;
    for (let to = at; to < at + written * ENTRY_SIZE; to += ENTRY_SIZE, physical += size) {
      writeEntryTo(view, to, physical, size, tagsCode);
    }
    return written;
  }

  /** Takes disk space before the entry at `at` is stored: on a full disk the store itself would end the process. */
  #reserve(file: StoreFile, at: number): void {
    const from = at - (at % PAGE_SIZE);
    const size = Math.min(this.#fileSize - from, Math.max(2 * PAGE_SIZE, Math.min(RESERVED_MAX, from)));
    file.reserve(from, size);
    this.#reservedTo = from + size;
  }

  positionInFile(queueOffset: number): number {
    return (queueOffset * this.entrySize) % this.#fileSize;
  }

  /**
   * Copies `count` entries from queueOffset on, at most to the end of that file.
   * @returns entries copied; 0 when the file is gone
   */
  read(queueOffset: number, count: number, target: Buffer): number {
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
   */
  endBelow(logEnd: number): number {
    const starts = this.fileStarts();
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
      this.#dirty.delete(file);
      this.#files.delete(base);
      if (base === this.#lastBase) {
        this.#lastBase = -1;
        this.#last = undefined;
      }
      if (file === this.#written) this.#written = undefined;
      file.close();
    }
  }

  /** Brings what was written, and the names of new files, to the disk. */
  sync(): void {
    for (const file of this.#dirty) file.sync();
    this.#dirty.clear();
    this.#isWrittenDirty = false;
    if (this.#hasNewNames) for (const directory of directoriesOf(this.directory)) this.#drive.names.syncDirectory(directory);
    this.#hasNewNames = false;
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
    this.#lastBase = -1;
    this.#last = undefined;
  }
}
