import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { LogReader } from "../log/log-reader.ts";

/** Larger than any record: what a damaged size field asks for must not fill the memory. */
const WINDOW_MAX = 136_314_880;

/** A file of the log or of a queue as it was found: the offset of its first byte, and its bytes. */
export interface FoundFile {
  base: number;
  size: number;
}

/**
 * The log of a store that nobody writes, whatever shape it is in: files of a wrong size are read as far as they
 * go, and missing ones read as nothing.
 */
export class StoppedLog extends LogReader {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #sizes: ReadonlyMap<number, number>;
  readonly #open = new Map<number, StoreFile>();
  #loaded = Buffer.alloc(0);

  constructor(drive: Drive, directory: string, fileSize: number, files: readonly FoundFile[]) {
    super(drive, directory, fileSize);
    this.#drive = drive;
    this.#directory = directory;
    this.#sizes = new Map(files.map(({ base, size }) => [base, size]));
  }

  /** One past the last byte that there is of the file that holds the offset; 0 without such a file. */
  endAt(physicalOffset: number): number {
    const base = this.baseOf(physicalOffset);
    const size = this.#sizes.get(base);
    return size === undefined ? 0 : base + Math.min(size, this.fileSize);
  }

  override file(physicalOffset: number): StoreFile | undefined {
    const base = this.baseOf(physicalOffset);
    const known = this.#open.get(base);
    if (known !== undefined) return known;
    const size = this.#sizes.get(base);
    if (size === undefined) return undefined;
    // All of it is read once, in order: reads cost half of what a mapping costs in page faults.
    const file = this.#drive.openFile(basePath(this.#directory, base), { size, writable: false, mapped: false });
    this.#open.set(base, file);
    return file;
  }

  /** Asks for no more than a record's start by default: a scan would else be read anew at each record. */
  override window(physicalOffset: number, limit: number, sizeWanted = 8): boolean {
    const end = Math.min(limit, this.endAt(physicalOffset));
    return physicalOffset >= 0 && physicalOffset < end && super.window(physicalOffset, end, Math.min(sizeWanted, WINDOW_MAX));
  }

  /** Makes exactly those bytes readable in `bytes`, from `at` to `end`, without reading ahead. @returns false if they are not all there */
  load(physicalOffset: number, size: number): boolean {
    if (physicalOffset < 0 || physicalOffset + size > this.endAt(physicalOffset)) return false;
    const file = this.file(physicalOffset)!;
    const position = physicalOffset - this.baseOf(physicalOffset);
    if (file.mapped !== undefined) {
      this.bytes = file.mapped;
      this.at = position;
    } else {
      if (this.#loaded.length < size) this.#loaded = Buffer.allocUnsafeSlow(Math.max(65_536, 2 * size));
      file.read(position, this.#loaded, 0, size);
      this.bytes = this.#loaded;
      this.at = 0;
    }
    this.end = this.at + size;
    return true;
  }

  override close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }
}
