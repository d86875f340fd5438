import type { Worker } from "node:worker_threads";
import type { Clock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Log } from "../observe/log.ts";
import type { Drive, FileLock } from "../os/api.ts";
import { chooseDrive, type DriveId } from "../os/choose.ts";
import { makeDirectory } from "../os/files.ts";
import { BATCH_KERNEL_SIZE } from "../remoting/send/batch-kernel.ts";
import { sendKernelSize } from "../remoting/send/send-kernel.ts";
import { createIndexFeedMemory } from "../ring/index-feed.ts";
import { createLaneMemory } from "../ring/lane.ts";
import { createWakeRingMemory } from "../ring/wake-ring.ts";
import type { EngineInit } from "../store/engine-init.ts";
import { createDedupWindowMemory } from "../store/log/dedup-window.ts";
import { batchFileSizeFor } from "../store/queue/batch-consume-queue.ts";
import { areQueuesDurable, publishRecovered, rebuildQueues } from "../store/queue/queue-rebuild.ts";
import { createQueueSlotsMemory, QueueSlots } from "../store/queue/queue-slots.ts";
import { removeAbortFile, writeAbortFile } from "../store/recovery/abort-file.ts";
import { CheckpointWriter, NOTE_QUEUES_MS } from "../store/recovery/checkpoint-writer.ts";
import { type RecoveredStore, recoverStore } from "../store/recovery/recovery.ts";
import { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import type { FlusherInit } from "./duties.ts";
import { STOP_FLUSHER, STOP_INDEXERS, STOP_WRITER } from "./duty.ts";
import { EngineTopics } from "./engine-topics.ts";
import type { KeyIndexerInit } from "./key-indexer-duty.ts";
import { progressLog, reportRecovery } from "./recovery-log.ts";
import { type Replaceable, Supervisor } from "./supervisor.ts";
import { ended, ready, startThread } from "./threads.ts";

export interface EngineOptions {
  storePath: string;
  commitLogPath?: string;
  isNativeFree: boolean;
  /** URL of a module whose `drive` is used in place of ours. */
  driveModule?: DriveId | undefined;
  /** Bytes. */
  logFileSize: number;
  queueFileSize: number;
  /** Default: as many entries as in a file of other queues. */
  batchQueueFileSize?: number;
  /** Topics with queue.type=BatchCQ that the broker's table knows; the directories tell of others. */
  batchTopics?: ReadonlySet<string>;
  /** Largest record or batch, bytes. */
  recordSizeMax: number;
  /** Lanes to the log writer; the first `pullLaneCount` of them get wake-ups for held pulls. */
  laneCount: number;
  pullLaneCount: number;
  /** Lane whose I/O worker is to run the log writer (see adoptWriter); -1: a thread of its own. */
  writerLane: number;
  isSyncFlush: boolean;
  flushIntervalMs: number;
  flushLeastPages: number;
  flushThoroughIntervalMs: number;
  /** The same of the queues' files. */
  queueFlushIntervalMs: number;
  queueFlushLeastPages: number;
  queueFlushThoroughIntervalMs: number;
  /** What of each record recovery compares: CHECK_… of store/log/log-scan.ts. Default CHECK_BODY. */
  check?: number;
  /** Whether records get a checksum of their own. Default false. */
  hasRecordCrc?: boolean;
  /** Work on checksums of the log's blocks; 0: none. */
  checksumBytesPerSecond: number;
  delayLevelsMs: number[];
  /** Size of a file of what entries point at, bytes. Default, 0: they hold all themselves. */
  queueExtFileSize?: number;
  /** enableLmq and enableMultiDispatch. Default: false. */
  isLmq?: boolean;
  isMultiDispatch?: boolean;
  /** Messages that are remembered for de-duplication; 0: none. */
  dedupMaxEntries: number;
  isIndexed: boolean;
  indexSlotCount: number;
  indexEntryCount: number;
  clock: Clock;
  log: Log;
  /** The engine cannot go on (its writer or flusher ended, a flush failed): everything must end. */
  onFailure: (error: Error) => void;
}

const LANE_ENTRY_COUNT = 8192;
const LANE_DATA_SIZE = 16 * 1_048_576;
/** Of an I/O worker's lane, for WebAssembly. */
const KERNELS_SIZE: number = BATCH_KERNEL_SIZE + sendKernelSize(LANE_ENTRY_COUNT);
/** Entries of queues are in memory only for so long, ms. */
const TAIL_MS_MAX = 4000;

/**
 * The store's threads and the memory that they share: log writer, queue indexer, key indexer, flusher. Owned by
 * one (control) thread, which also gives out the queue slots (`topics`).
 */
export class Engine {
  readonly init: EngineInit;
  readonly drive: Drive;
  readonly log: SharedLog;
  readonly slots: QueueSlots;
  readonly paths: StorePaths;
  readonly recovered: RecoveredStore;
  readonly topics: EngineTopics;
  readonly #options: EngineOptions;
  readonly #lock: FileLock;
  readonly #supervisor: Supervisor;
  readonly #threads: { writers: Worker[]; indexers: Replaceable[]; flusher: Worker };
  readonly #ready: Promise<void>;
  readonly #checkpoint: CheckpointWriter;
  readonly #ticker: { cancel(): void };
  #isClosing = false;

  /** Recovers the store and starts its threads. @throws MillraceError as recovery and the drive do */
  static async open(options: EngineOptions): Promise<Engine> {
    const { drive, fallbackReason } = await chooseDrive(options.isNativeFree, options.driveModule);
    if (fallbackReason !== undefined) {
      options.log.warn({ reason: fallbackReason }, "foreign calls do not work here: running on the native-free drive");
    }
    const paths = new StorePaths(options.storePath, options.commitLogPath);
    const { root, commitLog, consumeQueue, batchConsumeQueue, index, config } = paths;
    for (const directory of [root, commitLog, consumeQueue, batchConsumeQueue, index, config]) makeDirectory(directory);
    const lock = drive.lockStore(paths.lock);
    try {
      const engine = new Engine(options, drive, paths, lock);
      await engine.#ready;
      return engine;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(options: EngineOptions, drive: Drive, paths: StorePaths, lock: FileLock) {
    this.#options = options;
    this.drive = drive;
    this.paths = paths;
    this.#lock = lock;
    const queueSlots = createQueueSlotsMemory();
    this.log = new SharedLog();
    this.slots = new QueueSlots(queueSlots);
    const batchQueueFileSize = options.batchQueueFileSize ?? batchFileSizeFor(options.queueFileSize);
    const knownBatchTopics = [...(options.batchTopics ?? []), ...drive.names.list(paths.batchConsumeQueue)];
    this.topics = new EngineTopics(this.log, paths, knownBatchTopics);
    const batch = { batchQueueFileSize, isBatch: (topic: string) => this.topics.isBatch(topic) };
    this.recovered = recoverStore({
      drive,
      paths,
      ...options,
      ...batch,
      onProgress: progressLog(options.clock, options.log, "the log is read"),
    });
    // What a dead machine has left of it may be torn; without it messages are read before they are filtered.
    if (this.recovered.exit === "machine-died") drive.names.removeTree(paths.consumeQueueExt);
    reportRecovery(this.recovered, options.log);
    rebuildQueues(this.recovered, {
      ...options,
      ...batch,
      drive,
      paths,
      isMultiDispatch: this.#isMultiDispatch,
      slots: this.slots,
      slotsOf: (topic, queueCount) => this.topics.slotsOf(topic, queueCount),
      onProgress: progressLog(options.clock, options.log, "queues are made from the log"),
    });
    publishRecovered(this.log, this.recovered);
    this.#boundStoreTime();
    this.#checkpoint = this.#checkpointWriter();
    this.#noteStart();
    writeAbortFile(drive.names, paths.abort);
    const lanes = Array.from({ length: options.laneCount }, (_, lane) =>
      createLaneMemory(
        { entryCount: LANE_ENTRY_COUNT, dataSize: LANE_DATA_SIZE },
        lane < options.pullLaneCount ? KERNELS_SIZE : 0,
      ),
    );
    this.init = {
      drive: options.driveModule ?? drive.name,
      storePath: paths.root,
      commitLogPath: paths.commitLog,
      logFileSize: options.logFileSize,
      queueFileSize: options.queueFileSize,
      batchQueueFileSize,
      shared: this.log.memory,
      queueSlots,
      lanes,
      wakeRings: lanes.map((_, lane) => (lane < options.pullLaneCount ? createWakeRingMemory() : undefined)),
      queueFeed: createIndexFeedMemory(),
      keyFeed: options.isIndexed ? createIndexFeedMemory() : undefined,
      writerLane: options.writerLane,
      dedupWindow: createDedupWindowMemory(options.dedupMaxEntries),
      clock: options.clock.shared,
      isSyncFlush: options.isSyncFlush,
      hasRecordCrc: options.hasRecordCrc,
      checksumBytesPerSecond: options.checksumBytesPerSecond,
      flushIntervalMs: options.flushIntervalMs,
      flushLeastPages: options.flushLeastPages,
      flushThoroughIntervalMs: options.flushThoroughIntervalMs,
      queueFlushIntervalMs: options.queueFlushIntervalMs,
      queueFlushLeastPages: options.queueFlushLeastPages,
      queueFlushThoroughIntervalMs: options.queueFlushThoroughIntervalMs,
      tailMsMax: TAIL_MS_MAX,
      delayLevelsMs: options.delayLevelsMs,
      queueExtFileSize: options.queueExtFileSize ?? 0,
      isLmq: options.isLmq === true,
      isMultiDispatch: this.#isMultiDispatch,
      isIndexed: options.isIndexed,
      indexSlotCount: options.indexSlotCount,
      indexEntryCount: options.indexEntryCount,
    };
    this.#supervisor = new Supervisor(options.clock, options.log, (error) => {
      Atomics.or(this.log.words, shared.RUNNING_FLAGS, shared.FLAG_THREAD_LOST);
      options.onFailure(error);
    });
    const { exit, checkpoint } = this.recovered;
    const queueIndexer = this.#startQueueIndexer();
    const keyIndexers = options.isIndexed
      ? [this.#startKeyIndexer(exit === "machine-died" ? checkpoint.indexMsgTimestamp : undefined)]
      : [];
    const writers = options.writerLane < 0 ? [startThread("log-writer", this.init)] : [];
    const topics = this.topics.portFor("flusher");
    const isDurable = areQueuesDurable(this.recovered);
    const flusherInit = { engine: this.init, topics, checkpoint, isDurable } satisfies FlusherInit;
    const flusher = startThread("flusher", flusherInit, [topics]);
    this.#threads = { writers, indexers: [], flusher };
    this.#ready = Promise.all([queueIndexer, ...keyIndexers, ...writers, flusher].map(ready)).then(() => {
      for (const writer of writers) this.#supervisor.watch("log-writer", writer);
      this.#supervisor.watch("flusher", flusher);
      this.#threads.indexers.push(
        this.#supervisor.replace("queue-indexer", queueIndexer, () => this.#startQueueIndexer()),
        // Only this process has written the index meanwhile, and it lives.
        ...keyIndexers.map((first) => this.#supervisor.replace("key-indexer", first, () => this.#startKeyIndexer(undefined))),
      );
    });
    this.#ticker = options.clock.setTicker(() => this.#noteQueues(), NOTE_QUEUES_MS, "once");
  }

  /** Clients can be served: threads now do what could wait for that. */
  startServing(): void {
    Atomics.store(this.log.words, shared.SERVING, 1);
    this.log.doorbell(shared.DOORBELL_KEY_INDEXER).wake();
  }

  #startQueueIndexer(): Worker {
    const topics = this.topics.portFor("queue-indexer");
    return startThread("queue-indexer", { init: this.init, topics }, [topics]);
  }

  #startKeyIndexer(trustedTimestamp: number | undefined): Worker {
    return startThread("key-indexer", { engine: this.init, trustedTimestamp } satisfies KeyIndexerInit);
  }

  /** Without enableLmq the log writer gives no offsets. */
  get #isMultiDispatch(): boolean {
    return this.#options.isLmq === true && this.#options.isMultiDispatch === true;
  }

  /**
   * Store times go on from now, not from a later one that the log has: its clock was put back since, or a record's time is damaged.
   * From a time ahead of the clock no delay could be counted. Within a process they never go back.
   */
  #boundStoreTime(): void {
    const now = this.#options.clock.now();
    const last = this.log.offset(shared.LAST_STORE_TIMESTAMP);
    if (last <= now) return;
    this.#options.log.warn({ last, now }, "the log has a message that was stored later than now");
    this.log.setOffset(shared.LAST_STORE_TIMESTAMP, now);
  }

  /** What the last process wrote down need not hold any more. */
  #noteStart(): void {
    try {
      this.#checkpoint.work();
      this.#checkpoint.noteQueues();
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_STORE_FULL") throw error;
      // A full disk must not keep readers out. Without the file a start after a crash looks at all queues.
      this.drive.names.remove(this.paths.queueBounds);
      this.#options.log.warn({ error: error.message }, "the disk is full");
    }
  }

  /** The I/O worker that runs the log writer: it ends when this engine closes, and the store with it. */
  adoptWriter(worker: Worker): void {
    this.#threads.writers.push(worker);
    this.#supervisor.watch("log-writer", worker);
  }

  /** Why the store takes no messages any more, for good; empty: it does. */
  faults(): string[] {
    const flags = Atomics.load(this.log.words, shared.RUNNING_FLAGS);
    const faults: [number, string][] = [
      [shared.FLAG_FLUSH_FAILED, "a flush to the disk has failed"],
      [shared.FLAG_THREAD_LOST, "a thread of the store has ended"],
    ];
    return faults.filter(([flag]) => (flags & flag) !== 0).map(([, text]) => text);
  }

  #noteQueues(): void {
    try {
      this.#checkpoint.noteQueues();
    } catch (error) {
      // Of a full disk, say. A start after a crash then has more to go through, no less to find.
      this.#options.log.warn({ error: String(error) }, "what the queues hold could not be written down");
    }
  }

  #checkpointWriter(): CheckpointWriter {
    const { drive, paths, log, slots } = this;
    const { queueFileSize, clock } = this.#options;
    const { checkpoint } = this.recovered;
    return new CheckpointWriter({
      drive,
      paths,
      queueFileSize,
      log,
      slots,
      clock,
      checkpoint,
      topics: () => this.topics.slotsByTopic,
    });
  }

  async #stop(stage: number, threads: Worker[]): Promise<void> {
    const all = Promise.all(threads.map(ended));
    Atomics.store(this.log.words, shared.STOPPING, stage);
    this.log.ringAll(shared.DOORBELL_LANES + this.init.lanes.length);
    await all;
  }

  /** Lets the rings run empty, brings everything to the disk and ends the threads. Producers have stopped before. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#supervisor.stop();
    this.#ticker.cancel();
    const { writers, indexers, flusher } = this.#threads;
    // First the writer, so that the others see the log's end; a stage includes those below it.
    await this.#stop(STOP_WRITER, writers);
    await this.#stop(
      STOP_INDEXERS,
      indexers.map(({ worker }) => worker),
    );
    await this.#stop(STOP_FLUSHER, [flusher]);
    this.topics.close();
    const hasFailed = Atomics.load(this.log.words, shared.RUNNING_FLAGS) & shared.FLAGS_FAILED;
    // On a full disk entries may be missing, and not only the last ones: then the next start takes this for no clean stop.
    const areWritten = this.log.offset(shared.QUEUES_WRITTEN_OFFSET) >= this.log.offset(shared.DISPATCHED_OFFSET);
    if (hasFailed === 0 && areWritten) {
      this.#checkpoint.finish();
      removeAbortFile(this.drive.names, this.paths.abort);
    }
    this.#lock.release();
  }
}
