import { BATCH_ENTRY_SIZE } from "../../format/files/batch-consume-queue.ts";
import {
  QUEUE_OFFSET_OFFSET,
  RECORD_SIZE_MIN,
  RecordParts,
  readInt64,
  recordSizeAt,
  SYS_FLAG_INNER_BATCH,
} from "../../format/record/message.ts";
import { decodeProperties, PROPERTY } from "../../format/record/properties.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { BatchConsumeQueue } from "../queue/batch-consume-queue.ts";
import { queueDirectory } from "../queue/consume-queue.ts";
import { StoppedLog } from "./stopped-log.ts";
import type { FindingKind, Findings } from "./verify-findings.ts";
import type { QueueLayout, StoreLayout } from "./verify-layout.ts";
import type { OnVerified } from "./verify-log.ts";
import type { VerifiedQueues } from "./verify-queues.ts";

/** A queue of whole batches as a stopped store has it. */
export function openBatchQueue(drive: Drive, layout: StoreLayout, { topic, queueId }: QueueLayout): BatchConsumeQueue {
  const directory = queueDirectory(layout.batchConsumeQueue, topic, queueId);
  return new BatchConsumeQueue(drive, directory, layout.batchQueueFileSize, false, false);
}

/** First and last entry number of the queue's files, `end` exclusive; zeros at their end are no entries. */
export function batchEntryRange(queue: BatchConsumeQueue, { bases }: QueueLayout): { first: number; end: number } {
  const first = (bases[0] ?? 0) / BATCH_ENTRY_SIZE;
  let low = first;
  for (let high = bases.length === 0 ? first : bases.at(-1)! / BATCH_ENTRY_SIZE + queue.entriesPerFile; low < high; ) {
    const middle = Math.floor((low + high) / 2);
    if (queue.load(middle) && queue.size > 0) low = middle + 1;
    else high = middle;
  }
  return { first, end: low };
}

/** Checks each entry of the queues of whole batches against the log. Writes nothing. */
export function verifyBatches(drive: Drive, layout: StoreLayout, findings: Findings, onVerified: OnVerified): VerifiedQueues {
  const log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
  const result: VerifiedQueues = { entryCount: 0, expiredCount: 0 };
  const logStart = layout.logFiles[0]?.base ?? 0;
  const parts = new RecordParts();
  let fileCount = 0;
  for (const layoutQueue of layout.batchQueues) {
    const { topic, queueId } = layoutQueue;
    const queue = openBatchQueue(drive, layout, layoutQueue);
    const { first, end } = batchEntryRange(queue, layoutQueue);
    let lastPhysicalOffset = -1;
    let lastEnd = 0;
    for (let index = first; index < end && queue.load(index); index++) {
      result.entryCount++;
      const { physicalOffset, baseOffset, endOffset } = queue;
      let fault: Fault | undefined;
      if (physicalOffset >= 0 && physicalOffset < logStart) result.expiredCount++;
      else fault = targetFault(log, queue, parts, topic, queueId);
      if (fault === undefined && (physicalOffset <= lastPhysicalOffset || baseOffset < lastEnd || endOffset <= baseOffset))
        fault = {
          kind: "queue-entry-order",
          text: `with messages ${baseOffset} to ${endOffset}, behind an entry that ends at ${lastEnd}`,
        };
      if (fault === undefined) {
        lastPhysicalOffset = physicalOffset;
        lastEnd = endOffset;
        continue;
      }
      const position = index * BATCH_ENTRY_SIZE;
      const file = basePath(queue.directory, position - (position % layout.batchQueueFileSize));
      const text = `entry ${index} of ${topic}/${queueId} points at physicalOffset ${physicalOffset}, ${fault.text}`;
      findings.add({ kind: fault.kind, text, file, physicalOffset, topic, queueId, queueOffset: baseOffset });
    }
    queue.close();
    fileCount += layoutQueue.bases.length;
    onVerified(fileCount * layout.batchQueueFileSize, result.entryCount);
  }
  log.close();
  return result;
}

interface Fault {
  kind: FindingKind;
  text: string;
}

/** What is wrong with the record that the loaded entry points at. */
function targetFault(
  log: StoppedLog,
  { physicalOffset, size, baseOffset, endOffset }: BatchConsumeQueue,
  parts: RecordParts,
  topic: string,
  queueId: number,
): Fault | undefined {
  if (size < RECORD_SIZE_MIN || !log.load(physicalOffset, size) || recordSizeAt(log.bytes, log.at, log.end) !== size)
    return { kind: "queue-entry-record", text: `where no whole record of ${size} bytes stands` };
  const { bytes, at } = log;
  parts.locate(bytes, at);
  const foundTopic = bytes.toString("utf8", parts.topicStart, parts.topicEnd);
  if (foundTopic !== topic)
    return { kind: "queue-entry-topic", text: `at a record whose topic is ${JSON.stringify(foundTopic)}` };
  if (parts.queueId !== queueId) return { kind: "queue-entry-queue", text: `at a record whose queueId is ${parts.queueId}` };
  const foundOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET);
  if (foundOffset !== baseOffset)
    return { kind: "queue-entry-offset", text: `at a record whose queueOffset is ${foundOffset}, not ${baseOffset}` };
  const isBatch = (parts.sysFlag & SYS_FLAG_INNER_BATCH) !== 0;
  const properties = isBatch ? bytes.toString("utf8", parts.propertiesStart, parts.propertiesEnd) : "";
  const count = isBatch ? Number(decodeProperties(properties).get(PROPERTY.INNER_NUM)) : 1;
  if (count === endOffset - baseOffset) return undefined;
  return { kind: "queue-entry-size", text: `at a record of ${count} messages, not ${endOffset - baseOffset}` };
}
