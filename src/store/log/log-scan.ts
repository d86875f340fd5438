import { crc32 } from "../../base/crc32.ts";
import {
  BODY_CRC_OFFSET,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  PHYSICAL_OFFSET_OFFSET,
  RECORD_BLANK,
  RECORD_INVALID,
  RecordParts,
  readInt64,
  recordSizeAt,
} from "../../format/record/message.ts";
import { RECORD_CRC_NONE, RECORD_CRC_RIGHT, recordCrcState } from "../../format/record/record-crc.ts";
import type { LogReader } from "./log-reader.ts";

const MAGICS = [MAGIC_V1, MAGIC_V2].map((magic) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(magic);
  return bytes;
});

/** Queues of a topic; larger queueIds are damage. */
export const QUEUES_MAX = 65_536;

/** How much of a record is checked beside sizes and its own physicalOffset. */
export const CHECK_FORM = 0;
/** The CRC of its body. */
export const CHECK_BODY = 1;
/** The checksum of the whole record, where it has one (format/record/record-crc.ts), else the CRC of its body. */
export const CHECK_RECORD = 2;

/** What a broker with these settings compares. */
export function recordCheck(settings: { enabledAppendPropCRC: boolean; forceVerifyPropCRC: boolean }): number {
  return settings.enabledAppendPropCRC || settings.forceVerifyPropCRC ? CHECK_RECORD : CHECK_BODY;
}

/** A stretch of the log in which no record can be read. */
export interface LogGap {
  start: number;
  end: number;
}

export interface LogScanResult {
  /** One past the last whole record. */
  end: number;
  lastStoreTimestamp: number;
  recordCount: number;
  gaps: LogGap[];
}

export interface LogScanOptions {
  /** A record boundary. */
  start: number;
  /** One past the last byte that the log's files have. */
  limit: number;
  /** How far behind a bad record the next good one is looked for, bytes; the start of the next file is tried in any case. */
  searchSize: number;
  /** CHECK_… */
  check: number;
  /** Told from time to time how far the scan has come. */
  onProgress?: (offset: number) => void;
}

/**
 * Walks the log and checks every record: sizes, magic, its own physicalOffset, and what `check` says. Behind a record
 * that cannot be read it looks for the next good one: only what no good record follows is the torn end.
 * Source: Apache `CommitLog.checkMessageAndReturnSize`; unlike it, a hole does not end the log.
 */
export function scanLog(reader: LogReader, options: LogScanOptions): LogScanResult {
  const { start, limit, searchSize, check, onProgress } = options;
  const result: LogScanResult = { end: start, lastStoreTimestamp: 0, recordCount: 0, gaps: [] };
  const parts = new RecordParts();
  let offset = start;
  while (offset < limit) {
    const size = checkedSize(reader, offset, limit, parts, check);
    if (size === RECORD_BLANK) {
      offset = reader.baseOf(offset) + reader.fileSize;
      continue;
    }
    if (size > 0) {
      result.lastStoreTimestamp = readInt64(reader.bytes, parts.storeTimestampAt);
      if ((++result.recordCount & 0xffff) === 0) onProgress?.(offset);
      offset += size;
      result.end = offset;
      continue;
    }
    const next = nextGood(reader, offset, limit, searchSize, parts, check);
    if (next < 0) break;
    result.gaps.push({ start: offset, end: next });
    offset = next;
  }
  return result;
}

/** Where the log goes on behind a record that cannot be read at `offset`: near by, or at the start of a later file. */
function nextGood(
  reader: LogReader,
  offset: number,
  limit: number,
  searchSize: number,
  parts: RecordParts,
  check: number,
): number {
  const fileEnd = reader.baseOf(offset) + reader.fileSize;
  const near = nextRecord(reader, offset + 1, Math.min(fileEnd, offset + searchSize), parts, check);
  if (near >= 0) return near;
  for (let base = fileEnd; base < limit; base += reader.fileSize) {
    const first = nextRecord(reader, base, Math.min(limit, base + searchSize), parts, check);
    if (first >= 0) return first;
  }
  return -1;
}

/** Size of the good record at `offset`, RECORD_BLANK or RECORD_INVALID; leaves it in the reader's window. */
export function checkedSize(
  reader: LogReader,
  offset: number,
  limit: number,
  parts: RecordParts,
  check: number = CHECK_BODY,
): number {
  if (!reader.window(offset, limit)) return RECORD_INVALID;
  if (reader.end - reader.at >= 4) {
    const claimed = reader.bytes.readUInt32BE(reader.at);
    if (claimed > reader.end - reader.at && claimed <= limit - offset) reader.window(offset, limit, claimed);
  }
  const { bytes, at } = reader;
  const size = recordSizeAt(bytes, at, reader.end);
  if (size < 0) return size;
  if (readInt64(bytes, at + PHYSICAL_OFFSET_OFFSET) !== offset) return RECORD_INVALID;
  parts.locate(bytes, at);
  return isIntact(bytes, at, parts, check) ? size : RECORD_INVALID;
}

/** Whether the contents of the record at `at`, which `parts` has located, are what was written. */
export function isIntact(bytes: Buffer, at: number, parts: RecordParts, check: number = CHECK_BODY): boolean {
  // No checksum covers properties. But their text never ends so; a lost block does.
  if (parts.propertiesEnd > parts.propertiesStart && bytes[parts.propertiesEnd - 1] === 0) return false;
  // The field is free of any checksum as well, and a start gives out slots for all queues up to it.
  if (parts.queueId < 0 || parts.queueId >= QUEUES_MAX) return false;
  if (check === CHECK_FORM) return true;
  const state = check === CHECK_RECORD ? recordCrcState(bytes, at, parts.propertiesEnd, parts.propertiesStart) : RECORD_CRC_NONE;
  if (state !== RECORD_CRC_NONE) return state === RECORD_CRC_RIGHT;
  return (crc32(bytes, parts.bodyStart, parts.bodyEnd) & 0x7fff_ffff) === bytes.readUInt32BE(at + BODY_CRC_OFFSET);
}

/** Offset of the first good record in [from, limit), also in the next file; -1 if there is none. */
export function nextRecord(
  reader: LogReader,
  from: number,
  limit: number,
  parts: RecordParts,
  check: number = CHECK_BODY,
): number {
  let offset = from;
  while (offset < limit) {
    if (!reader.window(offset, limit)) return -1;
    const windowStart = offset - reader.at;
    const windowEnd = windowStart + reader.end;
    const found = firstMagic(reader.bytes, reader.at + MAGIC_OFFSET, reader.end);
    if (found < 0) {
      offset = Math.max(windowEnd - 7, offset + 1); // A magic may lie across two windows.
      continue;
    }
    const candidate = windowStart + found - MAGIC_OFFSET;
    if (checkedSize(reader, candidate, reader.baseOf(candidate) + reader.fileSize, parts, check) > 0) return candidate;
    offset = candidate + 1;
  }
  return -1;
}

function firstMagic(bytes: Buffer, from: number, end: number): number {
  let first = -1;
  for (const magic of MAGICS) {
    const view = bytes.subarray(from, end);
    const found = view.indexOf(magic);
    if (found >= 0 && (first < 0 || from + found < first)) first = from + found;
  }
  return first;
}
