import { type Clock, monotonicMs } from "../../base/clock.ts";
import { nativeCrc32 } from "../../base/crc32.ts";
import { MillraceError } from "../../base/errors.ts";
import { CHECKSUM_BLOCK_SIZE, checksumEntryOffset, LogChecksumTable } from "../../format/files/log-checksums.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import type { SharedLog } from "../shared-log.ts";
import { checksumBases } from "./checksum-files.ts";
import { basePath } from "./log-files.ts";

export interface LogChecksumsOptions {
  drive: Drive;
  /** Where the checksums lie; made when there are any. */
  directory: string;
  commitLog: string;
  logFileSize: number;
  log: SharedLog;
  clock: Clock;
  /** Work, while the log grows. */
  bytesPerSecond: number;
}

/** Least pause between two rounds of work, ms. */
const ROUND_MS = 200;
/** Most that is saved up for a round, ms of work. */
const SAVED_MS_MAX = 1000;
/** A log that has not grown since the last round: so many times as much work is done. */
const QUIET_FACTOR = 4;
/** Read between two looks at who waits for a flush, bytes. */
const STEP_SIZE = 1_048_576;
/** At the end of the process for so long what is missing is done, ms. */
const FINISH_MS = 1000;
/** A disk that is full, or worse, is left alone for so long, ms. */
const RETRY_MS = 5000;

/**
 * Gives each block of the log a checksum, in files of their own (format/files/log-checksums.ts). RocketMQ's records have
 * one of the body only; these let `verify` notice a changed bit anywhere. Flusher thread only.
 *
 * Only what is on the disk is covered, so that neither a power cut nor another broker's recovery can make right bytes look
 * wrong. The last block is covered as far as it goes, and its checksum continued. The work has a budget: under a load that
 * is beyond it, it stays behind, catches up later, and what is not covered is seen to be so. Nothing depends on these files:
 * where they cannot be written the log goes on without.
 */
export class LogChecksums {
  readonly #o: LogChecksumsOptions;
  readonly #bytes = Buffer.allocUnsafeSlow(CHECKSUM_BLOCK_SIZE);
  /** One past what is covered; -1: to be looked up. */
  #offset = -1;
  #table: LogChecksumTable | undefined;
  #logFile: StoreFile | undefined;
  #tableFile: StoreFile | undefined;
  #isDirty = false;
  /** The block of #table that was covered last: nobody else has written there since. */
  #ownBlock = -1;
  #allowance = 0;
  #roundMs = Number.NEGATIVE_INFINITY;
  #appendedSeen = -1;
  #retryAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LogChecksumsOptions) {
    this.#o = options;
  }

  /** One step of what the budget allows. @returns true if it allows more at once */
  work(): boolean {
    const flushed = this.#o.log.offset(shared.FLUSHED_OFFSET);
    if (this.#offset >= flushed || (this.#allowance <= 0 && !this.#startRound())) return false;
    this.#allowance -= this.#tryStep(flushed, Math.min(this.#allowance, STEP_SIZE));
    if (this.#offset >= flushed) this.#allowance = 0;
    return this.#allowance > 0;
  }

  #startRound(): boolean {
    const { clock, log, bytesPerSecond } = this.#o;
    const now = clock.now();
    const sinceMs = now - this.#roundMs;
    if (sinceMs < ROUND_MS || now < this.#retryAtMs) return false;
    this.#roundMs = now;
    const appended = log.offset(shared.APPENDED_OFFSET);
    const factor = appended === this.#appendedSeen ? QUIET_FACTOR : 1;
    this.#appendedSeen = appended;
    this.#allowance = Math.ceil((factor * bytesPerSecond * Math.min(sinceMs, SAVED_MS_MAX)) / 1000);
    return true;
  }

  /** @returns bytes done, or the whole allowance: nothing can be done now */
  #tryStep(limit: number, size: number): number {
    try {
      return this.#step(limit, size);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      this.#closeFiles();
      this.#offset = -1; // What stands in the file counts.
      this.#retryAtMs = this.#o.clock.now() + RETRY_MS;
      return this.#allowance;
    }
  }

  /** Covers up to `size` bytes below `limit`. @returns how many */
  #step(limit: number, size: number): number {
    if (this.#offset < 0) this.#offset = this.#find();
    this.#forgetDeleted();
    // No record that is covered is younger, also where the clock was put back.
    const coveredAt = Math.floor(Math.max(this.#o.clock.now(), this.#o.log.offset(shared.LAST_STORE_TIMESTAMP)) / 1000);
    let done = 0;
    let firstBlock = -1;
    let lastBlock = -1;
    while (done < size && this.#offset < limit) {
      const table = this.#enter();
      if (table === undefined) continue; // That file is gone.
      const block = Math.floor((this.#offset - table.base) / CHECKSUM_BLOCK_SIZE);
      const blockStart = block * CHECKSUM_BLOCK_SIZE;
      const covered = table.coveredSize(block);
      const position = blockStart + covered;
      const end = Math.min(blockStart + table.blockSize(block), limit - table.base, position + size - done);
      const isContinued = covered > 0 && end > position && block !== this.#ownBlock;
      const isChanged = isContinued && this.#hasChanged(table, block);
      this.#offset = table.base + (isChanged ? blockStart + table.blockSize(block) : Math.max(position, end));
      if (end > position && !isChanged) {
        this.#logFile!.read(position, this.#bytes, 0, end - position);
        const crc = nativeCrc32(this.#bytes, 0, end - position, covered === 0 ? 0 : table.crc(block));
        table.set(block, end - blockStart, crc, covered === 0 ? coveredAt : Math.max(coveredAt, table.coveredAt(block)));
        this.#ownBlock = block;
        done += end - position;
        if (firstBlock < 0) firstBlock = block;
        lastBlock = block;
      }
      const isFileEnd = this.#offset === table.base + table.logFileSize;
      if (firstBlock >= 0 && (isFileEnd || done >= size || this.#offset >= limit)) {
        const [start, end] = [checksumEntryOffset(firstBlock), checksumEntryOffset(lastBlock + 1)];
        this.#tableFile!.write(start, table.bytes, start, end);
        this.#isDirty = true;
        firstBlock = -1;
      }
      if (isFileEnd) this.#leave();
    }
    return done;
  }

  /** Where to go on: in the last file that has checksums. A log without any is covered from its present file on. */
  #find(): number {
    const { drive, directory, logFileSize, log } = this.#o;
    const appended = log.offset(shared.APPENDED_OFFSET);
    const present = appended - (appended % logFileSize);
    const known = checksumBases(drive.names, directory, logFileSize).findLast((base) => base <= present);
    return known ?? present;
  }

  /** Opens what #offset lies in. @returns undefined: there is no such file, #offset is behind it now */
  #enter(): LogChecksumTable | undefined {
    if (this.#table !== undefined) return this.#table;
    const { drive, directory, commitLog, logFileSize, log } = this.#o;
    const { names } = drive;
    this.#offset = Math.max(this.#offset, log.offset(shared.MIN_OFFSET));
    const base = this.#offset - (this.#offset % logFileSize);
    const logPath = basePath(commitLog, base);
    if (!names.exists(logPath)) {
      this.#offset = base + logFileSize;
      return undefined;
    }
    names.makeDirectory(directory, false);
    const path = basePath(directory, base);
    const found = names.exists(path) ? names.readSmall(path) : undefined;
    const table = LogChecksumTable.decode(found, base, logFileSize) ?? new LogChecksumTable(base, logFileSize);
    if (found !== undefined && table.bytes !== found) names.remove(path); // Damaged, or of a log with files of another size.
    this.#logFile = drive.openFile(logPath, { size: logFileSize, writable: false, mapped: false });
    this.#tableFile = drive.openFile(path, { size: table.bytes.length, writable: true, mapped: false });
    if (table.bytes !== found) this.#tableFile.write(0, table.bytes, 0, checksumEntryOffset(0));
    this.#table = table;
    return table;
  }

  /**
   * Whether what is covered of the block is not as it was: it is damaged, or another broker has cut the log there and gone on.
   * A checksum of more, made of the old one, would be wrong, and younger than what that broker wrote.
   */
  #hasChanged(table: LogChecksumTable, block: number): boolean {
    const covered = table.coveredSize(block);
    this.#logFile!.read(block * CHECKSUM_BLOCK_SIZE, this.#bytes, 0, covered);
    return nativeCrc32(this.#bytes, 0, covered) !== table.crc(block);
  }

  /** Lets a file go that retention has deleted, which keeps its disk space as long as it is open: then more would be deleted. */
  #forgetDeleted(): void {
    const minOffset = this.#o.log.offset(shared.MIN_OFFSET);
    if (this.#table === undefined || this.#table.base + this.#table.logFileSize > minOffset) return;
    this.#closeFiles();
    this.#offset = minOffset;
  }

  /** The file is covered to its end: then this shall be known for good, since only the last file is looked at again. */
  #leave(): void {
    if (this.#isDirty) {
      this.#tableFile!.sync();
      this.#o.drive.names.syncDirectory(this.#o.directory);
    }
    this.#closeFiles();
  }

  #closeFiles(): void {
    this.#logFile?.close();
    this.#tableFile?.close();
    this.#logFile = undefined;
    this.#tableFile = undefined;
    this.#table = undefined;
    this.#isDirty = false;
    this.#ownBlock = -1;
  }

  /** After the last flush: covers what is missing, for a short while. */
  close(): void {
    const flushed = this.#o.log.offset(shared.FLUSHED_OFFSET);
    const endMs = monotonicMs() + FINISH_MS;
    try {
      while (this.#offset < flushed && monotonicMs() < endMs) this.#step(flushed, STEP_SIZE);
      if (this.#isDirty) this.#tableFile!.sync();
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
    this.#closeFiles();
  }
}

/** Of ours, or of a call of the system. */
function isSystemError(error: unknown): boolean {
  return error instanceof MillraceError || (error instanceof Error && "syscall" in error);
}
