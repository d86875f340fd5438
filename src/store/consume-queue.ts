import path from "node:path";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../format/consume-queue.ts";
import type { Drive, StoreFile } from "../os/api.ts";
import { fileExists, makeDirectory } from "../os/files.ts";
import { basePath, listBases } from "./log-files.ts";

/** Where the queue's files lie. Names were validated when the topic was made. */
export function queueDirectory(root: string, topic: string, queueId: number): string {
  return path.join(root, topic, String(queueId));
}

/**
 * One queue's files of 20-byte entries. A thread opens its own instance; only the queue indexer (or recovery,
 * while nothing else runs) writes.
 */
export class ConsumeQueue {
  readonly directory: string;
  readonly #drive: Drive;
  readonly #fileSize: number;
  readonly #writable: boolean;
  readonly #files = new Map<number, StoreFile>();
  readonly #dirty = new Set<StoreFile>();
  #lastBase = -1;
  #last: StoreFile | undefined;

  constructor(drive: Drive, directory: string, fileSize: number, writable: boolean) {
    this.#drive = drive;
    this.directory = directory;
    this.#fileSize = fileSize;
    this.#writable = writable;
  }

  get entriesPerFile(): number {
    return this.#fileSize / ENTRY_SIZE;
  }

  /** The file that holds byte `position` of the queue; created when writable. */
  #file(position: number): StoreFile | undefined {
    const base = position - (position % this.#fileSize);
    if (base === this.#lastBase) return this.#last;
    let file = this.#files.get(base);
    if (file === undefined) {
      const name = basePath(this.directory, base);
      if (!this.#writable && !fileExists(name)) return undefined;
      if (this.#writable) makeDirectory(this.directory);
      file = this.#drive.openFile(name, { size: this.#fileSize, writable: this.#writable, keepDescriptor: false });
      this.#files.set(base, file);
    }
    this.#lastBase = base;
    this.#last = file;
    return file;
  }

  /** Writes raw entries (a multiple of 20 bytes) from queueOffset on. */
  write(queueOffset: number, entries: Buffer, start: number, end: number): void {
    let position = queueOffset * ENTRY_SIZE;
    while (start < end) {
      const file = this.#file(position)!;
      const at = position % this.#fileSize;
      const size = Math.min(end - start, this.#fileSize - at);
      file.write(at, entries, start, start + size);
      this.#dirty.add(file);
      start += size;
      position += size;
    }
  }

  /** Memory of the file that holds the entry, if this drive maps files; entry at `positionInFile(queueOffset)`. */
  mappedFor(queueOffset: number): Buffer | undefined {
    const file = this.#file(queueOffset * ENTRY_SIZE);
    if (file === undefined) return undefined;
    if (this.#writable) this.#dirty.add(file);
    return file.mapped;
  }

  positionInFile(queueOffset: number): number {
    return (queueOffset * ENTRY_SIZE) % this.#fileSize;
  }

  /**
   * Copies `count` entries from queueOffset on, at most to the end of that file.
   * @returns entries copied; 0 when the file is gone
   */
  read(queueOffset: number, count: number, target: Buffer): number {
    const position = queueOffset * ENTRY_SIZE;
    const file = this.#file(position);
    if (file === undefined) return 0;
    const at = position % this.#fileSize;
    const size = Math.min(count * ENTRY_SIZE, this.#fileSize - at, target.length - (target.length % ENTRY_SIZE));
    file.read(at, target, 0, size);
    return size / ENTRY_SIZE;
  }

  /**
   * First and one-past-last valid entry on disk, of entries that point below `logEnd`.
   * Entries are written in order, so the end is found by bisection. Source: Apache `ConsumeQueue.recover`.
   */
  bounds(logEnd: number): { first: number; end: number } {
    const bases = listBases(this.directory, this.#fileSize);
    if (bases.length === 0) return { first: 0, end: 0 };
    const scratch = Buffer.alloc(ENTRY_SIZE);
    const isValid = (queueOffset: number): boolean => {
      if (this.read(queueOffset, 1, scratch) === 0) return false;
      const size = entrySize(scratch, 0);
      const physicalOffset = entryPhysicalOffset(scratch, 0);
      return size > 0 && physicalOffset >= 0 && physicalOffset + (size === 0x7fff_ffff ? 0 : size) <= logEnd;
    };
    const first = bases[0]! / ENTRY_SIZE;
    let low = first;
    for (const base of bases) if (isValid(base / ENTRY_SIZE)) low = base / ENTRY_SIZE;
    if (!isValid(low)) return { first, end: first };
    let high = low + this.entriesPerFile;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (isValid(middle)) low = middle;
      else high = middle;
    }
    return { first, end: low + 1 };
  }

  /** Physical end of the record behind the entry, or 0. */
  physicalEnd(queueOffset: number): number {
    const scratch = Buffer.alloc(ENTRY_SIZE);
    if (this.read(queueOffset, 1, scratch) === 0) return 0;
    return entryPhysicalOffset(scratch, 0) + entrySize(scratch, 0);
  }

  /** Zeroes everything from queueOffset to the end of its files. */
  truncate(queueOffset: number): void {
    const zeros = Buffer.alloc(65_536 - (65_536 % ENTRY_SIZE));
    for (const base of listBases(this.directory, this.#fileSize)) {
      let position = Math.max(base, queueOffset * ENTRY_SIZE);
      while (position < base + this.#fileSize) {
        const size = Math.min(zeros.length, base + this.#fileSize - position);
        if (!this.#isZero(position, size)) this.write(position / ENTRY_SIZE, zeros, 0, size);
        position += size;
      }
    }
  }

  #isZero(position: number, size: number): boolean {
    const bytes = Buffer.allocUnsafe(size);
    this.#file(position)!.read(position % this.#fileSize, bytes, 0, size);
    return bytes.every((byte) => byte === 0);
  }

  /** Writes changed pages to the disk. */
  sync(): void {
    for (const file of this.#dirty) file.sync();
    this.#dirty.clear();
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
    this.#lastBase = -1;
    this.#last = undefined;
  }
}
