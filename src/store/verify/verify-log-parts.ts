import type { Finding } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";

/** Bytes of a log file that one task checks: large stores of few files keep all processors busy as well. */
export const LOG_PART_SIZE = 268_435_456;

/** A stretch of one log file, in offsets of the log; `start` is no record boundary but in a file's first part. */
export interface LogPart {
  fileIndex: number;
  start: number;
  end: number;
}

/** What was found in one part. Plain data. */
export interface VerifiedLogPart extends LogPart {
  /** The first record that starts in it; -1: none. */
  first: number;
  /** Where the log goes on behind it, a good record of a later part; -1: nowhere in this file. */
  next: number;
  recordCount: number;
  /** One past its last good record; `start` without any. */
  lastEnd: number;
  /** Whether the marker was found that says that the log goes on in the next file. */
  isClosed: boolean;
  /** Bytes behind its last record that are no record and not zeros, and no record follows. */
  tail: Finding | undefined;
  /** Records whose entries the next start makes, since the last stop was not a clean one. */
  pendingCount: number;
  /** Records of topics that were removed, or removed and made again. */
  removedCount: number;
}

/** What was found in one log file. */
export interface VerifiedLogFile {
  base: number;
  recordCount: number;
  /** One past its last good record; `base` without any. */
  end: number;
  /** Whether the marker stands behind its last record that says that the log goes on in the next file. */
  isClosed: boolean;
  /** Bytes behind `end` that are no record and not zeros: the torn end of the log, or a fault, if the log goes on. */
  tail: Finding | undefined;
  pendingCount: number;
  removedCount: number;
}

/** Parts of all log files, in order. @param partSize about so many bytes each */
export function logParts({ logFiles }: StoreLayout, partSize: number): LogPart[] {
  return logFiles.flatMap(({ base, size }, fileIndex) => {
    const count = Math.max(1, Math.round(size / partSize));
    const starts = Array.from({ length: count }, (_, i) => base + Math.floor((size * i) / count));
    return starts.map((start, i) => ({ fileIndex, start, end: starts[i + 1] ?? base + size }));
  });
}

/**
 * Puts the parts of one file together.
 * @returns undefined when one does not begin where the one before found the log to go on: a message's body may look
 *   like a record. The file has to be checked as one part then
 */
export function joinParts(parts: readonly VerifiedLogPart[]): VerifiedLogFile | undefined {
  const base = parts[0]!.start;
  const file: VerifiedLogFile = {
    base,
    recordCount: 0,
    end: base,
    isClosed: false,
    tail: undefined,
    pendingCount: 0,
    removedCount: 0,
  };
  let next = parts[0]!.first;
  for (const part of parts) {
    const isNextHere = next >= 0 && next < part.end;
    if (part.first !== (isNextHere ? next : -1)) return undefined;
    if (part.recordCount > 0) file.end = part.lastEnd;
    file.recordCount += part.recordCount;
    file.pendingCount += part.pendingCount;
    file.removedCount += part.removedCount;
    file.isClosed ||= part.isClosed;
    file.tail ??= part.tail;
    if (isNextHere) next = part.next;
  }
  return file;
}
