import { MAGIC_BLANK, RECORD_INVALID, recordSizeAt } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath } from "./log-files.ts";

/** Bytes that the native-free drive reads ahead when a scan needs more. */
const SCAN_SIZE = 1_048_576;
/** Size and magic of a record: with them a scan knows whether it has all of it. */
const RECORD_HEAD_SIZE = 8;

export interface LogReaderOptions {
  /** It reads past what was written, where files may have holes (see FileNames.isSparse). Default: false. */
  looksBehindEnd?: boolean;
  /** Less where records are read here and there rather than in a row. */
  scanSize?: number;
  /** What it touches was brought to memory before: see OpenFileOptions. */
  isScattered?: boolean;
}

/**
 * Reads the CommitLog. Every thread has its own: it opens (and maps) the files that it touches, and
 * nobody else closes them under it; a deleted file stays readable until `forget`.
 */
export class LogReader {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly fileSize: number;
  readonly #looksBehindEnd: boolean;
  readonly #isScattered: boolean;
  readonly #scanSize: number;
  readonly #files = new Map<number, StoreFile>();
  #scan: Buffer = Buffer.alloc(0);
  #scanBase = -1;
  #scanStart = 0;
  #scanEnd = 0;
  /** What `window` found: bytes[at, end) are the log from the asked offset on. */
  bytes: Buffer = this.#scan;
  at = 0;
  end = 0;

  constructor(drive: Drive, directory: string, fileSize: number, options: LogReaderOptions = {}) {
    this.#drive = drive;
    this.#directory = directory;
    this.#looksBehindEnd = options.looksBehindEnd ?? false;
    this.#isScattered = options.isScattered ?? false;
    this.fileSize = fileSize;
    this.#scanSize = options.scanSize ?? SCAN_SIZE;
  }

  baseOf(physicalOffset: number): number {
    return physicalOffset - (physicalOffset % this.fileSize);
  }

  /** The file that holds the offset, or undefined when it is gone. */
  file(physicalOffset: number): StoreFile | undefined {
    const base = this.baseOf(physicalOffset);
    const known = this.#files.get(base);
    if (known !== undefined) return known;
    const path = basePath(this.#directory, base);
    if (!this.#drive.names.exists(path)) return undefined;
    try {
      const mapped = !(this.#looksBehindEnd && this.#drive.names.isSparse(path));
      const file = this.#drive.openFile(path, {
        size: this.fileSize,
        writable: false,
        mapped,
        isScattered: this.#isScattered,
      });
      this.#files.set(base, file);
      return file;
    } catch (error) {
      if (!this.#drive.names.exists(path)) return undefined; // Deleted at this moment.
      throw error;
    }
  }

  /**
   * Makes [physicalOffset, limit) readable in `bytes`, as far as it lies in one file (and, in the native-free
   * drive, in one read). The view is good until the next call.
   * @param sizeWanted  what must be there, if the log has it; a scan asks for more once it sees a larger record.
   *   To ask for more than is needed would read the same megabyte again for every record
   * @returns false when the file is gone
   */
  window(physicalOffset: number, limit: number, sizeWanted: number = RECORD_HEAD_SIZE): boolean {
    const file = this.file(physicalOffset);
    if (file === undefined) return false;
    const base = this.baseOf(physicalOffset);
    const fileLimit = Math.min(limit - base, this.fileSize);
    const position = physicalOffset - base;
    if (file.mapped !== undefined) {
      this.bytes = file.mapped;
      this.at = position;
      this.end = fileLimit;
      return true;
    }
    const isInside = this.#scanBase === base && position >= this.#scanStart && position < this.#scanEnd;
    const need = Math.min(sizeWanted, fileLimit - position);
    if (!isInside || this.#scanEnd - position < need) {
      const size = Math.min(Math.max(this.#scanSize, need), fileLimit - position);
      if (this.#scan.length < size) this.#scan = Buffer.allocUnsafeSlow(size);
      file.read(position, this.#scan, 0, size);
      this.#scanBase = base;
      this.#scanStart = position;
      this.#scanEnd = position + size;
    }
    this.bytes = this.#scan;
    this.at = position - this.#scanStart;
    this.end = Math.min(this.#scanEnd, fileLimit) - this.#scanStart;
    return true;
  }

  /** Forgets cached bytes past which the log has changed since (native-free drive). */
  invalidate(): void {
    this.#scanBase = -1;
  }

  /** The whole record at the offset, below `limit`, as a copy; undefined if none stands there. */
  record(physicalOffset: number, limit: number): Buffer | undefined {
    if (physicalOffset < 0 || physicalOffset + 8 > limit || !this.window(physicalOffset, limit, 65_536)) return undefined;
    if (this.end - this.at < 8 || this.bytes.readUInt32BE(this.at + 4) === MAGIC_BLANK) return undefined;
    const size = this.bytes.readUInt32BE(this.at);
    if (size > this.fileSize || !this.window(physicalOffset, limit, size)) return undefined;
    const checked = recordSizeAt(this.bytes, this.at, this.end);
    if (checked <= RECORD_INVALID) return undefined;
    return Buffer.from(this.bytes.subarray(this.at, this.at + checked));
  }

  /** Closes files wholly below the offset. No view of them may be in use. */
  forgetBelow(physicalOffset: number): void {
    for (const [base, file] of this.#files) {
      if (base + this.fileSize > physicalOffset) continue;
      if (this.bytes === file.mapped) this.bytes = this.#scan;
      this.#files.delete(base);
      file.close();
    }
  }

  /** Mapped pages count as the process's own until they are let go; the system keeps them. */
  dropPages(): void {
    for (const file of this.#files.values()) file.dropPages();
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
