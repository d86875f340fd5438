import { type Checkpoint, decodeCheckpoint } from "../../format/files/checkpoint.ts";
import { decodeKnownQueues, type KnownQueues, type QueueBounds } from "../../format/files/queue-bounds.ts";
import { RECORD_BLANK, RecordParts } from "../../format/record/message.ts";
import type { Drive } from "../../os/api.ts";
import { cutChecksums } from "../log/checksum-files.ts";
import { basePath, listBases, repairBases } from "../log/log-files.ts";
import { LogReader } from "../log/log-reader.ts";
import { CHECK_BODY, CHECK_FORM, checkedSize, type LogGap, scanLog } from "../log/log-scan.ts";
import { BatchQueueRecovery, type InspectedBatchQueue } from "../queue/batch-queue-recovery.ts";
import { type InspectedQueue, listQueues, QueueRecovery } from "../queue/queue-recovery.ts";
import type { StorePaths } from "../store-paths.ts";
import { type LastExit, lastExit } from "./abort-file.ts";

export interface RecoveryOptions {
  drive: Drive;
  paths: StorePaths;
  logFileSize: number;
  queueFileSize: number;
  batchQueueFileSize: number;
  /** Whether a topic's queues hold whole batches. */
  isBatch: (topic: string) => boolean;
  /** Largest possible record, bytes: how far behind a bad one the next good one is looked for. */
  recordSizeMax: number;
  /** What of each record is compared: CHECK_… of log-scan.ts. Default CHECK_BODY. */
  check?: number;
  /** SYNC_FLUSH: what the log has is on the disk on return, also where only the process died. */
  isSyncFlush: boolean;
  /** Told from time to time how much of the log has been scanned. */
  onProgress?: (done: number, total: number) => void;
}

export interface RecoveredQueue {
  topic: string;
  queueId: number;
  minOffset: number;
  maxOffset: number;
  /** Of a queue of whole batches: its entries. */
  entryCount?: number;
  /** Entries from maxOffset to here are written, and this one is not; undefined: nobody has looked. */
  writtenEnd?: number;
}

export interface RecoveredStore {
  exit: LastExit;
  checkpoint: Checkpoint;
  minPhysicalOffset: number;
  /** End of the last whole record: where appends go on. */
  appendedOffset: number;
  /** Below it the log is on the disk. The flusher brings the rest there: it may be gigabytes. */
  flushedOffset: number;
  /** Records from here on need entries in their ConsumeQueues. */
  dispatchFrom: number;
  lastStoreTimestamp: number;
  queues: RecoveredQueue[];
  /** Queues of which entries have to be made again, with the reason. */
  damages: { topic: string; queueId: number; damage: string }[];
  gaps: LogGap[];
  /** Bytes at the end of the log that are cut off although checksums tell that they were once there: not torn, but damaged. */
  lostSize: number;
  scannedRecords: number;
}

/**
 * Finds the end of the log and the state of the queues, and cuts off a torn end. Runs before the threads start.
 *
 * How much of the queues is believed depends on the last stop: all after a clean one; what was dispatched when the
 * bounds were last written, if only the process died; what the checkpoint vouches for, if the machine died. The log
 * is scanned from the last record that a believed entry points at. Source: Apache `DefaultMessageStore.recover`,
 * `CommitLog.recoverNormally`, `recoverAbnormally`.
 */
export function recoverStore(options: RecoveryOptions): RecoveredStore {
  const { drive, paths, logFileSize, check = CHECK_BODY, onProgress } = options;
  const { names } = drive;
  const exit = lastExit(names, paths.abort);
  const checkpoint = decodeCheckpoint(names.readSmall(paths.checkpoint));
  const bases = (exit === "clean" ? listBases : repairBases)(names, paths.commitLog, logFileSize);
  if (bases.length === 0) {
    for (const root of [paths.consumeQueue, paths.batchConsumeQueue, paths.checksums]) names.removeTree(root); // Entries that point at nothing.
    const nothing = {
      appendedOffset: 0,
      flushedOffset: 0,
      dispatchFrom: 0,
      lastStoreTimestamp: 0,
      queues: [],
      damages: [],
      gaps: [],
      lostSize: 0,
    };
    return { exit, checkpoint, minPhysicalOffset: 0, ...nothing, scannedRecords: 0 };
  }
  const logStart = bases[0]!;
  const logLimit = bases.at(-1)! + logFileSize;
  const known = knownQueues(options, exit, checkpoint);
  const believedEnd = Math.min(logLimit, believedEndOf(exit, checkpoint, known));
  const reader = new LogReader(drive, paths.commitLog, logFileSize, { looksBehindEnd: true });
  const where = { drive, reader, logStart, logLimit, believedEnd };
  const { queueFileSize, batchQueueFileSize } = options;
  const { consumeQueue, batchConsumeQueue } = paths;
  const isCacheLost = exit === "machine-died";
  const looksBehind = exit === "process-died";
  const plain = new QueueRecovery({ ...where, consumeQueue, queueFileSize, isCacheLost, looksBehind, check });
  const batches = new BatchQueueRecovery({ ...where, batchConsumeQueue, batchQueueFileSize });
  const queues = inspectAll(options, plain, batches, known, logStart);
  const lastEnd = queues.reduce((end, { physicalEnd }) => Math.max(end, physicalEnd), logStart);
  const damaged = queues.filter(({ damage }) => damage !== undefined);
  // Later entries are in no list: should one be missing, nothing tells. Queues are not written in the order of the log.
  const covered = known?.coveredOffset ?? checkpoint.logicsPhysicalOffset;
  const coveredEnd = exit === "process-died" ? Math.max(logStart, Math.min(lastEnd, covered)) : lastEnd;
  const dispatchFrom = damaged.reduce((from, { physicalEnd }) => Math.min(from, physicalEnd), coveredEnd);
  const scan = scanLog(reader, {
    start: dispatchFrom,
    limit: logLimit,
    searchSize: 2 * options.recordSizeMax,
    check,
    onProgress: (offset) => onProgress?.(offset - dispatchFrom, logLimit - dispatchFrom),
  });
  const appendedOffset = Math.max(scan.end, lastEnd);
  const isFileEnd =
    appendedOffset < logLimit && checkedSize(reader, appendedOffset, logLimit, new RecordParts(), CHECK_FORM) === RECORD_BLANK;
  reader.close();
  const cutSize = cutChecksums(names, paths.checksums, logFileSize, logStart, appendedOffset);
  let flushedOffset = appendedOffset;
  if (exit !== "clean") {
    cutLog(options, bases, appendedOffset);
    const durableEnd = Math.min(dispatchFrom, checkpoint.logicsPhysicalOffset);
    if (exit === "machine-died" || options.isSyncFlush) syncLog(options, bases, durableEnd, appendedOffset);
    else flushedOffset = Math.max(logStart, Math.min(durableEnd, appendedOffset));
  }
  return {
    exit,
    checkpoint,
    minPhysicalOffset: logStart,
    appendedOffset,
    flushedOffset,
    dispatchFrom,
    lastStoreTimestamp: Math.max(scan.lastStoreTimestamp, checkpoint.physicMsgTimestamp),
    queues: queues.map((queue) => {
      const { topic, queueId, minOffset, end: maxOffset, writtenEnd } = queue;
      const behind = writtenEnd === undefined ? {} : { writtenEnd };
      return {
        topic,
        queueId,
        minOffset,
        maxOffset,
        ...behind,
        ...("entryCount" in queue ? { entryCount: queue.entryCount } : {}),
      };
    }),
    damages: damaged.map(({ topic, queueId, damage }) => ({ topic, queueId, damage: damage! })),
    gaps: scan.gaps,
    lostSize: isFileEnd ? 0 : cutSize,
    scannedRecords: scan.recordCount,
  };
}

/** What the queues held when they were last written down, unless another broker has run since. */
function knownQueues({ drive, paths }: RecoveryOptions, exit: LastExit, checkpoint: Checkpoint): KnownQueues | undefined {
  if (exit === "machine-died") return undefined;
  const known = decodeKnownQueues(drive.names.readSmall(paths.queueBounds));
  const isOurs = exit === "process-died" || known?.physicMsgTimestamp === checkpoint.physicMsgTimestamp;
  return isOurs || checkpoint.physicMsgTimestamp === 0 ? known : undefined;
}

function believedEndOf(exit: LastExit, checkpoint: Checkpoint, known: KnownQueues | undefined): number {
  if (exit === "machine-died") return checkpoint.logicsPhysicalOffset;
  return exit === "process-died" && known !== undefined ? known.dispatchedOffset : Number.MAX_SAFE_INTEGER;
}

function inspectAll(
  { drive, paths, isBatch }: RecoveryOptions,
  plain: QueueRecovery,
  batches: BatchQueueRecovery,
  known: KnownQueues | undefined,
  logStart: number,
): (InspectedQueue | InspectedBatchQueue)[] {
  const missing = new Map<string, QueueBounds>();
  for (const queue of known?.queues ?? []) {
    if (queue.maxOffset > queue.minOffset) missing.set(`${queue.topic}/${queue.queueId}`, queue);
  }
  const inspect = (topic: string, queueId: number): InspectedQueue | InspectedBatchQueue => {
    const name = `${topic}/${queueId}`;
    const bounds = missing.get(name);
    missing.delete(name);
    return (isBatch(topic) ? batches : plain).inspect(topic, queueId, bounds);
  };
  const { names } = drive;
  const present = [
    ...listQueues(names, paths.consumeQueue).filter(({ topic }) => !isBatch(topic)),
    ...listQueues(names, paths.batchConsumeQueue).filter(({ topic }) => isBatch(topic)),
  ];
  const found = present.map(({ topic, queueId }) => inspect(topic, queueId));
  for (const { topic, queueId } of [...missing.values()]) {
    if (isBatch(topic)) found.push(inspect(topic, queueId));
    else found.push({ topic, queueId, end: 0, minOffset: 0, physicalEnd: logStart, damage: "its files are missing" });
  }
  return found;
}

/** Empties the log behind its end, so that nothing old can ever be taken for a record again; on return the disk has it so. */
function cutLog({ drive, paths, logFileSize }: RecoveryOptions, bases: number[], end: number): void {
  const { names } = drive;
  for (const base of bases) {
    if (base + logFileSize <= end) continue;
    const file = basePath(paths.commitLog, base);
    if (base >= end && base !== bases[0]) names.remove(file);
    else {
      names.resize(file, Math.max(0, end - base));
      names.resize(file, logFileSize);
    }
  }
}

/** What is taken for appended must not be lost by the next power cut: producers may have been told that it is stored. */
function syncLog({ drive, paths, logFileSize }: RecoveryOptions, bases: number[], from: number, end: number): void {
  for (const base of bases) {
    if (base + logFileSize <= from || (base >= end && base !== bases[0])) continue;
    const file = drive.openFile(basePath(paths.commitLog, base), { size: logFileSize, writable: true, mapped: false });
    file.sync();
    file.close();
  }
  drive.names.syncDirectory(paths.commitLog);
}
