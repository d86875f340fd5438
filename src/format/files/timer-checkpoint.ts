import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * The file config/timercheck, 4096 bytes of big-endian longs. Apache's broker knows the first 56 bytes:
 *   0 lastReadTime ms, 8 lastTimerLogFlushPosition, 16 lastTimerQueueOffset, 24 masterTimerQueueOffset,
 *   32 stateVersion, 40 timestamp, 48 counter
 * They hold after a crash of the machine. Behind them stands where a process that has ended was, for the next one:
 *   128 magic, 136 readTime ms, 144 queueOffset, 152 end of the timer log, 160 first position of the slot being read that
 *   is not delivered (-1: all of it), 168 length of the clock's step, ms, 176 when that one is due, ms: those due before it,
 *   and those due with it that stand before it, are delivered
 * Source: Apache `TimerCheckpoint`.
 */
export const TIMER_CHECK_SIZE = 4096;
/** What GET_TIMER_CHECK_POINT answers. */
export const TIMER_CHECK_SHOWN = 56;
const PROGRESS = 128;
const PROGRESS_MAGIC = 0x6d69_6c74;

export interface TimerCheck {
  readTimeMs: number;
  logEnd: number;
  queueOffset: number;
  timestampMs: number;
  counter: number;
}

export interface TimerProgress {
  readTimeMs: number;
  queueOffset: number;
  logEnd: number;
  firstUndelivered: number;
  stepMs: number;
  firstDueMs: number;
}

export function writeTimerCheck(bytes: Buffer, check: TimerCheck): void {
  writeInt64(bytes, check.readTimeMs, 0);
  writeInt64(bytes, check.logEnd, 8);
  writeInt64(bytes, check.queueOffset, 16);
  writeInt64(bytes, check.queueOffset, 24);
  writeInt64(bytes, 0, 32);
  writeInt64(bytes, check.timestampMs, 40);
  writeInt64(bytes, check.counter, 48);
}

export function readTimerCheck(bytes: Buffer): TimerCheck {
  return {
    readTimeMs: readInt64(bytes, 0),
    logEnd: readInt64(bytes, 8),
    queueOffset: Math.min(readInt64(bytes, 16), readInt64(bytes, 24)),
    timestampMs: readInt64(bytes, 40),
    counter: readInt64(bytes, 48),
  };
}

export function writeTimerProgress(bytes: Buffer, progress: TimerProgress): void {
  writeInt64(bytes, PROGRESS_MAGIC, PROGRESS);
  writeInt64(bytes, progress.readTimeMs, PROGRESS + 8);
  writeInt64(bytes, progress.queueOffset, PROGRESS + 16);
  writeInt64(bytes, progress.logEnd, PROGRESS + 24);
  writeInt64(bytes, progress.firstUndelivered, PROGRESS + 32);
  writeInt64(bytes, progress.stepMs, PROGRESS + 40);
  writeInt64(bytes, progress.firstDueMs, PROGRESS + 48);
}

/** undefined: the file is not ours, or from a start that got nowhere. */
export function readTimerProgress(bytes: Buffer): TimerProgress | undefined {
  if (readInt64(bytes, PROGRESS) !== PROGRESS_MAGIC) return undefined;
  return {
    readTimeMs: readInt64(bytes, PROGRESS + 8),
    queueOffset: readInt64(bytes, PROGRESS + 16),
    logEnd: readInt64(bytes, PROGRESS + 24),
    firstUndelivered: readInt64(bytes, PROGRESS + 32),
    stepMs: readInt64(bytes, PROGRESS + 40),
    firstDueMs: readInt64(bytes, PROGRESS + 48),
  };
}
