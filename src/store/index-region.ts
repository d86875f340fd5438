import { assert } from "../base/assert.ts";
import { readInt64, writeInt64 } from "../format/message.ts";
import type { StoreFile } from "../os/api.ts";

/**
 * A big file that is read and written in single integers at random places. Big-endian; places are multiples of 4.
 * Other threads see what was written after `publish`, at the latest.
 */
export interface IndexRegion {
  /** Takes disk space for [at, at + size) where writes could not report that there is none. @throws MillraceError MILLRACE_STORE_FULL */
  reserve(at: number, size: number): void;
  int32(at: number): number;
  setInt32(at: number, value: number): void;
  int64(at: number): number;
  setInt64(at: number, value: number): void;
  /** Makes all writes so far visible to other readers of the file. @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL */
  publish(): void;
  /** Readers only: what others have published since is seen from now on. */
  refresh(): void;
  /** publish, then waits for the disk. */
  sync(): void;
  /** publish, then closes the file. */
  close(): void;
}

export function openRegion(file: StoreFile): IndexRegion {
  return file.mapped === undefined ? new PagedRegion(file) : new MappedRegion(file, file.mapped);
}

class MappedRegion implements IndexRegion {
  readonly #file: StoreFile;
  readonly #bytes: Buffer;

  constructor(file: StoreFile, bytes: Buffer) {
    this.#file = file;
    this.#bytes = bytes;
  }

  reserve(at: number, size: number): void {
    this.#file.reserve(at, size);
  }

  int32(at: number): number {
    return this.#bytes.readInt32BE(at);
  }

  setInt32(at: number, value: number): void {
    this.#bytes.writeInt32BE(value, at);
  }

  int64(at: number): number {
    return readInt64(this.#bytes, at);
  }

  setInt64(at: number, value: number): void {
    writeInt64(this.#bytes, value, at);
  }

  publish(): void {
    // Every write is at once in the file's pages.
  }

  refresh(): void {
    // And is seen there.
  }

  sync(): void {
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

const PAGE_SIZE = 4096;
/** Pages kept in memory at most: 8 MiB for each open file that is written to. */
const PAGES_MAX = 2048;

interface Page {
  readonly bytes: Buffer;
  isDirty: boolean;
}

/** For drives that do not map files: the pages last used are kept, as many as PAGES_MAX. */
class PagedRegion implements IndexRegion {
  readonly #file: StoreFile;
  /** By page number, least recently used first. */
  readonly #pages = new Map<number, Page>();
  #lastNumber = -1;
  #last: Page | undefined;

  constructor(file: StoreFile) {
    this.#file = file;
  }

  reserve(): void {
    // Writes report a full disk.
  }

  int32(at: number): number {
    return this.#page(at).bytes.readInt32BE(at % PAGE_SIZE);
  }

  setInt32(at: number, value: number): void {
    const page = this.#page(at);
    page.bytes.writeInt32BE(value, at % PAGE_SIZE);
    page.isDirty = true;
  }

  int64(at: number): number {
    return this.int32(at) * 4_294_967_296 + (this.int32(at + 4) >>> 0);
  }

  setInt64(at: number, value: number): void {
    const high = Math.floor(value / 4_294_967_296);
    this.setInt32(at, high);
    this.setInt32(at + 4, (value - high * 4_294_967_296) | 0);
  }

  #page(at: number): Page {
    const number = Math.floor(at / PAGE_SIZE);
    if (number === this.#lastNumber) return this.#last!;
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = this.#load(number);
    } else {
      this.#pages.delete(number);
    }
    this.#pages.set(number, page);
    this.#lastNumber = number;
    this.#last = page;
    return page;
  }

  #load(number: number): Page {
    let bytes: Buffer | undefined;
    if (this.#pages.size >= PAGES_MAX) {
      const [[oldest, page]] = this.#pages as unknown as [[number, Page]];
      if (page.isDirty) this.publish(); // All of them: in order, and not one call's work at each miss.
      this.#pages.delete(oldest);
      bytes = page.bytes;
    }
    bytes ??= Buffer.allocUnsafeSlow(PAGE_SIZE);
    this.#file.read(number * PAGE_SIZE, bytes, 0, Math.min(PAGE_SIZE, this.#file.size - number * PAGE_SIZE));
    return { bytes, isDirty: false };
  }

  /**
   * From the file's end to its start: index entries before the slots that point at them, the header last. So whoever
   * reads meanwhile, or after the process died in between, finds no pointer to an entry that is not there.
   */
  publish(): void {
    const dirty = [...this.#pages].filter(([, page]) => page.isDirty).sort(([a], [b]) => b - a);
    for (const [number, page] of dirty) this.#write(number, page);
  }

  refresh(): void {
    for (const page of this.#pages.values()) assert(!page.isDirty, "a reader does not write");
    this.#pages.clear();
    this.#lastNumber = -1;
  }

  #write(number: number, page: Page): void {
    const at = number * PAGE_SIZE;
    this.#file.write(at, page.bytes, 0, Math.min(PAGE_SIZE, this.#file.size - at));
    page.isDirty = false;
  }

  sync(): void {
    this.publish();
    this.#file.sync();
  }

  close(): void {
    this.publish();
    this.#pages.clear();
    this.#lastNumber = -1;
    this.#file.close();
  }
}
