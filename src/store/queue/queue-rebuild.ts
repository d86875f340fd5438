import { MillraceError } from "../../base/errors.ts";
import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import { queueNameFault } from "../../format/names.ts";
import { RecordParts } from "../../format/record/message.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive } from "../../os/api.ts";
import { LogReader } from "../log/log-reader.ts";
import { nextRecord, QUEUES_MAX } from "../log/log-scan.ts";
import type { RecoveredStore } from "../recovery/recovery.ts";
import type { SharedLog } from "../shared-log.ts";
import type { StorePaths } from "../store-paths.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";
import { QueueDispatcher } from "./queue-dispatcher.ts";
import { cutQueue } from "./queue-recovery.ts";
import type { QueueSlots } from "./queue-slots.ts";
import { QueueTails } from "./queue-tails.ts";
import { RebuildOrder } from "./rebuild-order.ts";
import { TopicSlotsTable } from "./topic-slots.ts";

export interface RebuildOptions {
  drive: Drive;
  paths: StorePaths;
  logFileSize: number;
  queueFileSize: number;
  batchQueueFileSize: number;
  /** Whether a topic's queues hold whole batches. */
  isBatch: (topic: string) => boolean;
  slots: QueueSlots;
  /** Records go to the further queues that they name. Default: false. */
  isMultiDispatch?: boolean;
  /** Delay of each level in ms, level 1 first. */
  delayLevelsMs: readonly number[];
  /** Slots of the queues [0, queueCount) of a topic, given out when it has fewer. */
  slotsOf: (topic: string, queueCount: number) => readonly number[];
  /** Told from time to time how much of the log has been gone through. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Makes the queue entries that recovery found missing, with the same code as the queue indexer. A place whose record is
 * lost gets an entry without a message. Before the threads start; the flusher brings the entries to the disk later, for
 * a thousand files that would take seconds.
 */
export function rebuildQueues(recovered: RecoveredStore, options: RebuildOptions): void {
  const { drive, paths, logFileSize, queueFileSize, batchQueueFileSize, slots, delayLevelsMs, slotsOf, isBatch, onProgress } =
    options;
  const { appendedOffset, dispatchFrom, queues, gaps } = recovered;
  const all = new Map<string, readonly number[]>();
  /** By slot. */
  const writtenEnds = new Map<number, number>();
  for (const { topic, queueId, minOffset, maxOffset, entryCount = 0, writtenEnd } of queues) {
    const ofTopic = slotsOf(topic, queueId + 1);
    all.set(topic, ofTopic);
    if (writtenEnd !== undefined) writtenEnds.set(ofTopic[queueId]!, writtenEnd);
    slots.setMinOffset(ofTopic[queueId]!, minOffset);
    slots.setEntryCount(ofTopic[queueId]!, entryCount);
    slots.setWrittenOffset(ofTopic[queueId]!, maxOffset);
    slots.setMaxOffset(ofTopic[queueId]!, maxOffset);
  }
  const reader = new LogReader(drive, paths.commitLog, logFileSize, { looksBehindEnd: true });
  const batch = { root: paths.batchConsumeQueue, fileSize: batchQueueFileSize };
  const table = new TopicSlotsTable(drive, paths.consumeQueue, queueFileSize, true, batch);
  for (const [topic, ofTopic] of all) table.update({ topic, slots: ofTopic, isBatch: isBatch(topic) });
  const order = new RebuildOrder(dispatchFrom === 0);
  const tails = new QueueTails(slots, table);
  const dispatcher = new QueueDispatcher({
    reader,
    topics: table,
    slots,
    tails,
    isMultiDispatch: options.isMultiDispatch === true,
    delayLevelsMs,
    order,
    refreshTopics: (topic, queueId) => {
      if (queueNameFault(topic) !== undefined || queueId >= QUEUES_MAX) return false; // Damage; it would become a path.
      const ofTopic = slotsOf(topic, queueId + 1);
      all.set(topic, ofTopic);
      table.update({ topic, slots: [...ofTopic], isBatch: isBatch(topic) });
      dispatcher.forgetLastTopic();
      return true;
    },
  });
  const parts = new RecordParts();
  let nextGap = 0;
  for (let offset = dispatchFrom; offset < appendedOffset; ) {
    while (nextGap < gaps.length && gaps[nextGap]!.end <= offset) nextGap++;
    const gap = gaps[nextGap];
    if (gap !== undefined && offset >= gap.start) {
      order.addGap(gap.end - Math.max(offset, gap.start));
      offset = gap.end;
      continue;
    }
    const limit = gap?.start ?? appendedOffset;
    const done = dispatcher.dispatch(offset, limit);
    if (dispatcher.isDiskFull) throw new MillraceError("MILLRACE_STORE_FULL", "the disk has no room for the queues", { offset });
    if (done > offset) offset = done;
    else {
      const next = nextRecord(reader, offset + 1, limit, parts);
      order.addGap((next < 0 ? limit : next) - offset);
      offset = next < 0 ? limit : next;
    }
    onProgress?.(offset - dispatchFrom, appendedOffset - dispatchFrom);
  }
  tails.writeOld(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  table.close();
  reader.close();
  if (recovered.exit === "process-died")
    for (const [topic, ofTopic] of all) if (!isBatch(topic)) cutBehind(options, topic, ofTopic, writtenEnds);
  for (const ofTopic of all.values()) for (const slot of ofTopic) slots.setAppendedOffset(slot, slots.maxOffset(slot));
}

/** Entries behind the end would be of records that the log does not have any more: somebody has cut it. */
function cutBehind(
  { drive, paths, queueFileSize, slots }: RebuildOptions,
  topic: string,
  ofTopic: readonly number[],
  writtenEnds: ReadonlyMap<number, number>,
): void {
  const entry = Buffer.alloc(ENTRY_SIZE);
  for (const [queueId, slot] of ofTopic.entries()) {
    const end = slots.maxOffset(slot);
    if (writtenEnds.get(slot) === end) continue;
    const directory = queueDirectory(paths.consumeQueue, topic, queueId);
    const queue = new ConsumeQueue(drive, directory, queueFileSize, false, { isMapped: false });
    const isAnyBehind = queue.read(end, 1, entry) > 0 && entry.some((byte) => byte !== 0);
    queue.close();
    if (isAnyBehind) cutQueue(drive, directory, queueFileSize, end);
  }
}

/** Whether all entries are on the disk: those that a killed process made, or a rebuild, may be in the page cache only. */
export function areQueuesDurable({ exit, damages }: RecoveredStore): boolean {
  return exit === "clean" && damages.length === 0;
}

/** Tells all threads, before they start, where the log begins and ends. */
export function publishRecovered(log: SharedLog, recovered: RecoveredStore): void {
  const { appendedOffset, flushedOffset, minPhysicalOffset, lastStoreTimestamp, checkpoint } = recovered;
  log.setOffset(shared.MIN_OFFSET, minPhysicalOffset);
  for (const cell of [shared.APPENDED_OFFSET, shared.DISPATCHED_OFFSET, shared.QUEUES_WRITTEN_OFFSET])
    log.setOffset(cell, appendedOffset);
  log.setOffset(shared.FLUSHED_OFFSET, flushedOffset);
  log.setOffset(shared.LAST_STORE_TIMESTAMP, lastStoreTimestamp);
  const flushedTimestamp = flushedOffset === appendedOffset ? lastStoreTimestamp : checkpoint.physicMsgTimestamp;
  log.setOffset(shared.FLUSHED_TIMESTAMP, flushedTimestamp);
  const isDurable = areQueuesDurable(recovered);
  const queuesFlushed = isDurable ? appendedOffset : Math.min(appendedOffset, checkpoint.logicsPhysicalOffset);
  log.setOffset(shared.QUEUES_FLUSHED_OFFSET, queuesFlushed);
  log.setOffset(shared.QUEUES_FLUSHED_TIMESTAMP, isDurable ? lastStoreTimestamp : checkpoint.logicsMsgTimestamp);
  log.setOffset(shared.INDEX_DURABLE_TIMESTAMP, checkpoint.indexMsgTimestamp);
}
