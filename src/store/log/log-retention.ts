import { RecordParts, readInt64 } from "../../format/record/message.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive } from "../../os/api.ts";
import { fileExists, listDirectory, modifiedMs } from "../../os/files.ts";
import type { SharedLog } from "../shared-log.ts";
import { basePath } from "./log-files.ts";
import { LogReader } from "./log-reader.ts";

/** What one round may delete. */
export interface RetentionOrder {
  /** Files whose last message was stored before this go, ms; -1: none for their age. */
  expiredBeforeMs: number;
  /** Whatever their age. */
  isForced: boolean;
  /** Files go until the log is no larger, bytes; 0: as large as it likes. */
  sizeMax: number;
}

export interface LogRetentionOptions {
  drive: Drive;
  directory: string;
  fileSize: number;
  log: SharedLog;
}

/**
 * Says which files of the log may go: the oldest ones that are old enough, never the one being written, and none
 * that is not yet on the disk and in the queues. Control thread only. Source: Apache `MappedFileQueue.deleteExpiredFileByTime`.
 */
export class LogRetention {
  readonly #o: LogRetentionOptions;
  /** By first offset: when the last message of a full file was stored, ms. */
  readonly #lastStored = new Map<number, number>();
  #currentBase: number;

  constructor(options: LogRetentionOptions) {
    this.#o = options;
    const appended = options.log.offset(shared.APPENDED_OFFSET);
    this.#currentBase = appended - (appended % options.fileSize);
  }

  /** Notes when files became full. Now and then; a file's time is right to that. */
  observe(): void {
    const { log, fileSize } = this.#o;
    const base = log.offset(shared.CURRENT_FILE_BASE);
    const now = log.offset(shared.LAST_STORE_TIMESTAMP);
    for (; this.#currentBase < base; this.#currentBase += fileSize) this.#lastStored.set(this.#currentBase, now);
  }

  /** First offset of the oldest file, and one past the last byte that may be deleted. */
  #span(): { first: number; end: number } {
    const { log, directory } = this.#o;
    const names = listDirectory(directory).filter((name) => /^\d{20}$/.test(name));
    const end = Math.min(
      log.offset(shared.CURRENT_FILE_BASE),
      log.offset(shared.FLUSHED_OFFSET),
      log.offset(shared.DISPATCHED_OFFSET),
    );
    return { first: names.length === 0 ? Number.MAX_SAFE_INTEGER : Number(names[0]), end };
  }

  /** First offset of the file that is to go next, which is the oldest; -1: none. */
  next({ expiredBeforeMs, isForced, sizeMax }: RetentionOrder): number {
    const { fileSize, log } = this.#o;
    const { first, end } = this.#span();
    if (first + fileSize > end) return -1;
    if (isForced) return first;
    if (sizeMax > 0 && log.offset(shared.CURRENT_FILE_BASE) + fileSize - first > sizeMax) return first;
    return expiredBeforeMs >= 0 && this.#lastStoredMs(first) <= expiredBeforeMs ? first : -1;
  }

  /** The file is gone. */
  deleted(base: number): void {
    this.#lastStored.delete(base);
  }

  /**
   * When the file's last message was stored. Of files from before the start that is their last change, if it lies
   * between the first message of the file and that of the next one: the files may have been copied.
   */
  #lastStoredMs(base: number): number {
    const known = this.#lastStored.get(base);
    if (known !== undefined) return known;
    const { directory, fileSize } = this.#o;
    const own = this.#firstStoredMs(base) ?? 0;
    const next = this.#firstStoredMs(base + fileSize) ?? Number.MAX_SAFE_INTEGER;
    const file = basePath(directory, base);
    const changed = fileExists(file) ? modifiedMs(file) : own;
    const lastStored = Math.max(own, Math.min(next, changed));
    this.#lastStored.set(base, lastStored);
    return lastStored;
  }

  /** When the file's first message was stored; undefined where there is none. */
  #firstStoredMs(base: number): number | undefined {
    const { drive, directory, fileSize, log } = this.#o;
    const reader = new LogReader(drive, directory, fileSize);
    try {
      const record = reader.record(base, log.offset(shared.APPENDED_OFFSET));
      if (record === undefined) return undefined;
      const parts = new RecordParts();
      parts.locate(record, 0);
      return readInt64(record, parts.storeTimestampAt);
    } finally {
      reader.close();
    }
  }
}
