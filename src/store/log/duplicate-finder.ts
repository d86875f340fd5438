import { RECORD_SIZE_MIN, RecordParts, recordSizeAt } from "../../format/record/message.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { fileExists } from "../../os/files.ts";
import { DedupWindow, type DedupWindowMemory } from "./dedup-window.ts";
import { basePath } from "./log-files.ts";

const UNIQ_KEY_NAME = Buffer.from("UNIQ_KEY");

/**
 * Says whether a message that is about to be appended stands in the log already: the window knows candidates by hash,
 * the log has their keys. Log-writer thread only; it reads the log for likely duplicates only.
 */
export class DuplicateFinder {
  readonly window: DedupWindow;
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #fileSize: number;
  readonly #parts = new RecordParts();
  readonly #key = new PropertyScan();
  readonly #storedKey = new PropertyScan();
  /** The file that was read last; one that was deleted meanwhile stays readable. */
  #file: StoreFile | undefined;
  #base = -1;

  /** @param directory of the log; @param fileSize of its files, bytes */
  constructor(memory: DedupWindowMemory, drive: Drive, directory: string, fileSize: number) {
    this.window = new DedupWindow(memory);
    this.#drive = drive;
    this.#directory = directory;
    this.#fileSize = fileSize;
  }

  /**
   * @param data has the record, whole, at `at`
   * @returns true: it is a duplicate, and the window's getters tell where the first one stands
   */
  find(data: Buffer, at: number, hashLow: number, hashHigh: number, sinceMs: number): boolean {
    let isLikely = this.window.find(hashLow, hashHigh, sinceMs);
    if (!isLikely) return false;
    this.#parts.locate(data, at);
    if (!this.#key.find(data, this.#parts.propertiesStart, this.#parts.propertiesEnd, UNIQ_KEY_NAME)) return false;
    while (isLikely && !this.#isStoredAt(this.window.physicalOffset, data)) {
      isLikely = this.window.findNext(hashLow, hashHigh, sinceMs);
    }
    return isLikely;
  }

  /** Whether the record at the offset has the key that `#key` found in `data`. */
  #isStoredAt(physicalOffset: number, data: Buffer): boolean {
    let record: Buffer | undefined;
    try {
      record = this.#read(physicalOffset);
    } catch {
      return false; // Stored twice is better than not at all.
    }
    if (record === undefined) return false;
    this.#parts.locate(record, 0);
    const { propertiesStart, propertiesEnd } = this.#parts;
    if (!this.#storedKey.find(record, propertiesStart, propertiesEnd, UNIQ_KEY_NAME)) return false;
    return record.compare(data, this.#key.start, this.#key.end, this.#storedKey.start, this.#storedKey.end) === 0;
  }

  #read(physicalOffset: number): Buffer | undefined {
    const position = physicalOffset % this.#fileSize;
    const file = this.#open(physicalOffset - position);
    const left = this.#fileSize - position;
    if (file === undefined || left < RECORD_SIZE_MIN) return undefined;
    const head = Buffer.alloc(4);
    file.read(position, head, 0, head.length);
    const size = head.readUInt32BE(0);
    if (size < RECORD_SIZE_MIN || size > left) return undefined;
    const record = Buffer.allocUnsafe(size);
    file.read(position, record, 0, size);
    return recordSizeAt(record, 0, size) === size ? record : undefined;
  }

  #open(base: number): StoreFile | undefined {
    if (this.#base === base) return this.#file;
    this.close();
    const path = basePath(this.#directory, base);
    if (!fileExists(path)) return undefined;
    this.#file = this.#drive.openFile(path, { size: this.#fileSize, writable: false, mapped: false });
    this.#base = base;
    return this.#file;
  }

  /** Closes the file if it has been deleted. */
  forgetBelow(minPhysicalOffset: number): void {
    if (this.#base >= 0 && this.#base + this.#fileSize <= minPhysicalOffset) this.close();
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#base = -1;
  }
}
