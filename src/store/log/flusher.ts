import { type Clock, monotonicMs, VirtualClock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import type { Doorbell } from "../../ring/doorbell.ts";
import type { SharedLog } from "../shared-log.ts";
import { basePath } from "./log-files.ts";

export interface FlusherOptions {
  drive: Drive;
  directory: string;
  fileSize: number;
  log: SharedLog;
  clock: Clock;
  /** SYNC_FLUSH: senders wait for the disk, so flush as soon as anything is appended. */
  isSync: boolean;
  /** ASYNC_FLUSH: pause between flushes, ms. */
  flushIntervalMs: number;
  /** ASYNC_FLUSH: least dirty pages (4 KiB) worth a flush … */
  flushLeastPages: number;
  /** … unless the last flush was this long ago, ms. */
  flushThoroughIntervalMs: number;
  /** SYNC_FLUSH: the thread's own, which the log writer rings. Without it no group is waited for. */
  doorbell?: Pick<Doorbell, "seen" | "park" | "nap">;
}

const PAGE_SIZE = 4096;
/** SYNC_FLUSH: part of a flush's time that is spent on waiting for senders that have just been answered, and its bounds, ms. */
const GATHER_RATIO = 0.5;
const GATHER_MS_MIN = 0.3;
const GATHER_MS_MAX = 5;
/** Part of the senders that is waited for where the disk is the bound: nearly all, since one flush costs the same for more of them. */
const GATHER_SHARE = 0.95;
/** Where the processor is: few, so that the others' messages are taken while these are flushed. */
const GATHER_SHARE_BUSY = 0.25;
/** The processor is the bound where all who are in flight take so many flushes' time. */
const BUSY_FLUSHES = 3;
/** Weight of the newest flush in what is remembered of them; and how slowly the greatest number in flight is forgotten. */
const PACE_WEIGHT = 0.1;
const IN_FLIGHT_DECAY = 0.98;
/** For so few more the thread is woken at each message; for more than these it looks now and then. */
const GATHER_FEW = 4;
/** Pause before a next file is tried for again, ms. */
const PREPARE_RETRY_MS = 500;

/**
 * Brings the log to the disk, and makes the next file ready, so that the log writer never waits for a disk.
 * Flusher thread only. A failed flush is final: FLAG_FLUSH_FAILED is set, and nothing is flushed again,
 * because the system may have dropped the pages that it could not write.
 * Source: Apache `CommitLog.GroupCommitService`, `FlushRealTimeService`, `AllocateMappedFileService`.
 */
export class Flusher {
  readonly #options: FlusherOptions;
  #file: StoreFile | undefined;
  #base = -1;
  #lastFlushMs: number;
  /** The same by monotonicMs: a clock that was put back stands until it is there again, for an hour, say. */
  #lastFlushAtMs: number = monotonicMs();
  #directoryDirty = true;
  /** Messages that the next flush is to serve, by the number that the last one had. */
  #expectedCount = 0;
  #flushedCount = 0;
  #flushMs = 0;
  #flushEndMs = 0;
  /** Of late: a flush's time, the time a message takes, and the most that were in flight. */
  #usualFlushMs = 0;
  #messageMs = 0;
  #inFlight = 0;
  #prepareAgainMs = 0;

  constructor(options: FlusherOptions) {
    this.#options = options;
    this.#lastFlushMs = options.clock.now();
  }

  /** One round of what is due. @returns true if more may be due at once */
  work(): boolean {
    const { log, isSync } = this.#options;
    this.#prepareNext();
    const timestamp = log.offset(shared.LAST_STORE_TIMESTAMP); // First: what is appended meanwhile is newer.
    const appended = log.offset(shared.APPENDED_OFFSET);
    if (appended <= log.offset(shared.FLUSHED_OFFSET)) return false;
    if (!isSync) {
      if (!this.#isDue(appended)) return false;
      this.flushTo(appended);
    } else this.#flushGroup();
    log.setOffset(shared.FLUSHED_TIMESTAMP, timestamp);
    return isSync;
  }

  /**
   * One flush for all who wait. Those whom the last one answered are about to send again; a flush that began at once
   * would serve the first of them only, and the others wait for two.
   */
  #flushGroup(): void {
    const { log } = this.#options;
    const count = this.#gather();
    const started = monotonicMs();
    this.flushTo(log.offset(shared.APPENDED_OFFSET));
    const ended = monotonicMs();
    this.#flushMs = ended - started;
    // In flight: whom this flush has served, and who came meanwhile.
    const inFlight = log.offset(shared.APPENDED_COUNT) - this.#flushedCount;
    this.#notePace(inFlight, count - this.#flushedCount, ended);
    const isBusy = this.#inFlight * this.#messageMs > BUSY_FLUSHES * this.#usualFlushMs;
    this.#expectedCount = (isBusy ? GATHER_SHARE_BUSY : GATHER_SHARE) * inFlight;
    this.#flushedCount = count;
  }

  #notePace(inFlight: number, served: number, endedMs: number): void {
    const roundMs = endedMs - this.#flushEndMs;
    this.#flushEndMs = endedMs;
    this.#inFlight = Math.max(inFlight, IN_FLIGHT_DECAY * this.#inFlight);
    if (roundMs > this.#flushMs + GATHER_MS_MAX) return; // Nobody sent for a while.
    this.#usualFlushMs += PACE_WEIGHT * (this.#flushMs - this.#usualFlushMs);
    this.#messageMs += PACE_WEIGHT * (roundMs / Math.max(1, served) - this.#messageMs);
  }

  /** @returns APPENDED_COUNT, of the messages that the flush is to serve */
  #gather(): number {
    const { log, doorbell } = this.#options;
    const limitMs = Math.min(GATHER_MS_MAX, Math.max(GATHER_MS_MIN, GATHER_RATIO * this.#flushMs));
    const deadlineMs = monotonicMs() + limitMs;
    let before = -1;
    for (;;) {
      const seen = doorbell?.seen() ?? 0; // First: what is appended after the look below ends the park.
      const count = log.offset(shared.APPENDED_COUNT);
      const missing = this.#flushedCount + this.#expectedCount - count;
      const leftMs = deadlineMs - monotonicMs();
      if (doorbell === undefined || missing <= 0 || leftMs <= 0) return count;
      if (missing <= GATHER_FEW) doorbell.park(seen, leftMs);
      else if (count === before)
        return count; // Nobody else comes.
      else {
        before = count;
        doorbell.nap(doorbell.seen(), Math.min(leftMs, limitMs / 3));
      }
    }
  }

  #isDue(appended: number): boolean {
    const { log, clock, flushIntervalMs, flushLeastPages, flushThoroughIntervalMs } = this.#options;
    const isSystem = !(clock instanceof VirtualClock);
    const idleMs = Math.max(clock.now() - this.#lastFlushMs, isSystem ? monotonicMs() - this.#lastFlushAtMs : 0);
    if (idleMs >= flushThoroughIntervalMs) return true;
    const pages = Math.floor(appended / PAGE_SIZE) - Math.floor(log.offset(shared.FLUSHED_OFFSET) / PAGE_SIZE);
    return idleMs >= flushIntervalMs && pages >= flushLeastPages;
  }

  /** @throws MillraceError MILLRACE_STORE_IO; FLAG_FLUSH_FAILED is then set */
  flushTo(appended: number): void {
    const { log, fileSize, drive, directory, clock } = this.#options;
    if ((Atomics.load(log.words, shared.RUNNING_FLAGS) & shared.FLAG_FLUSH_FAILED) !== 0) return;
    try {
      let offset = log.offset(shared.FLUSHED_OFFSET);
      while (offset < appended) {
        const base = offset - (offset % fileSize);
        if (base !== this.#base) {
          this.#file?.close();
          this.#file = drive.openFile(basePath(directory, base), { size: fileSize, writable: true, mapped: false });
          this.#base = base;
          this.#directoryDirty = true;
        }
        if (this.#directoryDirty) {
          drive.names.syncDirectory(directory);
          this.#directoryDirty = false;
        }
        this.#file!.sync();
        offset = Math.min(base + fileSize, appended);
        log.setOffset(shared.FLUSHED_OFFSET, offset);
      }
      this.#lastFlushMs = clock.now();
      this.#lastFlushAtMs = monotonicMs();
    } catch (error) {
      Atomics.or(log.words, shared.RUNNING_FLAGS, shared.FLAG_FLUSH_FAILED);
      throw error instanceof MillraceError
        ? error
        : new MillraceError("MILLRACE_STORE_IO", `flush failed: ${String(error)}`, {}, error);
    }
  }

  /** Once the present file is half full, makes the next one: created, its blocks reserved. */
  #prepareNext(): void {
    const { log, drive, directory, fileSize, clock } = this.#options;
    if (Atomics.load(log.words, shared.PREPARED_STATE) !== shared.PREPARE_NONE) return;
    const base = log.offset(shared.CURRENT_FILE_BASE);
    if (log.offset(shared.APPENDED_OFFSET) - base < fileSize / 2 || clock.now() < this.#prepareAgainMs) return;
    if (
      Atomics.compareExchange(log.words, shared.PREPARED_STATE, shared.PREPARE_NONE, shared.PREPARE_BUSY) !== shared.PREPARE_NONE
    )
      return;
    let state = shared.PREPARE_NONE;
    try {
      if (log.offset(shared.CURRENT_FILE_BASE) !== base) return;
      const path = basePath(directory, base + fileSize);
      const file = drive.openFile(path, { size: fileSize, writable: true, mapped: false });
      try {
        file.reserve();
      } catch (error) {
        file.close();
        drive.names.remove(path); // The blocks that it got are better used by the queues meanwhile.
        throw error;
      }
      this.#directoryDirty = true;
      log.setOffset(shared.PREPARED_BASE, base + fileSize);
      Atomics.store(log.words, shared.PREPARED_FD, file.fd);
      state = shared.PREPARE_READY;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error; // No room: the log writer meets it too, and answers the senders.
      this.#prepareAgainMs = this.#options.clock.now() + PREPARE_RETRY_MS;
    } finally {
      Atomics.store(log.words, shared.PREPARED_STATE, state);
      Atomics.notify(log.words, shared.PREPARED_STATE);
    }
  }

  close(): void {
    this.#file?.close();
  }
}
