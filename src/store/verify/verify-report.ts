import { basePath } from "../log/log-files.ts";
import { uncheckedBytes } from "./verify-blocks.ts";
import { type Finding, type FindingKind, Findings } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";
import { joinParts, type VerifiedLogFile } from "./verify-log-parts.ts";
import type { VerifyTaskResult } from "./verify-task.ts";

/** What is known of a store after all of it was looked at. Plain data, as `millrace verify --json` prints it. */
export interface VerifyReport {
  storePath: string;
  isClean: boolean;
  lastExit: StoreLayout["lastExit"];
  logStart: number;
  /** One past the last record. */
  logEnd: number;
  logFileCount: number;
  recordCount: number;
  queueCount: number;
  entryCount: number;
  /** Entries of records that were deleted with their log files. */
  expiredEntryCount: number;
  indexFileCount: number;
  indexEntryCount: number;
  /** Of compacted topics. */
  compactedFileCount: number;
  compactedMessageCount: number;
  /** Without a clean stop: records whose entries the next start makes, and bytes of a torn record that it cuts off. */
  pendingRecordCount: number;
  tornBytes: number;
  /** Records in the log of topics that were removed since. */
  removedTopicRecordCount: number;
  /** Of the log: compared with the checksums of its blocks; without any; and, of these, with ones from before another broker wrote there. */
  blockCheckedBytes: number;
  blockUncheckedBytes: number;
  blockRewrittenBytes: number;
  findingCounts: Partial<Record<FindingKind, number>>;
  /** At most FINDINGS_MAX; findingCounts counts all. */
  findings: Finding[];
}

/** Puts the parts together, which join, and finds fault with what only shows across them. */
export function reportOf(
  storePath: string,
  layout: StoreLayout,
  findings: Findings,
  results: readonly VerifyTaskResult[],
): VerifyReport {
  const parts = results.flatMap(({ log: part }) => part ?? []);
  const log = layout.logFiles.map((_, i) => joinParts(parts.filter(({ fileIndex }) => fileIndex === i))!);
  const blocks = results.flatMap((result) => result.blocks ?? []);
  const unchecked = results.map(({ log: part, blocks: of }) =>
    part === undefined || of === undefined ? 0 : uncheckedBytes(of, log[part.fileIndex]!.end),
  );
  const queues = results.flatMap(({ queues: batch }) => batch ?? []);
  const index = results.flatMap(({ index: file }) => file ?? []);
  const logStart = layout.logFiles[0]?.base ?? 0;
  const logEnd = log.reduce((end, file) => (file.recordCount > 0 ? Math.max(end, file.end) : end), logStart);
  for (const result of results) findings.addAll(result.findings);
  const tornBytes = checkEnds(layout, log, findings);
  for (const { file, entryCount, endPhysicalOffset } of index) {
    if (entryCount === 0 || endPhysicalOffset < logEnd) continue;
    const text = `${file}: its last record is at physicalOffset ${endPhysicalOffset}, but the log ends at ${logEnd}`;
    findings.add({ kind: "index-header", text, file, physicalOffset: endPhysicalOffset });
  }
  if (layout.queuesFlushedOffset > logEnd) {
    const text = `the checkpoint knows of records up to physicalOffset ${layout.queuesFlushedOffset}, but the log ends at ${logEnd}`;
    findings.add({ kind: "checkpoint", text, physicalOffset: layout.queuesFlushedOffset });
  }
  const sum = <T>(parts: readonly T[], count: (part: T) => number): number =>
    parts.reduce((total, part) => total + count(part), 0);
  return {
    storePath,
    isClean: findings.total === 0,
    lastExit: layout.lastExit,
    logStart,
    logEnd,
    logFileCount: log.length,
    recordCount: sum(log, (file) => file.recordCount),
    queueCount: layout.queues.length + layout.batchQueues.length,
    entryCount: sum(queues, (batch) => batch.entryCount),
    expiredEntryCount: sum(queues, (batch) => batch.expiredCount),
    indexFileCount: index.length,
    indexEntryCount: sum(index, (file) => file.entryCount),
    compactedFileCount: layout.compactedFiles.length,
    compactedMessageCount: sum(results, ({ compacted }) => compacted?.messageCount ?? 0),
    pendingRecordCount: sum(log, (file) => file.pendingCount),
    tornBytes,
    removedTopicRecordCount: sum(log, (file) => file.removedCount),
    blockCheckedBytes: sum(blocks, ({ checkedBytes }) => checkedBytes),
    blockUncheckedBytes: sum(unchecked, (bytes) => bytes),
    blockRewrittenBytes: sum(blocks, ({ rewrittenBytes }) => rewrittenBytes),
    findingCounts: findings.counts,
    findings: findings.list,
  };
}

/**
 * Only the last file with records may end without a marker, and only a store that was not stopped cleanly with a
 * torn record. @returns bytes of that record
 */
function checkEnds(layout: StoreLayout, log: readonly VerifiedLogFile[], findings: Findings): number {
  let tornBytes = 0;
  const lastWritten = log.findLastIndex(({ recordCount, tail }) => recordCount > 0 || tail !== undefined);
  for (const [i, file] of log.entries()) {
    const isLast = i >= lastWritten;
    const { base, end, tail, isClosed } = file;
    if (tail !== undefined) {
      if (isLast && layout.lastExit !== "clean") tornBytes = base + layout.logFiles[i]!.size - end;
      else findings.add({ ...tail, text: `${tail.text}; nothing that can be read follows in this file` });
    } else if (!isLast && !isClosed) {
      const path = basePath(layout.commitLog, base);
      const text = `${path} ends at physicalOffset ${end} without the marker that closes a file, though the log goes on in the next`;
      findings.add({ kind: "log-end", text, file: path, physicalOffset: end });
    }
  }
  return tornBytes;
}
