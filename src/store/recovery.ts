import path from "node:path";
import { type Checkpoint, decodeCheckpoint } from "../format/checkpoint.ts";
import { BLANK_ENTRY_SIZE, ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../format/consume-queue.ts";
import { RecordParts } from "../format/message.ts";
import type { Drive } from "../os/api.ts";
import { fileExists, listDirectory, readSmallFile, removeFile, removeTree, resizeFile } from "../os/files.ts";
import { type LastExit, lastExit } from "./abort-file.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";
import { basePath, listBases } from "./log-files.ts";
import { LogReader } from "./log-reader.ts";
import { checkedSize, type LogGap, scanLog } from "./log-scan.ts";
import type { StorePaths } from "./store-paths.ts";

export interface RecoveryOptions {
  drive: Drive;
  paths: StorePaths;
  logFileSize: number;
  queueFileSize: number;
  /** Largest possible record, bytes: how far behind a bad one the next good one is looked for. */
  recordSizeMax: number;
}

export interface RecoveredQueue {
  topic: string;
  queueId: number;
  minOffset: number;
  maxOffset: number;
}

export interface RecoveredStore {
  exit: LastExit;
  checkpoint: Checkpoint;
  minPhysicalOffset: number;
  /** End of the last whole record: where appends go on. */
  appendedOffset: number;
  /** Records from here on need entries in their ConsumeQueues. */
  dispatchFrom: number;
  lastStoreTimestamp: number;
  queues: RecoveredQueue[];
  gaps: LogGap[];
  scannedRecords: number;
}

/**
 * Finds the end of the log and the state of the queues, and cuts off a torn end. Runs before the threads
 * start. After a clean stop, or when only the process died, the ConsumeQueues tell a late record boundary to
 * start from; after the machine died only what the checkpoint vouches for is believed.
 * Source: Apache `DefaultMessageStore.recover`, `CommitLog.recoverNormally`, `recoverAbnormally`.
 */
export function recoverStore(options: RecoveryOptions): RecoveredStore {
  const { drive, paths, logFileSize } = options;
  const exit = lastExit(paths.abort);
  const checkpoint = decodeCheckpoint(readSmallFile(paths.checkpoint));
  const bases = listBases(paths.commitLog, logFileSize);
  if (bases.length === 0) {
    removeTree(paths.consumeQueue); // Entries that point at nothing.
    const nothing = { appendedOffset: 0, dispatchFrom: 0, lastStoreTimestamp: 0, queues: [], gaps: [], scannedRecords: 0 };
    return { exit, checkpoint, minPhysicalOffset: 0, ...nothing };
  }
  const first = bases[0]!;
  const limit = bases.at(-1)! + logFileSize;
  const queues = openQueues(options);
  const believedEnd = exit === "machine-died" ? Math.min(checkpoint.logicsPhysicalOffset, limit) : limit;
  const reader = new LogReader(drive, paths.commitLog, logFileSize);
  let dispatchedEnd = 0;
  let mustRebuild = false;
  for (const { queue } of queues) {
    const { first: firstEntry, end } = queue.bounds(believedEnd);
    if (end === firstEntry) continue;
    const physicalEnd = verifiedEnd(reader, queue, end - 1, limit);
    if (physicalEnd < 0) mustRebuild = true;
    else dispatchedEnd = Math.max(dispatchedEnd, physicalEnd);
  }
  const start = Math.max(first, dispatchedEnd);
  const scan = scanLog(reader, start, limit, 2 * options.recordSizeMax);
  reader.close();
  const appendedOffset = Math.max(scan.end, start);
  if (exit !== "clean") cutLog(options, bases, appendedOffset);
  const recovered = queues.map((found) => settleQueue(found, appendedOffset, first));
  return {
    exit,
    checkpoint,
    minPhysicalOffset: first,
    appendedOffset,
    dispatchFrom: mustRebuild ? first : Math.min(start, appendedOffset),
    lastStoreTimestamp: Math.max(scan.lastStoreTimestamp, checkpoint.physicMsgTimestamp),
    queues: recovered,
    gaps: scan.gaps,
    scannedRecords: scan.recordCount,
  };
}

interface FoundQueue {
  topic: string;
  queueId: number;
  queue: ConsumeQueue;
}

function openQueues({ drive, paths, queueFileSize }: RecoveryOptions): FoundQueue[] {
  const found: FoundQueue[] = [];
  for (const topic of listDirectory(paths.consumeQueue)) {
    for (const name of listDirectory(path.join(paths.consumeQueue, topic))) {
      if (!/^\d{1,9}$/.test(name)) continue;
      const queueId = Number(name);
      const queue = new ConsumeQueue(drive, queueDirectory(paths.consumeQueue, topic, queueId), queueFileSize, true);
      found.push({ topic, queueId, queue });
    }
  }
  return found;
}

/** End of the record that the entry points at, or -1 if no such record stands there: the queue's files are damaged. */
function verifiedEnd(reader: LogReader, queue: ConsumeQueue, queueOffset: number, limit: number): number {
  const entry = Buffer.alloc(ENTRY_SIZE);
  queue.read(queueOffset, 1, entry);
  const physicalOffset = entryPhysicalOffset(entry, 0);
  const size = entrySize(entry, 0);
  if (size === BLANK_ENTRY_SIZE) return 0;
  if (reader.file(physicalOffset) === undefined) return 0; // Its log file has been deleted.
  return checkedSize(reader, physicalOffset, limit, new RecordParts()) === size ? physicalOffset + size : -1;
}

/** Empties the log behind its end, so that nothing old can ever be taken for a record again. */
function cutLog({ paths, logFileSize }: RecoveryOptions, bases: number[], end: number): void {
  for (const base of bases) {
    if (base + logFileSize <= end) continue;
    const file = basePath(paths.commitLog, base);
    if (base >= end && base !== bases[0]) removeFile(file);
    else if (fileExists(file)) {
      resizeFile(file, Math.max(0, end - base));
      resizeFile(file, logFileSize);
    }
  }
}

/** Cuts entries that point past the log's end and skips those that point before its start. */
function settleQueue({ topic, queueId, queue }: FoundQueue, logEnd: number, logStart: number): RecoveredQueue {
  const { first, end } = queue.bounds(logEnd);
  const raw = queue.bounds(Number.MAX_SAFE_INTEGER);
  if (raw.end > end) queue.truncate(end);
  let low = first;
  let high = end;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (queue.physicalEnd(middle) <= logStart) low = middle + 1;
    else high = middle;
  }
  queue.sync();
  queue.close();
  return { topic, queueId, minOffset: low, maxOffset: end };
}
