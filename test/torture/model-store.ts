// The storage layer's threads, run by turns in one thread, on a model disk.
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { VirtualClock } from "../../src/base/clock.ts";
import { crc32 } from "../../src/base/crc32.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../src/format/files/consume-queue.ts";
import { type DecodedMessage, decodeMessage, encodeMessage } from "../../src/format/record/message.ts";
import * as shared from "../../src/format/shared/shared-words.ts";
import { createIndexFeedMemory } from "../../src/ring/index-feed.ts";
import { ACK_OK, createLaneMemory, LaneProducer } from "../../src/ring/lane.ts";
import { FlusherDuty, QueueIndexerDuty } from "../../src/runtime/duties.ts";
import type { EngineInit } from "../../src/store/engine-init.ts";
import { LogReader } from "../../src/store/log/log-reader.ts";
import { CHECK_BODY, CHECK_RECORD, scanLog } from "../../src/store/log/log-scan.ts";
import { LogWriter } from "../../src/store/log/log-writer.ts";
import { batchFileSizeFor } from "../../src/store/queue/batch-consume-queue.ts";
import { ConsumeQueue, queueDirectory } from "../../src/store/queue/consume-queue.ts";
import { areQueuesDurable, publishRecovered, rebuildQueues } from "../../src/store/queue/queue-rebuild.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../src/store/queue/queue-slots.ts";
import { writeAbortFile } from "../../src/store/recovery/abort-file.ts";
import { CheckpointWriter } from "../../src/store/recovery/checkpoint-writer.ts";
import { type RecoveredStore, recoverStore } from "../../src/store/recovery/recovery.ts";
import { SharedLog } from "../../src/store/shared-log.ts";
import { StorePaths } from "../../src/store/store-paths.ts";
import { StoppedLog } from "../../src/store/verify/stopped-log.ts";
import { uncheckedBytes, verifyBlocks } from "../../src/store/verify/verify-blocks.ts";
import { Findings } from "../../src/store/verify/verify-findings.ts";
import { type ModelDisk, PowerCut } from "./model-disk.ts";
import { must } from "./scenario.ts";

export const TOPIC = "T";
export const QUEUE_COUNT = 3;
export const LOG_FILE_SIZE = 24_576;
export const LOG_DIRECTORY = "/store/commitlog";
const QUEUE_FILE_SIZE = 400;
const RECORD_SIZE_MAX = 8192;
const PATHS = new StorePaths("/store");
const HOST = "127.0.0.1:1";
/** One for all: it is large, and most of it is never touched. */
const slotsMemory = createQueueSlotsMemory();
/** Slots that the last store used. */
let slotCount = QUEUE_COUNT;

export interface Stored {
  id: number;
  body: Buffer;
  queueId: number;
  queueOffset: number;
  physicalOffset: number;
}

interface RecoveredModel {
  recovered: RecoveredStore;
  log: SharedLog;
  slots: QueueSlots;
  slotsOf: (topic: string, queueCount: number) => number[];
  sizes: { logFileSize: number; queueFileSize: number; batchQueueFileSize: number };
}

/** The first part of a start: what is there, before any thread begins. Good until the next one. */
export function recoverModel(disk: ModelDisk, isSyncFlush: boolean, hasRecordCrc = false): RecoveredModel {
  new Float64Array(slotsMemory.cells).fill(0, 0, 4 * slotCount);
  new Int32Array(slotsMemory.waiters).fill(0, 0, slotCount);
  new Float64Array(slotsMemory.written).fill(0, 0, slotCount);
  slotCount = QUEUE_COUNT;
  const slots = new QueueSlots(slotsMemory);
  const log = new SharedLog();
  const slotsByTopic = new Map([[TOPIC, Array.from({ length: QUEUE_COUNT }, (_, queueId) => queueId)]]);
  const slotsOf = (topic: string, queueCount: number): number[] => {
    const ofTopic = slotsByTopic.get(topic) ?? [];
    while (ofTopic.length < queueCount) ofTopic.push(slotCount++);
    slotsByTopic.set(topic, ofTopic);
    return ofTopic;
  };
  const batchQueueFileSize = batchFileSizeFor(QUEUE_FILE_SIZE);
  const sizes = { logFileSize: LOG_FILE_SIZE, queueFileSize: QUEUE_FILE_SIZE, batchQueueFileSize };
  const common = { drive: disk, paths: PATHS, ...sizes, isBatch: () => false };
  const check = hasRecordCrc ? CHECK_RECORD : CHECK_BODY;
  const recovered = recoverStore({ ...common, isSyncFlush, recordSizeMax: RECORD_SIZE_MAX, check });
  rebuildQueues(recovered, { ...common, slots, delayLevelsMs: [], slotsOf });
  publishRecovered(log, recovered);
  return { recovered, log, slots, slotsOf, sizes };
}

/** What the checksums of the log's blocks say of a store that nobody writes. */
export function verifyModelBlocks(disk: ModelDisk): Pick<Findings, "list"> & { uncheckedBytes: number } {
  const logFiles = disk.filesUnder(LOG_DIRECTORY).map((file) => ({ base: Number(file.slice(-20)), size: disk.names.size(file) }));
  const layout = { commitLog: LOG_DIRECTORY, checksums: PATHS.checksums, logFileSize: LOG_FILE_SIZE, logFiles };
  const findings = new Findings();
  const reader = new StoppedLog(disk, LOG_DIRECTORY, LOG_FILE_SIZE, logFiles);
  const { end } = scanLog(reader, {
    start: logFiles[0]?.base ?? 0,
    limit: logFiles.length === 0 ? 0 : logFiles.at(-1)!.base + LOG_FILE_SIZE,
    searchSize: 2 * RECORD_SIZE_MAX,
    check: CHECK_BODY,
  });
  let unchecked = 0;
  for (const [fileIndex, { base }] of logFiles.entries()) {
    const part = { fileIndex, start: base, end: base + LOG_FILE_SIZE };
    unchecked += uncheckedBytes(verifyBlocks(disk, layout, part, findings), Math.min(end, part.end));
  }
  return { list: findings.list, uncheckedBytes: unchecked };
}

/** One life of a store: from a recovery to a kill, a power cut or a clean stop. */
export class ModelStore {
  readonly recovered: RecoveredStore;
  readonly log: SharedLog;
  readonly slots: QueueSlots = new QueueSlots(slotsMemory);
  readonly clock: VirtualClock;
  readonly #disk: ModelDisk;
  readonly #paths = PATHS;
  readonly #producer: LaneProducer;
  readonly #writer: LogWriter;
  readonly #indexer: QueueIndexerDuty;
  readonly #flusher: FlusherDuty;
  readonly #ports: MessagePort[] = [];
  readonly #checkpoint: CheckpointWriter;
  readonly #waiting = new Map<number, Omit<Stored, "queueOffset" | "physicalOffset">>();
  /** Appended, and by now in the log, in its order. */
  readonly appended: Stored[] = [];

  /** Recovers the store as `Engine` does. @param hasRecordCrc as enabledAppendPropCRC */
  constructor(disk: ModelDisk, isSyncFlush: boolean, nowMs: number, hasRecordCrc = false) {
    this.#disk = disk;
    this.clock = new VirtualClock(nowMs);
    const { recovered, log, slotsOf, sizes } = recoverModel(disk, isSyncFlush, hasRecordCrc);
    this.recovered = recovered;
    this.log = log;
    const paths = this.#paths;
    const topics = new Map([[TOPIC, slotsOf(TOPIC, QUEUE_COUNT)]]);
    const { checkpoint } = this.recovered;
    const common = { drive: disk, paths, ...sizes, log: this.log, slots: this.slots, clock: this.clock, checkpoint };
    this.#checkpoint = new CheckpointWriter({ ...common, topics: () => topics });
    this.#checkpoint.work();
    this.#checkpoint.noteQueues();
    writeAbortFile(disk.names, paths.abort);
    const lane = createLaneMemory({ entryCount: 64, dataSize: 65_536 });
    const init: EngineInit = {
      drive: disk.name,
      storePath: paths.root,
      commitLogPath: paths.commitLog,
      ...sizes,
      shared: this.log.memory,
      queueSlots: slotsMemory,
      lanes: [lane],
      wakeRings: [undefined],
      queueFeed: createIndexFeedMemory(128),
      keyFeed: undefined,
      writerLane: -1,
      dedupWindow: undefined,
      clock: this.clock.shared,
      isSyncFlush,
      hasRecordCrc,
      checksumBytesPerSecond: 1_048_576,
      flushIntervalMs: 100,
      flushLeastPages: 1,
      flushThoroughIntervalMs: 1000,
      queueFlushIntervalMs: 100,
      queueFlushLeastPages: 0,
      queueFlushThoroughIntervalMs: 300,
      tailMsMax: nowMs % 2 === 0 ? 0 : 2000, // At once, or not in such a short life.
      delayLevelsMs: [],
      queueExtFileSize: 0,
      isLmq: false,
      isMultiDispatch: false,
      isIndexed: false,
      indexSlotCount: 1,
      indexEntryCount: 2,
    };
    this.#producer = new LaneProducer(lane);
    this.#writer = new LogWriter(init, disk, -1);
    this.#indexer = new QueueIndexerDuty(init, disk, this.#topicsPort());
    this.#flusher = new FlusherDuty(
      { engine: init, topics: this.#topicsPort(), checkpoint, isDurable: areQueuesDurable(this.recovered) },
      disk,
    );
  }

  #topicsPort(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage({ topic: TOPIC, slots: Array.from({ length: QUEUE_COUNT }, (_, queueId) => queueId) });
    this.#ports.push(port1, port2);
    return port2;
  }

  /** Hands a message to the log writer. */
  send(id: number, queueId: number, body: Buffer): void {
    const bodyCrc = crc32(body, 0, body.length);
    const rest = { flag: id, sysFlag: 0, bornTimestamp: 1, bornHost: HOST, storeHost: HOST, reconsumeTimes: 0 };
    const properties = `TAGS\u0001tag${id % 7}\u0002`;
    const record = encodeMessage({ topic: TOPIC, queueId, body, bodyCrc, properties, preparedTransactionOffset: 0, ...rest });
    const at = this.#producer.reserve(record.length);
    if (at < 0) return;
    record.copy(this.#producer.data, at);
    this.#producer.commit(record.length, id, queueId, 1, 0);
    this.#producer.publish();
    this.#waiting.set(id, { id, body, queueId });
  }

  write(): void {
    this.#writer.work();
    for (let ready = this.#producer.acksReady(); ready > 0; ready--) {
      const id = this.#producer.takeAck();
      if (this.#disk.isCut) throw new PowerCut("the power is gone");
      must(this.#producer.ackStatus === ACK_OK, `message ${id} was refused`);
      const { ackQueueOffset: queueOffset, ackPhysicalOffset: physicalOffset } = this.#producer;
      this.appended.push({ ...this.#waiting.get(id)!, queueOffset, physicalOffset });
    }
    this.#producer.releaseAcks();
  }

  index(): void {
    this.#indexer.work();
  }

  flush(): void {
    this.#flusher.work();
  }

  /** Size of the record at the offset. */
  sizeAt(physicalOffset: number): number {
    const reader = new LogReader(this.#disk, this.#paths.commitLog, LOG_FILE_SIZE);
    return reader.record(physicalOffset, this.log.offset(shared.APPENDED_OFFSET))!.length;
  }

  note(): void {
    this.#checkpoint.noteQueues();
  }

  /** How many of `appended` a sender may have been told of. */
  ackedCount(isSyncFlush: boolean): number {
    if (!isSyncFlush) return this.appended.length;
    const flushed = this.log.offset(shared.FLUSHED_OFFSET);
    const first = this.appended.findIndex(({ physicalOffset }) => physicalOffset >= flushed);
    return first < 0 ? this.appended.length : first;
  }

  /** A clean stop. */
  stop(): void {
    while (this.#writer.work());
    this.write();
    this.#writer.close();
    while (this.#flusher.work());
    while (this.#indexer.work());
    this.#indexer.close();
    this.#flusher.close();
    this.#checkpoint.finish();
    this.#disk.names.remove(this.#paths.abort);
    this.#disk.names.syncDirectory(this.#paths.root);
    this.end();
  }

  /** No more of this life. */
  end(): void {
    for (const port of this.#ports) port.close();
  }

  /** What a consumer would get of the queue from `from` on: by queueOffset. Places without a message are left out. */
  read(queueId: number, from: number): Map<number, DecodedMessage> {
    const queue = new ConsumeQueue(this.#disk, queueDirectory(this.#paths.consumeQueue, TOPIC, queueId), QUEUE_FILE_SIZE, false, {
      tail: { slots: this.slots, slot: queueId },
    });
    const reader = new LogReader(this.#disk, this.#paths.commitLog, LOG_FILE_SIZE);
    const limit = this.log.offset(shared.APPENDED_OFFSET);
    const found = new Map<number, DecodedMessage>();
    const entry = Buffer.alloc(ENTRY_SIZE);
    for (let offset = Math.max(from, this.slots.minOffset(queueId)); offset < this.slots.maxOffset(queueId); offset++) {
      must(queue.read(offset, 1, entry) === 1, `queue ${queueId} has no file for entry ${offset}`);
      const size = entrySize(entry, 0);
      if (size === 0x7fff_ffff) continue;
      const record = reader.record(entryPhysicalOffset(entry, 0), limit);
      must(record !== undefined && record.length === size, () => `entry ${queueId}/${offset} points at no record`);
      const message = decodeMessage(record);
      must(message.queueId === queueId && message.queueOffset === offset, `entry ${queueId}/${offset} points at another message`);
      must((crc32(message.body, 0, message.body.length) & 0x7fff_ffff) === message.bodyCrc, `${queueId}/${offset} is torn`);
      found.set(offset, message);
    }
    return found;
  }
}
