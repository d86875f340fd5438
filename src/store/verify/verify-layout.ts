import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { BATCH_ENTRY_SIZE } from "../../format/files/batch-consume-queue.ts";
import { decodeCheckpoint } from "../../format/files/checkpoint.ts";
import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import { type IndexShape, indexFileSize } from "../../format/files/index-file.ts";
import { decodeKnownQueues } from "../../format/files/queue-bounds.ts";
import type { Drive } from "../../os/api.ts";
import { fileExists, fileSize, listDirectory, readSmallFile } from "../../os/files.ts";
import { listIndexFiles } from "../index/key-index.ts";
import { fileName } from "../log/log-files.ts";
import { listCompacted } from "../queue/compacted-queue.ts";
import { queueDirectory } from "../queue/consume-queue.ts";
import { QueueEntries } from "../queue/queue-entries.ts";
import { type LastExit, lastExit } from "../recovery/abort-file.ts";
import { StorePaths } from "../store-paths.ts";
import type { FoundFile } from "./stopped-log.ts";
import type { CompactedFile } from "./verify-compacted.ts";
import type { Findings } from "./verify-findings.ts";

export interface StoreLayoutOptions {
  storePath: string;
  commitLogPath?: string;
  /** Bytes of a log file and of a queue's file. Default: what most files have. */
  logFileSize?: number;
  queueFileSize?: number;
  indexShape: IndexShape;
}

export interface QueueLayout {
  topic: string;
  queueId: number;
  /** Files of the right size, ascending. */
  bases: number[];
}

/** What the directories of a stopped store hold. Plain data: every thread that checks a part is handed it. */
export interface StoreLayout {
  commitLog: string;
  /** Checksums of the log's blocks. */
  checksums: string;
  consumeQueue: string;
  lastExit: LastExit;
  /** The checkpoint's word for it; 0: unknown. */
  queuesFlushedOffset: number;
  logFileSize: number;
  /** Ascending. */
  logFiles: FoundFile[];
  queueFileSize: number;
  queues: QueueLayout[];
  /** Topics whose queues hold whole batches. */
  batchTopics: Set<string>;
  batchConsumeQueue: string;
  batchQueueFileSize: number;
  batchQueues: QueueLayout[];
  indexShape: IndexShape;
  /** Paths of those of the right size, oldest first. */
  indexFiles: string[];
  /** Of compacted topics, also those set aside as damaged. */
  compactedFiles: CompactedFile[];
  /** Topics that the broker knew; undefined: it kept no list. */
  knownTopics: Set<string> | undefined;
  /** Without a clean stop: records from here on get their entries at the next start. Otherwise unlimited. */
  pendingFrom: number;
}

/**
 * Reads the directories of a store, and finds fault with names and sizes. Writes nothing.
 * @throws MillraceError MILLRACE_CONFIG_INVALID when there is no store
 */
export function readLayout(drive: Drive, options: StoreLayoutOptions, findings: Findings): StoreLayout {
  const paths = new StorePaths(options.storePath, options.commitLogPath);
  if (!fileExists(paths.commitLog)) {
    const text = `no store at ${paths.root}: there is no ${paths.commitLog}`;
    throw new MillraceError("MILLRACE_CONFIG_INVALID", text, { storePath: paths.root });
  }
  const logFiles = listFiles(paths.commitLog);
  if (logFiles.at(-1)?.size === 0) logFiles.pop(); // Made when the process died; the next start removes it.
  const logFileSize = options.logFileSize ?? usualSize(logFiles.map(({ size }) => size));
  const found = listQueues(paths.consumeQueue);
  const allSizes = found.flatMap(({ files }) => files.map(({ size }) => size));
  const queueFileSize = options.queueFileSize ?? usualSize(allSizes, (size) => size % ENTRY_SIZE === 0);
  checkFiles(paths.commitLog, logFiles, logFileSize, "log-file", findings);
  const queues = found.map(({ topic, queueId, files }) => {
    checkFiles(queueDirectory(paths.consumeQueue, topic, queueId), files, queueFileSize, "queue-file", findings, {
      topic,
      queueId,
    });
    const bases = files.filter(({ base, size }) => size === queueFileSize && base % queueFileSize === 0).map(({ base }) => base);
    return { topic, queueId, bases };
  });
  const batches = readBatchQueues(paths.batchConsumeQueue, findings);
  const layout: StoreLayout = {
    commitLog: paths.commitLog,
    checksums: paths.checksums,
    consumeQueue: paths.consumeQueue,
    lastExit: lastExit(drive.names, paths.abort),
    queuesFlushedOffset: decodeCheckpoint(readSmallFile(paths.checkpoint)).logicsPhysicalOffset,
    logFileSize,
    logFiles: logFiles.filter(({ base }) => base % logFileSize === 0),
    queueFileSize,
    queues,
    batchTopics: new Set(listDirectory(paths.batchConsumeQueue)),
    batchConsumeQueue: paths.batchConsumeQueue,
    ...batches,
    indexShape: options.indexShape,
    indexFiles: checkedIndexFiles(paths.index, options.indexShape, findings),
    compactedFiles: listCompactedFiles(paths.compaction),
    knownTopics: knownTopics(path.join(paths.config, "topics.json")),
    pendingFrom: Number.MAX_SAFE_INTEGER,
  };
  if (layout.lastExit !== "clean") {
    // Of entries that were being made when the process was killed some may be there and earlier ones not.
    const known = layout.lastExit === "process-died" ? decodeKnownQueues(readSmallFile(paths.queueBounds)) : undefined;
    layout.pendingFrom = Math.min(dispatchedEnd(drive, layout), known?.coveredOffset ?? layout.queuesFlushedOffset);
  }
  return layout;
}

function readBatchQueues(root: string, findings: Findings): Pick<StoreLayout, "batchQueues" | "batchQueueFileSize"> {
  const found = listQueues(root);
  const sizes = found.flatMap(({ files }) => files.map(({ size }) => size));
  const usual = usualSize(sizes, (size) => size % BATCH_ENTRY_SIZE === 0);
  const batchQueueFileSize = usual % BATCH_ENTRY_SIZE === 0 ? usual : BATCH_ENTRY_SIZE;
  const batchQueues = found.map(({ topic, queueId, files }) => {
    const where = { topic, queueId };
    checkFiles(queueDirectory(root, topic, queueId), files, batchQueueFileSize, "queue-file", findings, where);
    const whole = files.filter(({ base, size }) => size === batchQueueFileSize && base % batchQueueFileSize === 0);
    return { topic, queueId, bases: whole.map(({ base }) => base) };
  });
  return { batchQueues, batchQueueFileSize };
}

function listFiles(directory: string): FoundFile[] {
  return listDirectory(directory)
    .filter((name) => /^\d{20}$/.test(name))
    .map((name) => ({ base: Number(name), size: fileSize(path.join(directory, name)) }));
}

/** The size that most have; of two that are as frequent the larger, for files are cut short, not made longer. */
function usualSize(sizes: readonly number[], isPossible: (size: number) => boolean = () => true): number {
  const counts = new Map<number, number>();
  for (const size of sizes) if (size > 0 && isPossible(size)) counts.set(size, (counts.get(size) ?? 0) + 1);
  let usual = ENTRY_SIZE;
  for (const [size, count] of counts) {
    const best = counts.get(usual) ?? 0;
    if (count > best || (count === best && size > usual)) usual = size;
  }
  return usual;
}

function listCompactedFiles(root: string): CompactedFile[] {
  return listQueues(root).flatMap(({ topic, queueId }) => {
    const directory = queueDirectory(root, topic, queueId);
    const { names, damaged } = listCompacted(directory);
    return [...names, ...damaged].map((name) => {
      const file = path.join(directory, name);
      return { topic, queueId, path: file, size: fileSize(file) };
    });
  });
}

interface FoundQueue {
  topic: string;
  queueId: number;
  files: FoundFile[];
}

function listQueues(root: string): FoundQueue[] {
  const found: FoundQueue[] = [];
  for (const topic of listDirectory(root)) {
    for (const name of listDirectory(path.join(root, topic))) {
      if (!/^\d{1,9}$/.test(name)) continue;
      found.push({ topic, queueId: Number(name), files: listFiles(path.join(root, topic, name)) });
    }
  }
  return found;
}

function checkFiles(
  directory: string,
  files: readonly FoundFile[],
  fileSizeWanted: number,
  kind: "log-file" | "queue-file",
  findings: Findings,
  where: { topic?: string; queueId?: number } = {},
): void {
  let before: number | undefined;
  for (const { base, size } of files) {
    const file = path.join(directory, fileName(base));
    if (size !== fileSizeWanted) {
      findings.add({ kind, text: `${file} has ${size} bytes instead of ${fileSizeWanted}`, file, ...where });
    }
    if (base % fileSizeWanted !== 0) {
      findings.add({ kind, text: `${file}: its name is no multiple of the file size ${fileSizeWanted}`, file, ...where });
    } else if (before !== undefined && base !== before + fileSizeWanted) {
      const count = (base - before) / fileSizeWanted - 1;
      const text = `${count} files are missing between ${fileName(before)} and ${fileName(base)} in ${directory}`;
      findings.add({ kind, text, file: path.join(directory, fileName(before + fileSizeWanted)), count, ...where });
    }
    before = base;
  }
}

function checkedIndexFiles(directory: string, shape: IndexShape, findings: Findings): string[] {
  const wanted = indexFileSize(shape);
  return listIndexFiles(directory).filter((file) => {
    const size = fileSize(file);
    if (size === wanted) return true;
    const advice = "give maxHashSlotNum and maxIndexNum as the broker has them, if they are not the default";
    findings.add({ kind: "index-file", text: `${file} has ${size} bytes instead of ${wanted}: ${advice}`, file });
    return false;
  });
}

/** Names in the broker's topic table. A topic that is not there was removed, and its records wait in the log to be deleted. */
function knownTopics(file: string): Set<string> | undefined {
  try {
    const table = JSON.parse(readSmallFile(file)?.toString("utf8") ?? "") as { topicConfigTable?: Record<string, unknown> };
    return new Set(Object.keys(table.topicConfigTable ?? {}));
  } catch {
    return undefined;
  }
}

/** End of the newest record that any queue has an entry of. Entries are made in the order of the log. */
function dispatchedEnd(drive: Drive, layout: StoreLayout): number {
  let end = 0;
  for (const queue of layout.queues) {
    const entries = new QueueEntries(drive, layout, queue);
    const last = entries.last();
    if (last >= 0 && entries.load(last)) end = Math.max(end, entries.physicalOffset + entries.size);
    entries.close();
  }
  return end;
}
