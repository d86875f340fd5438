import path from "node:path";
import {
  COMPACTED_ENTRY_SIZE,
  COMPACTED_HEADER_SIZE,
  type CompactedEntry,
  type CompactedHeader,
  compactedFileSize,
  decodeCompactedHeader,
  readCompactedEntry,
} from "../../format/files/compacted-queue.ts";
import { recordSizeAt } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { fileSize, listDirectory } from "../../os/files.ts";

const NAME = /^\d{20}$/;

/** The newest file that compaction has left in the queue's directory and that is whole, or undefined. */
export function openCompactedQueue(drive: Drive, directory: string): CompactedQueue | undefined {
  const names = listDirectory(directory).filter((name) => NAME.test(name));
  for (const name of names.reverse()) {
    const queue = CompactedQueue.open(drive, path.join(directory, name));
    if (queue !== undefined) return queue;
  }
  return undefined;
}

/** Reads one file of compacted messages; layout in format/files/compacted-queue.ts. */
export class CompactedQueue {
  readonly header: CompactedHeader;
  readonly path: string;
  readonly #file: StoreFile;

  /** undefined: the file is damaged. */
  static open(drive: Drive, file: string): CompactedQueue | undefined {
    const size = fileSize(file);
    if (size < COMPACTED_HEADER_SIZE) return undefined;
    const opened = drive.openFile(file, { size, writable: false, mapped: false });
    const bytes = Buffer.alloc(COMPACTED_HEADER_SIZE);
    opened.read(0, bytes, 0, bytes.length);
    const header = decodeCompactedHeader(bytes);
    if (header !== undefined && compactedFileSize(header) === size) return new CompactedQueue(opened, header);
    opened.close();
    return undefined;
  }

  private constructor(file: StoreFile, header: CompactedHeader) {
    this.#file = file;
    this.path = file.path;
    this.header = header;
  }

  /** @param index of the kept messages, from 0 on */
  entry(index: number): CompactedEntry {
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

  /** undefined: there is no whole record. */
  record({ position, size }: CompactedEntry): Buffer | undefined {
    if (!(size > 0 && position >= COMPACTED_HEADER_SIZE && position + size <= this.#file.size)) return undefined;
    const bytes = Buffer.allocUnsafeSlow(size);
    this.#file.read(position, bytes, 0, size);
    return recordSizeAt(bytes, 0, size) === size ? bytes : undefined;
  }

  close(): void {
    this.#file.close();
  }
}
