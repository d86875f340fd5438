import path from "node:path";
import {
  readTimerCheck,
  readTimerProgress,
  TIMER_CHECK_SIZE,
  type TimerCheck,
  writeTimerCheck,
  writeTimerProgress,
} from "../../format/files/timer-checkpoint.ts";
import { WHEEL_SLOTS } from "../../format/files/timer-slot.ts";
import * as unit from "../../format/files/timer-unit.ts";
import { readInt64 } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import type { LastExit } from "../recovery/abort-file.ts";
import type { StorePaths } from "../store-paths.ts";
import { TimerLog } from "./timer-log.ts";
import { TimerWheel } from "./timer-wheel.ts";

export interface TimerFilesOptions {
  drive: Drive;
  paths: StorePaths;
  logFileSize: number;
  stepMs: number;
  exit: LastExit;
  nowMs: number;
}

/** What is to become durable: it counts once the log is on the disk up to `logEnd` of the messages. */
interface PendingCheck extends TimerCheck {
  appendedOffset: number;
}

/**
 * The timer's files, and how far it is. What was read out of the wheel and put into the log may be lost with the machine
 * until the log is on the disk; so two places are kept: one that holds if only the process dies, one that always holds.
 */
export class TimerFiles {
  readonly log: TimerLog;
  readonly wheel: TimerWheel;
  readonly #checkFile: StoreFile;
  readonly #check: Buffer = Buffer.alloc(TIMER_CHECK_SIZE);
  readonly #stepMs: number;
  #pending: PendingCheck | undefined;
  #durable: TimerCheck;
  /** The slot that is read next; all before it are done. */
  readTime: number;
  /** Of the timer topic: next entry to be taken. */
  queueOffset: number;
  /** In the slot `readTime`: what is due before `firstDueMs`, or then and stands before this position, is delivered; -1: nothing is. */
  firstUndelivered: number;
  firstDueMs: number;
  /** Messages in the wheel. */
  waiting: number;

  /** @throws MillraceError MILLRACE_STORE_… */
  constructor({ drive, paths, logFileSize, stepMs, exit, nowMs }: TimerFilesOptions) {
    this.#stepMs = stepMs;
    const isNew = !drive.names.exists(path.join(paths.root, "timerwheel"));
    const checkPath = path.join(paths.config, "timercheck");
    this.log = new TimerLog(drive, path.join(paths.root, "timerlog"), logFileSize);
    this.wheel = new TimerWheel(drive, path.join(paths.root, "timerwheel"));
    this.#checkFile = drive.openFile(checkPath, { size: TIMER_CHECK_SIZE, writable: true, mapped: false });
    this.#checkFile.read(0, this.#check, 0, TIMER_CHECK_SIZE);
    const check = readTimerCheck(this.#check);
    const progress = exit === "machine-died" ? undefined : readTimerProgress(this.#check);
    const isStepChanged = progress !== undefined && progress.stepMs !== stepMs;
    this.#durable = check;
    const present = Math.floor(nowMs / stepMs);
    const readTimeMs = progress?.readTimeMs ?? check.readTimeMs;
    // A machine that died before anything was noted: what is taken again passes through the wheel, or recalls would come too late.
    const first = exit === "machine-died" ? Math.max(0, present - WHEEL_SLOTS / 4) : present;
    this.readTime = readTimeMs === 0 ? first : Math.floor(readTimeMs / stepMs);
    this.queueOffset = progress?.queueOffset ?? check.queueOffset;
    this.firstUndelivered = isStepChanged ? -1 : (progress?.firstUndelivered ?? -1);
    this.firstDueMs = progress?.firstDueMs ?? 0;
    // A store of Apache's broker, or one whose machine died, says less: the log counts as far as it was on the disk.
    this.log.cut(Math.min(this.log.end, progress?.logEnd ?? check.logEnd));
    this.waiting = isNew || isStepChanged ? 0 : this.wheel.load(this.readTime);
    if (isStepChanged) this.wheel.clear();
    if (exit !== "clean" || isNew || isStepChanged) this.#mend(isNew || isStepChanged ? this.log.first : check.logEnd);
    this.saveProgress(this.firstUndelivered, this.firstDueMs); // What a process before this one wrote down need not hold any more.
  }

  /** The wheel is as of some flush, the log's end is known: what is beyond it leaves the wheel, what it lacks enters. */
  #mend(from: number): void {
    for (const time of this.wheel.times()) {
      if (this.wheel.last(time) < this.log.end) continue;
      // Nothing stands there any more that could be followed: the slot is made anew from the log.
      const count = this.wheel.count(time);
      this.wheel.remove(time);
      this.waiting -= count;
      from = this.log.first;
    }
    for (let position = Math.max(from, this.log.first); ; position += unit.UNIT_SIZE) {
      position = this.log.placeAt(position);
      const found = this.log.read(position);
      if (found === undefined || !unit.isUnit(found.bytes, found.at)) return;
      const { bytes, at } = found;
      const dueMs = readInt64(bytes, at + unit.UNIT_WRITE_TIME) + bytes.readInt32BE(at + unit.UNIT_DELAY);
      const time = Math.floor(dueMs / this.#stepMs);
      if (time < this.readTime || this.wheel.last(time) >= position) continue;
      const added = unit.countsAsWaiting(bytes.readUInt32BE(at + unit.UNIT_MAGIC)) ? 1 : 0;
      this.wheel.add(time, position, added);
      this.waiting += added;
    }
  }

  /** For the next process, should only this one die. */
  saveProgress(firstUndelivered: number, firstDueMs: number): void {
    this.firstUndelivered = firstUndelivered;
    this.firstDueMs = firstDueMs;
    const stepMs = this.#stepMs;
    const { queueOffset } = this;
    const readTimeMs = this.readTime * stepMs;
    writeTimerProgress(this.#check, { readTimeMs, queueOffset, logEnd: this.log.end, firstUndelivered, stepMs, firstDueMs });
    this.#checkFile.write(128, this.#check, 128, 256);
  }

  /**
   * Brings all to the disk that may be there.
   * @param appendedOffset end of the messages' log now; @param flushedOffset its end on the disk
   */
  flush(nowMs: number, appendedOffset: number, flushedOffset: number): void {
    if (this.#pending !== undefined) {
      if (flushedOffset < this.#pending.appendedOffset) return;
      writeTimerCheck(this.#check, this.#pending);
      this.#checkFile.write(0, this.#check, 0, TIMER_CHECK_SIZE);
      this.#checkFile.sync();
      this.#durable = this.#pending;
      this.#pending = undefined;
      this.#removeDone();
    }
    const readTimeMs = this.readTime * this.#stepMs;
    const { queueOffset, log } = this;
    const isSame = readTimeMs === this.#durable.readTimeMs && queueOffset === this.#durable.queueOffset;
    if (isSame && log.end === this.#durable.logEnd) return;
    log.sync();
    this.wheel.flush(Math.floor(this.#durable.readTimeMs / this.#stepMs));
    const counter = this.#durable.counter + 1;
    this.#pending = { readTimeMs, logEnd: log.end, queueOffset, timestampMs: nowMs, counter, appendedOffset };
  }

  /** Files of the log whose units are all done: none of them can have been due later than a window after the last one was written. */
  #removeDone(): void {
    const oldest = this.log.firstFile();
    const last = oldest === undefined ? undefined : this.log.read(oldest.lastUnit);
    if (last === undefined || !unit.isUnit(last.bytes, last.at)) return;
    const writtenMs = readInt64(last.bytes, last.at + unit.UNIT_WRITE_TIME);
    if (writtenMs + 2 ** 31 < this.#durable.readTimeMs) this.log.removeFirstFile();
  }

  /** The 56 bytes that GET_TIMER_CHECK_POINT answers. */
  shown(): Buffer {
    const bytes = Buffer.alloc(TIMER_CHECK_SIZE);
    writeTimerCheck(bytes, this.#pending ?? this.#durable);
    return bytes.subarray(0, 56);
  }

  close(): void {
    this.log.sync();
    this.wheel.flush(this.readTime);
    this.#checkFile.sync();
    this.log.close();
    this.wheel.close();
    this.#checkFile.close();
  }
}
