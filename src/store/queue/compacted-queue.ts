import path from "node:path";
import { nativeCrc32 } from "../../base/crc32.ts";
import {
  COMPACTED_ENTRY_SIZE,
  COMPACTED_HEADER_SIZE,
  type CompactedEntry,
  type CompactedHeader,
  compactedFileSize,
  decodeCompactedHeader,
  readCompactedEntry,
} from "../../format/files/compacted-queue.ts";
import { QUEUE_OFFSET_OFFSET, readInt64, recordSizeAt } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { fileSize, listDirectory, removeFile, renameFile } from "../../os/files.ts";
import { mendedTable } from "./mended-table.ts";

const TABLE_PART_SIZE = 65_536;
const NAME = /^\d{20}$/;
/** Behind the name of a file that was found damaged when a newer one took its place. */
const DAMAGED_SUFFIX = ".damaged";

/** Names of a queue's compacted files, the newest last; those of damaged ones, which nobody reads, apart. */
export function listCompacted(directory: string): { names: string[]; damaged: string[] } {
  const all = listDirectory(directory);
  const isDamaged = (name: string): boolean => name.endsWith(DAMAGED_SUFFIX) && NAME.test(name.slice(0, 20));
  return { names: all.filter((name) => NAME.test(name)), damaged: all.filter(isDamaged) };
}

/**
 * The newest file that compaction has left in the queue's directory and whose header is right, or undefined.
 * @param onDamaged told of each newer one
 */
export function openCompactedQueue(
  drive: Drive,
  directory: string,
  onDamaged: (file: string) => void = () => {},
): CompactedQueue | undefined {
  for (const name of listCompacted(directory).names.reverse()) {
    const file = path.join(directory, name);
    const queue = CompactedQueue.open(drive, file);
    if (queue !== undefined) return queue;
    onDamaged(file);
  }
  return undefined;
}

/**
 * Removes what older compactions, or one that was cut short, have left.
 * @param damaged the file that was found damaged: it stays, under another name, as do those whose header is
 */
export function removeCompactedExcept(drive: Drive, directory: string, keep: string, damaged: string | undefined): void {
  const kept = listCompacted(directory).damaged;
  for (const name of listDirectory(directory)) {
    const file = path.join(directory, name);
    if (file === keep || kept.includes(name)) continue;
    if (NAME.test(name) && (file === damaged || !isReadable(drive, file))) setAside(file);
    else removeFile(file);
  }
}

/** Keeps a damaged file under a name that nothing reads but verify. */
export function setAside(file: string): void {
  renameFile(file, file + DAMAGED_SUFFIX);
}

function isReadable(drive: Drive, file: string): boolean {
  const queue = CompactedQueue.open(drive, file);
  queue?.close();
  return queue !== undefined;
}

/** Reads one file of compacted messages; layout in format/files/compacted-queue.ts. */
export class CompactedQueue {
  readonly header: CompactedHeader;
  readonly path: string;
  readonly #file: StoreFile;
  #mended: readonly CompactedEntry[] | undefined;

  /** undefined: its header is damaged, or bytes are missing. */
  static open(drive: Drive, file: string): CompactedQueue | undefined {
    const size = fileSize(file);
    if (size < COMPACTED_HEADER_SIZE) return undefined;
    const opened = drive.openFile(file, { size, writable: false, mapped: false });
    let queue: CompactedQueue | undefined;
    try {
      const bytes = Buffer.alloc(COMPACTED_HEADER_SIZE);
      opened.read(0, bytes, 0, bytes.length);
      const header = decodeCompactedHeader(bytes);
      if (header !== undefined && compactedFileSize(header) === size) queue = new CompactedQueue(opened, header);
    } finally {
      if (queue === undefined) opened.close();
    }
    return queue;
  }

  private constructor(file: StoreFile, header: CompactedHeader) {
    this.#file = file;
    this.path = file.path;
    this.header = header;
  }

  /**
   * To be called before messages are read: a damaged entry would lead readers past good messages.
   * @returns false: the table is damaged, and made anew from the records, as far as these allow; the file stays as it is
   */
  checkTable(): boolean {
    const size = this.header.count * COMPACTED_ENTRY_SIZE;
    const part = Buffer.allocUnsafe(Math.min(size, TABLE_PART_SIZE));
    let crc = 0;
    for (let start = 0; start < size; start += part.length) {
      const bytes = part.subarray(0, Math.min(part.length, size - start));
      this.readTable(start, bytes);
      crc = nativeCrc32(bytes, 0, bytes.length, crc);
    }
    if (crc === this.header.tableCrc) return true;
    this.#mended = mendedTable(this);
    return false;
  }

  /** @param index of the kept messages, from 0 on */
  entry(index: number): CompactedEntry {
    if (this.#mended !== undefined) return this.#mended[index]!;
    const bytes = Buffer.alloc(COMPACTED_ENTRY_SIZE);
    const at = COMPACTED_HEADER_SIZE + this.header.dataSize + index * COMPACTED_ENTRY_SIZE;
    this.#file.read(at, bytes, 0, bytes.length);
    return readCompactedEntry(bytes, 0);
  }

  /** Index of the first message at queueOffset or behind it; `header.count` if there is none. */
  find(queueOffset: number): number {
    let low = 0;
    let high = this.header.count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.entry(middle).queueOffset >= queueOffset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** undefined: the record, or the entry, is damaged. */
  record(entry: CompactedEntry): Buffer | undefined {
    const bytes = this.bytesOf(entry);
    if (bytes === undefined || nativeCrc32(bytes, 0, bytes.length) !== entry.crc) return undefined;
    if (recordSizeAt(bytes, 0, entry.size) !== entry.size) return undefined;
    return readInt64(bytes, QUEUE_OFFSET_OFFSET) === entry.queueOffset ? bytes : undefined;
  }

  /** Where the entry says that its record stands, whatever is there; undefined: that is no place of a record. */
  bytesOf({ position, size }: Pick<CompactedEntry, "position" | "size">): Buffer | undefined {
    const end = COMPACTED_HEADER_SIZE + this.header.dataSize;
    if (!(size > 0 && position >= COMPACTED_HEADER_SIZE && position + size <= end)) return undefined;
    const bytes = Buffer.allocUnsafeSlow(size);
    this.#file.read(position, bytes, 0, size);
    return bytes;
  }

  /** A part of the table, whatever is there. */
  readTable(start: number, target: Buffer): void {
    this.#file.read(COMPACTED_HEADER_SIZE + this.header.dataSize + start, target, 0, target.length);
  }

  close(): void {
    this.#file.close();
  }
}
