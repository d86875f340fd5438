import { assert } from "../../base/assert.ts";
import type { StoreFile } from "../../os/api.ts";

/**
 * A big file that is read and written in single integers at random places. Big-endian; places are multiples of 4.
 * Other threads see what was written after `publish`, at the latest.
 */
export interface IndexRegion {
  /** The file as memory; undefined where it is read and written by calls. */
  readonly mapped: DataView | undefined;
  /** Takes disk space for [at, at + size) where writes could not report that there is none. @throws MillraceError MILLRACE_STORE_FULL */
  reserve(at: number, size: number): void;
  int32(at: number): number;
  setInt32(at: number, value: number): void;
  int64(at: number): number;
  setInt64(at: number, value: number): void;
  /** Many neighbours, to be looked at in order: [at, at + size). Good until the next call of anything here. */
  stretch(at: number, size: number): DataView;
  /** Makes all writes so far visible to other readers of the file. @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL */
  publish(): void;
  /** Readers only: what others have published since is seen from now on. */
  refresh(): void;
  /** Pages that were touched count as the process's own until they are let go; the system keeps them. */
  rest(): void;
  /** publish, then waits for the disk. */
  sync(): void;
  /** publish, then closes the file. */
  close(): void;
}

export function openRegion(file: StoreFile): IndexRegion {
  return file.mapped === undefined ? new PagedRegion(file) : new MappedRegion(file, file.mapped);
}

const TWO_32 = 4_294_967_296;

class MappedRegion implements IndexRegion {
  readonly mapped: DataView;
  readonly #file: StoreFile;
  readonly #view: DataView;

  constructor(file: StoreFile, bytes: Buffer) {
    this.#file = file;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.mapped = this.#view;
  }

  reserve(at: number, size: number): void {
    this.#file.reserve(at, size);
  }

  int32(at: number): number {
    return this.#view.getInt32(at);
  }

  setInt32(at: number, value: number): void {
    this.#view.setInt32(at, value);
  }

  int64(at: number): number {
    return this.#view.getInt32(at) * TWO_32 + this.#view.getUint32(at + 4);
  }

  setInt64(at: number, value: number): void {
    this.#view.setInt32(at, Math.floor(value / TWO_32));
    this.#view.setInt32(at + 4, value | 0); // Modulo 2^32, also of what is larger.
  }

  stretch(at: number, size: number): DataView {
    return new DataView(this.#view.buffer, this.#view.byteOffset + at, size);
  }

  publish(): void {
    // Every write is at once in the file's pages.
  }

  refresh(): void {
    // And is seen there.
  }

  rest(): void {
    this.#file.dropPages();
  }

  sync(): void {
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}

const PAGE_SIZE = 4096;
/** Pages kept in memory at most: 8 MiB for each open file. A power of two. */
const PAGES_MAX = 2048;

interface Page {
  number: number;
  readonly view: DataView;
  readonly bytes: Buffer;
  isDirty: boolean;
}

/**
 * For drives that do not map files: keeps pages that were used lately. The pages whose numbers are equal
 * modulo PAGES_MAX share a place; the one asked for last has it. The first page, with the header, has its own.
 */
class PagedRegion implements IndexRegion {
  readonly mapped = undefined;
  readonly #file: StoreFile;
  readonly #pages: (Page | undefined)[] = new Array(PAGES_MAX + 1).fill(undefined);
  #stretch: Buffer = Buffer.alloc(0);

  constructor(file: StoreFile) {
    this.#file = file;
  }

  reserve(): void {
    // Writes report a full disk.
  }

  int32(at: number): number {
    return this.#page(at).view.getInt32(at % PAGE_SIZE);
  }

  setInt32(at: number, value: number): void {
    const page = this.#page(at);
    page.view.setInt32(at % PAGE_SIZE, value);
    page.isDirty = true;
  }

  int64(at: number): number {
    return this.int32(at) * TWO_32 + (this.int32(at + 4) >>> 0);
  }

  setInt64(at: number, value: number): void {
    this.setInt32(at, Math.floor(value / TWO_32));
    this.setInt32(at + 4, value | 0);
  }

  stretch(at: number, size: number): DataView {
    this.publish();
    if (this.#stretch.length < size) this.#stretch = Buffer.allocUnsafeSlow(size);
    this.#file.read(at, this.#stretch, 0, size);
    return new DataView(this.#stretch.buffer, this.#stretch.byteOffset, size);
  }

  #page(at: number): Page {
    const number = Math.floor(at / PAGE_SIZE);
    const place = number === 0 ? PAGES_MAX : number % PAGES_MAX;
    const page = this.#pages[place];
    return page !== undefined && page.number === number ? page : this.#load(place, number);
  }

  #load(place: number, number: number): Page {
    let page = this.#pages[place];
    if (page === undefined) {
      const bytes = Buffer.alloc(PAGE_SIZE);
      page = { number, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, PAGE_SIZE), isDirty: false };
      this.#pages[place] = page;
    }
    if (page.isDirty) this.publish(); // All of them, for the sake of the order.
    page.number = -1; // Until it has been read.
    this.#file.read(number * PAGE_SIZE, page.bytes, 0, this.#sizeOf(number));
    page.number = number;
    return page;
  }

  #sizeOf(number: number): number {
    return Math.min(PAGE_SIZE, this.#file.size - number * PAGE_SIZE);
  }

  /**
   * From the file's end to its start: index entries before the slots that point at them, the header last. So
   * whoever reads meanwhile, or after the process died in between, finds no pointer to an entry that is not there.
   */
  publish(): void {
    const dirty = this.#pages.filter((page) => page?.isDirty === true) as Page[];
    for (const page of dirty.sort((a, b) => b.number - a.number)) {
      this.#file.write(page.number * PAGE_SIZE, page.bytes, 0, this.#sizeOf(page.number));
      page.isDirty = false;
    }
  }

  rest(): void {
    // PAGES_MAX is little.
  }

  refresh(): void {
    for (const page of this.#pages) {
      if (page === undefined) continue;
      assert(!page.isDirty, "a reader does not write");
      page.number = -1;
    }
  }

  sync(): void {
    this.publish();
    this.#file.sync();
  }

  close(): void {
    this.publish();
    this.#file.close();
  }
}
