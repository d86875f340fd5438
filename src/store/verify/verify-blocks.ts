import { nativeCrc32 } from "../../base/crc32.ts";
import { flippedBit } from "../../base/flipped-bit.ts";
import { CHECKSUM_BLOCK_SIZE, LogChecksumTable } from "../../format/files/log-checksums.ts";
import { RecordParts, readInt64 } from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { CHECK_FORM, checkedSize, type LogGap, nextRecord } from "../log/log-scan.ts";
import { recordAround, recordStart } from "./record-around.ts";
import { type FoundFile, StoppedLog } from "./stopped-log.ts";
import type { Finding, Findings } from "./verify-findings.ts";
import type { LogPart } from "./verify-log-parts.ts";

/** What the checksums say of a part of a log file. Plain data. */
export interface VerifiedBlocks {
  /** Compared, right or wrong. */
  checkedBytes: number;
  /** Where there is no checksum, in the log's offsets, ascending; also behind the end of the log. */
  gaps: LogGap[];
  /** In gaps, though with a checksum: another broker has written there since. */
  rewrittenBytes: number;
}

export interface BlocksLayout {
  commitLog: string;
  logFileSize: number;
  logFiles: readonly FoundFile[];
  /** Where the checksums lie. */
  checksums: string;
}

/** Records of a damaged block that a finding lists. */
const RECORDS_MAX = 100;

/** Compares the blocks that begin in the part with their checksums (format/files/log-checksums.ts). Writes nothing. */
export function verifyBlocks(drive: Drive, layout: BlocksLayout, part: LogPart, findings: Findings): VerifiedBlocks {
  const { commitLog, logFileSize, logFiles, checksums } = layout;
  const { base } = logFiles[part.fileIndex]!;
  const result: VerifiedBlocks = { checkedBytes: 0, gaps: [], rewrittenBytes: 0 };
  const table = LogChecksumTable.decode(drive.names.readSmall(basePath(checksums, base)), base, logFileSize);
  if (table === undefined) {
    result.gaps.push({ start: part.start, end: part.end });
    return result;
  }
  const log = new StoppedLog(drive, commitLog, logFileSize, logFiles);
  const end = Math.min(table.blockCount, Math.ceil((part.end - base) / CHECKSUM_BLOCK_SIZE));
  try {
    for (let block = Math.ceil((part.start - base) / CHECKSUM_BLOCK_SIZE); block < end; block++) {
      const start = base + block * CHECKSUM_BLOCK_SIZE;
      let size = table.coveredSize(block);
      const isThere = size === 0 || log.load(start, size);
      if (!isThere || (size > 0 && nativeCrc32(log.bytes, log.at, log.end) !== table.crc(block))) {
        const finding = blockFault(log, table, block, isThere);
        if (finding !== undefined) findings.add({ ...finding, file: basePath(commitLog, base) });
        else {
          result.rewrittenBytes += size;
          size = 0;
        }
      }
      result.checkedBytes += size;
      addGap(result.gaps, start + size, start + table.blockSize(block));
    }
    return result;
  } finally {
    log.close();
  }
}

function addGap(gaps: LogGap[], start: number, end: number): void {
  if (start === end) return;
  const last = gaps.at(-1);
  if (last?.end === start) last.end = end;
  else gaps.push({ start, end });
}

/** How much of the log, which ends in that file at `end`, lies in gaps. */
export function uncheckedBytes({ gaps }: VerifiedBlocks, end: number): number {
  return gaps.reduce((sum, gap) => sum + Math.max(0, Math.min(gap.end, end) - gap.start), 0);
}

/** Names what has changed; undefined: nothing was damaged, another broker has written there since. */
function blockFault(log: StoppedLog, table: LogChecksumTable, block: number, isThere: boolean): Finding | undefined {
  const start = table.base + block * CHECKSUM_BLOCK_SIZE;
  const size = table.coveredSize(block);
  const where = `the block of ${size} bytes at physicalOffset ${start}`;
  if (!isThere) return { kind: "log-block", text: `${where} is not all there`, physicalOffset: start };
  const flip = flippedBit(log.bytes, log.at, log.end, table.crc(block));
  if (flip !== undefined) {
    const byteOffset = start + flip.at - log.at;
    const found = log.bytes[flip.at]!;
    const was = `it is 0x${found.toString(16)} and was 0x${(found ^ flip.mask).toString(16)}`;
    const record = recordAround(log, byteOffset, { at: byteOffset, mask: flip.mask });
    const place = { byteOffset, bit: flip.mask };
    if (record === undefined)
      return {
        kind: "log-block",
        text: `one bit of the byte at physicalOffset ${byteOffset}, which is in no record, was flipped: ${was}`,
        physicalOffset: byteOffset,
        ...place,
      };
    const { physicalOffset, topic, queueId, queueOffset, field } = record;
    const text =
      `one bit of byte ${byteOffset - physicalOffset} (${field}) of the record at physicalOffset ${physicalOffset}, ` +
      `queueOffset ${queueOffset} of ${topic}/${queueId}, was flipped: ${was}`;
    return { kind: "log-block", text, physicalOffset, topic, queueId, queueOffset, ...place };
  }
  const { records, storedMs } = recordsIn(log, start, start + size);
  if (isRewritten(storedMs, table.coveredAt(block))) return undefined;
  const who =
    records.length === 0
      ? "no record can be read in it"
      : `its ${records.length} records start at physicalOffset ${records[0]} to ${records.at(-1)}`;
  const text = `${where} has changed since it was written, by more than one bit: ${who}`;
  return { kind: "log-block", text, physicalOffset: start, records: records.slice(0, RECORDS_MAX) };
}

/** Those that have bytes in [start, end), also the one before it that reaches into it; and when they, and the one behind, were stored. */
function recordsIn(log: StoppedLog, start: number, end: number): { records: number[]; storedMs: number[] } {
  const limit = log.endAt(start);
  const parts = new RecordParts();
  const records: number[] = [];
  const storedMs: number[] = [];
  const before = recordStart(log, start);
  let offset = before >= 0 ? before : start;
  while (offset >= 0 && offset < limit) {
    const size = checkedSize(log, offset, limit, parts, CHECK_FORM);
    if (size > 0 && offset + size > start) {
      storedMs.push(readInt64(log.bytes, parts.storeTimestampAt));
      if (offset >= end) break;
      records.push(offset);
    }
    offset = size > 0 ? offset + size : nextRecord(log, offset + 1, Math.min(limit, end), parts, CHECK_FORM);
  }
  return { records, storedMs };
}

/**
 * Whether another broker has cut the log within the block, or before it, and gone on: then all records from some one on
 * are younger than the checksum, and in order. With more than one bit flipped in its time one record may look so, but not
 * all to the end, and the last one is hardly older than the one behind it, which may well be younger.
 */
function isRewritten(storedMs: readonly number[], coveredAt: number): boolean {
  const isYounger = (ms: number): boolean => Math.floor(ms / 1000) > coveredAt;
  const first = storedMs.findIndex(isYounger);
  const isInOrder = (ms: number, i: number, all: readonly number[]): boolean => isYounger(ms) && ms >= (all[i - 1] ?? ms);
  return first >= 0 && storedMs.slice(first).every(isInOrder) && (first === 0 || storedMs.length - first > 1);
}
