import { INDEX_ENTRY_SIZE } from "../../format/files/index-file.ts";
import type { Drive, DriveName } from "../../os/api.ts";
import { verifyBatches } from "./verify-batches.ts";
import { type VerifiedBlocks, verifyBlocks } from "./verify-blocks.ts";
import { type VerifiedCompacted, verifyCompacted } from "./verify-compacted.ts";
import { Findings } from "./verify-findings.ts";
import { type VerifiedIndexFile, verifyIndexFile } from "./verify-index.ts";
import type { StoreLayout } from "./verify-layout.ts";
import { type OnVerified, verifyLogPart } from "./verify-log.ts";
import { LOG_PART_SIZE, type LogPart, logParts, type VerifiedLogPart } from "./verify-log-parts.ts";
import type { MarkRanges } from "./verify-marks.ts";
import { type VerifiedQueues, verifyQueues } from "./verify-queues.ts";

/** What every thread that verifies is handed once. */
export interface VerifyInit {
  drive: DriveName;
  layout: StoreLayout;
  marks: MarkRanges;
  /** Float64: at 2 * task the bytes that the task has done, behind it its records or entries. Written by the task's thread only. */
  progress: SharedArrayBuffer;
}

/** A part of the store that one thread checks. */
export type VerifyTask =
  | ({ kind: "log"; id: number } & LogPart)
  | { kind: "queues"; id: number; first: number; end: number }
  | { kind: "batches"; id: number }
  | { kind: "index"; id: number; fileIndex: number }
  | { kind: "compacted"; id: number; fileIndex: number };

export interface VerifyTaskResult {
  findings: Pick<Findings, "list" | "counts">;
  log?: VerifiedLogPart;
  blocks?: VerifiedBlocks;
  queues?: VerifiedQueues;
  index?: VerifiedIndexFile;
  compacted?: VerifiedCompacted;
}

/** Files of queues in one task. */
const BATCH_FILES = 32;

/** Cuts the work into parts: the log first, for the others need its marks. */
export function verifyTasks(layout: StoreLayout, logPartSize: number = LOG_PART_SIZE): VerifyTask[] {
  const { queues, batchQueues, indexFiles, compactedFiles } = layout;
  const tasks: VerifyTask[] = logParts(layout, logPartSize).map((part, id) => ({ kind: "log", id, ...part }));
  for (let first = 0, end = 0; first < queues.length; first = end) {
    for (let count = 0; end < queues.length && count < BATCH_FILES; end++) count += Math.max(1, queues[end]!.bases.length);
    tasks.push({ kind: "queues", id: tasks.length, first, end });
  }
  if (batchQueues.length > 0) tasks.push({ kind: "batches", id: tasks.length });
  for (const fileIndex of indexFiles.keys()) tasks.push({ kind: "index", id: tasks.length, fileIndex });
  for (const fileIndex of compactedFiles.keys()) tasks.push({ kind: "compacted", id: tasks.length, fileIndex });
  return tasks;
}

/** Bytes that the task goes through at most, for a progress bar. */
export function taskSize(layout: StoreLayout, task: VerifyTask): number {
  switch (task.kind) {
    case "log":
      return task.end - task.start;
    case "queues":
      return layout.queues.slice(task.first, task.end).reduce((sum, { bases }) => sum + bases.length * layout.queueFileSize, 0);
    case "batches":
      return layout.batchQueues.reduce((sum, { bases }) => sum + bases.length * layout.batchQueueFileSize, 0);
    case "index":
      return layout.indexShape.entryCount * INDEX_ENTRY_SIZE;
    case "compacted":
      return layout.compactedFiles[task.fileIndex]!.size;
  }
}

/** Runs one task to its end, in any thread. Writes nothing to the store. */
export function runVerifyTask(drive: Drive, init: VerifyInit, task: VerifyTask): VerifyTaskResult {
  const { layout, marks } = init;
  const done = new Float64Array(init.progress, 16 * task.id, 2);
  const onVerified: OnVerified = (bytes, count) => {
    done[0] = bytes;
    done[1] = count;
  };
  const findings = new Findings();
  const result: VerifyTaskResult = { findings: { list: findings.list, counts: findings.counts } };
  let count = 0;
  switch (task.kind) {
    case "log":
      result.log = verifyLogPart(drive, layout, marks, task, findings, onVerified);
      result.blocks = verifyBlocks(drive, layout, task, findings);
      count = result.log.recordCount;
      break;
    case "queues":
      result.queues = verifyQueues(drive, layout, marks, task.first, task.end, findings, onVerified);
      count = result.queues.entryCount;
      break;
    case "batches":
      result.queues = verifyBatches(drive, layout, findings, onVerified);
      count = result.queues.entryCount;
      break;
    case "index":
      result.index = verifyIndexFile(drive, layout, marks, task.fileIndex, findings, onVerified);
      count = result.index.entryCount;
      break;
    case "compacted":
      result.compacted = verifyCompacted(drive, layout.compactedFiles[task.fileIndex]!, findings, onVerified);
      count = result.compacted.messageCount;
  }
  onVerified(taskSize(layout, task), count);
  return result;
}
