import { MillraceError } from "../../base/errors.ts";
import { CHECKSUM_BLOCK_SIZE, LogChecksumTable } from "../../format/files/log-checksums.ts";
import type { FileNames } from "../../os/api.ts";
import { basePath } from "./log-files.ts";

/** First offsets of the log files that have checksums, ascending. */
export function checksumBases(names: FileNames, directory: string, logFileSize: number): number[] {
  const found = names.list(directory).filter((name) => /^\d{20}$/.test(name));
  return found.map(Number).filter((base) => base % logFileSize === 0);
}

/**
 * Before anything is cut off the log: forgets the checksums of what is not in [start, end), on the disk on return. Others
 * will stand there, and a checksum of what stood there before would call them damaged. A file that cannot be read, or has
 * no room to be written, is removed.
 * @returns bytes behind `end` that had one: they were once on the disk as they were to be
 */
export function cutChecksums(names: FileNames, directory: string, logFileSize: number, start: number, end: number): number {
  let cutSize = 0;
  let isRemoved = false;
  for (const base of checksumBases(names, directory, logFileSize)) {
    const file = basePath(directory, base);
    if (base >= start && base + logFileSize <= end) continue;
    const table = readTable(names, file, base, logFileSize);
    const cut = base >= start && table !== undefined ? clearBehind(table, end - base) : 0;
    cutSize += cut;
    if (base >= start && base < end && table !== undefined && (cut === 0 || isWritten(names, file, table))) continue;
    names.remove(file);
    isRemoved = true;
  }
  if (isRemoved) names.syncDirectory(directory);
  return cutSize;
}

function readTable(names: FileNames, file: string, base: number, logFileSize: number): LogChecksumTable | undefined {
  try {
    return LogChecksumTable.decode(names.readSmall(file), base, logFileSize);
  } catch (error) {
    if (error instanceof MillraceError) return undefined; // The log can be read without.
    throw error;
  }
}

/** @returns false: a full disk, say, takes no more of the table than it has; a start must not fail for that */
function isWritten(names: FileNames, file: string, table: LogChecksumTable): boolean {
  try {
    names.writeSmall(file, table.bytes);
    return true;
  } catch (error) {
    if (error instanceof MillraceError) return false;
    throw error;
  }
}

/** A block that is covered only in part from now on has no checksum: it would have to be made of what may be damaged. */
function clearBehind(table: LogChecksumTable, position: number): number {
  let cutSize = 0;
  for (let block = Math.max(0, Math.floor(position / CHECKSUM_BLOCK_SIZE)); block < table.blockCount; block++) {
    const covered = block * CHECKSUM_BLOCK_SIZE + table.coveredSize(block);
    if (table.coveredSize(block) === 0 || covered <= position) continue;
    cutSize += covered - Math.max(position, block * CHECKSUM_BLOCK_SIZE);
    table.clear(block);
  }
  return cutSize;
}
