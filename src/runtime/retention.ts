import path from "node:path";
import { type Clock, monotonicMs, sleep, type Timer } from "../base/clock.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entryTagsCode, isExtAddress } from "../format/files/consume-queue.ts";
import { entryExtPosition } from "../format/files/queue-ext.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Log } from "../observe/log.ts";
import { diskUse, listDirectory, removeFileLater } from "../os/files.ts";
import {
  DISK_CLEAN,
  DISK_CLEAN_FORCIBLY,
  DISK_REFUSE,
  type DiskUse,
  diskLevel,
  type Watermarks,
} from "../store/log/disk-level.ts";
import { basePath } from "../store/log/log-files.ts";
import { LogRetention, type RetentionOrder } from "../store/log/log-retention.ts";
import { BatchConsumeQueue } from "../store/queue/batch-consume-queue.ts";
import { ConsumeQueue, queueDirectory } from "../store/queue/consume-queue.ts";
import type { Engine } from "./engine.ts";

export interface RetentionOptions {
  engine: Engine;
  clock: Clock;
  log: Log;
  watermarks: Watermarks;
  /** Whether files go whatever their age when the disk is nearly full. */
  isForcible: boolean;
  reservedMs: number;
  /** Hours of the day in which old files go. */
  hours: ReadonlySet<number>;
  /** Pause between rounds, ms. */
  intervalMs: number;
  batchMax: number;
  /** Pause between two files of a round, ms. */
  logFilePauseMs: number;
  queueFilePauseMs: number;
  /** A file that cannot be removed is tried again after this, ms. */
  retryMs: number;
  /** Bytes; 0: none. */
  logSizeMax: number;
  /** Brings into safety what is still needed of the log below the offset. false: not all of it, so nothing may go. */
  beforeDelete: (minPhysicalOffset: number) => Promise<boolean>;
  /** Whatever else holds files open: closes those that have been deleted. */
  onDeleted: () => void;
  /** Used share and free bytes of the file system that holds a directory. */
  diskUse?: (directory: string) => DiskUse;
}

/** So often the disk is looked at, ms: writes go on within this after space has returned. */
const LOOK_MS = 200;
/** Looks closer together, by a virtual clock that leaps, tell nothing new. */
const LOOK_REAL_MS_MIN = 5;
/** Rounds in which DELETE_EXPIRED_COMMITLOG deletes at any hour. Source: Apache `MAX_MANUAL_DELETE_FILE_TIMES`. */
const MANUAL_ROUNDS = 20;
/** Queues whose start is corrected before others on the thread have their turn. */
const QUEUES_AT_ONCE = 200;

/**
 * Deletes what is too old, or what the disk has no room for: files of the log, the files of queues that point there,
 * and (through the key indexer) index files. Refuses writes while the disk is too full, by FLAG_DISK_FULL. Control
 * thread only. A file is removed by its name; whoever reads it meanwhile keeps it until its next look at MIN_OFFSET.
 * Source: Apache `DefaultMessageStore.CleanCommitLogService`, `CleanConsumeQueueService`.
 */
export class Retention {
  readonly #o: RetentionOptions;
  readonly #files: LogRetention;
  readonly #diskUse: (directory: string) => DiskUse;
  readonly #tickers: Timer[];
  #expiredBeforeMs = -1;
  #manualRounds = 0;
  #lastLookMs = 0;
  #level = 0;
  #round: Promise<void> | undefined;
  #isDue = false;
  #isClosed = false;
  #cleanedOffset = 0;
  #mustCleanQueues = true;
  #retryAtMs = 0;

  constructor(options: RetentionOptions) {
    this.#o = options;
    const { engine, clock, intervalMs } = options;
    this.#diskUse = options.diskUse ?? diskUse;
    const { drive, paths, init, log } = engine;
    this.#files = new LogRetention({ drive, directory: paths.commitLog, fileSize: init.logFileSize, log });
    this.#look();
    const [look, round] = [(): void => this.#onLook(), (): void => this.#onTick()];
    this.#tickers = [clock.setTicker(look, LOOK_MS, "once"), clock.setTicker(round, intervalMs, () => this.#nextMs())];
  }

  /** Administrators: deletes what is old enough at any hour, in the next rounds. Source: Apache `executeDeleteFilesManually`. */
  deleteExpiredNow(): void {
    this.#manualRounds = MANUAL_ROUNDS;
  }

  /** Administrators: deletes the files of queues that point at nothing any more. */
  cleanQueuesNow(): void {
    this.#mustCleanQueues = true;
    this.#start();
  }

  #onLook(): void {
    const now = monotonicMs();
    if (now - this.#lastLookMs < LOOK_REAL_MS_MIN) return;
    this.#lastLookMs = now;
    this.#files.observe();
    this.#look();
    if (this.#level >= DISK_CLEAN_FORCIBLY && this.#o.isForcible) this.#start();
  }

  /** Says how full the disks are, and whether writes are refused. */
  #look(): void {
    const { engine, watermarks, log } = this.#o;
    const { paths, log: words } = engine;
    let level: number;
    try {
      const logUse = this.#diskUse(paths.commitLog);
      const storeUse = this.#diskUse(paths.root);
      words.setOffset(shared.LOG_DISK_RATIO, logUse.usedRatio);
      words.setOffset(shared.STORE_DISK_RATIO, storeUse.usedRatio);
      level = Math.max(diskLevel(logUse, watermarks), diskLevel(storeUse, watermarks));
    } catch (error) {
      log.warn({ error: String(error) }, "the disk's use cannot be told");
      return;
    }
    const figures = { logDiskRatio: words.offset(shared.LOG_DISK_RATIO), storeDiskRatio: words.offset(shared.STORE_DISK_RATIO) };
    if (level === DISK_REFUSE && this.#level !== DISK_REFUSE) {
      Atomics.or(words.words, shared.RUNNING_FLAGS, shared.FLAG_DISK_FULL);
      log.error(figures, "the disk is too full: messages are refused until there is room");
    } else if (level !== DISK_REFUSE && this.#level === DISK_REFUSE) {
      Atomics.and(words.words, shared.RUNNING_FLAGS, ~shared.FLAG_DISK_FULL);
      log.info(figures, "the disk has room again: messages are stored");
    }
    this.#level = level;
  }

  /** When a round may find something to delete, ms: a leap of a virtual clock leaves out those before. */
  #nextMs(): number {
    const { engine, clock, hours, logSizeMax } = this.#o;
    this.#files.observe(); // Also in a leap files become full at their own time.
    const now = clock.now();
    const minOffset = engine.log.offset(shared.MIN_OFFSET);
    if (this.#mustCleanQueues || this.#manualRounds > 0 || this.#cleanedOffset < minOffset) return now;
    if (engine.log.offset(shared.CURRENT_FILE_BASE) - minOffset < engine.init.logFileSize) return Number.POSITIVE_INFINITY;
    if (logSizeMax > 0 || this.#level >= DISK_CLEAN) return now;
    const at = new Date(now);
    if (hours.has(at.getHours())) return now;
    for (let ahead = 1; ahead <= 24; ahead++) {
      at.setHours(at.getHours() + 1, 0, 0, 0);
      if (hours.has(at.getHours())) return at.getTime();
    }
    return Number.POSITIVE_INFINITY;
  }

  #onTick(): void {
    const { clock, hours, reservedMs } = this.#o;
    this.#files.observe();
    const now = clock.now();
    // Noted at this instant: a virtual clock may leap on before the round runs.
    if (hours.has(new Date(now).getHours()) || this.#level >= DISK_CLEAN || this.#manualRounds > 0)
      this.#expiredBeforeMs = Math.max(this.#expiredBeforeMs, now - reservedMs);
    if (this.#manualRounds > 0) this.#manualRounds--;
    this.#start();
  }

  #start(): void {
    if (this.#isClosed) return;
    if (this.#round !== undefined) {
      this.#isDue = true;
      return;
    }
    this.#round = this.#run()
      .catch((error: unknown) => this.#o.log.warn({ error: String(error) }, "old files could not be deleted"))
      .finally(() => {
        this.#round = undefined;
        if (!this.#isDue) return;
        this.#isDue = false;
        this.#start();
      });
  }

  async #run(): Promise<void> {
    const { isForcible, logSizeMax, batchMax, logFilePauseMs, clock, log, engine } = this.#o;
    if (clock.now() < this.#retryAtMs) return;
    const isForced = isForcible && this.#level >= DISK_CLEAN_FORCIBLY;
    const order: RetentionOrder = { expiredBeforeMs: this.#expiredBeforeMs, isForced, sizeMax: logSizeMax };
    this.#expiredBeforeMs = -1;
    let count = 0;
    for (let base = this.#files.next(order); base >= 0 && count < batchMax && !this.#isClosed; base = this.#files.next(order)) {
      if (count > 0 && !isForced) await sleep(clock, logFilePauseMs);
      if (order.isForced) {
        this.#look(); // What was freed may be enough.
        if (this.#level < DISK_CLEAN_FORCIBLY) break;
      }
      const isSafe = await this.#o.beforeDelete(base + engine.init.logFileSize);
      if (!isSafe && !order.isForced) {
        log.error({ base }, "a file of the log is kept: it has messages of a compacted topic that could not be compacted");
        break;
      }
      await this.#deleteLogFile(base);
      count++;
    }
    if (count > 0) log.info({ count, minPhysicalOffset: engine.log.offset(shared.MIN_OFFSET) }, "old files of the log deleted");
    if (this.#mustCleanQueues || this.#cleanedOffset < engine.log.offset(shared.MIN_OFFSET)) await this.#cleanQueues();
  }

  async #deleteLogFile(base: number): Promise<void> {
    const { engine, clock, retryMs, onDeleted } = this.#o;
    const minOffset = base + engine.init.logFileSize;
    // Before the name goes: nobody is sent to a file that is not there.
    await this.#correctQueues(minOffset);
    engine.log.setOffset(shared.MIN_OFFSET, Math.max(minOffset, engine.log.offset(shared.MIN_OFFSET)));
    onDeleted();
    try {
      await removeFileLater(basePath(engine.paths.commitLog, base));
      await removeFileLater(basePath(engine.paths.checksums, base));
    } catch (error) {
      this.#retryAtMs = clock.now() + retryMs;
      throw error;
    }
    this.#files.deleted(base);
  }

  /** Calls `visit` for every queue, with pauses for others. */
  async #eachQueue(visit: (topic: string, queueId: number, slot: number) => void | Promise<void>): Promise<void> {
    const { engine } = this.#o;
    let count = 0;
    for (const topic of engine.topics.topicNames()) {
      for (let queueId = 0; queueId < engine.topics.queueCount(topic); queueId++) {
        const slot = engine.topics.slotOf(topic, queueId);
        if (slot === undefined || this.#isClosed) continue;
        await visit(topic, queueId, slot);
        if (++count % QUEUES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  /** Moves the start of each queue past the entries of records below `minPhysicalOffset`. */
  #correctQueues(minPhysicalOffset: number): Promise<void> {
    const { engine } = this.#o;
    const { drive, paths, init, slots } = engine;
    const entry = Buffer.alloc(ENTRY_SIZE);
    return this.#eachQueue((topic, queueId, slot) => {
      let low = slots.minOffset(slot);
      let high = slots.maxOffset(slot);
      if (low === high) return;
      if (engine.topics.isBatch(topic)) {
        const queue = this.#batchQueue(topic, queueId);
        const count = slots.entryCount(slot);
        const index = queue.indexOfPhysical(minPhysicalOffset, count);
        slots.setMinOffset(slot, index < count && queue.load(index) ? Math.max(low, queue.baseOffset) : high);
        queue.close();
        return;
      }
      const directory = queueDirectory(paths.consumeQueue, topic, queueId);
      const queue = new ConsumeQueue(drive, directory, init.queueFileSize, false, { isMapped: false, tail: { slots, slot } });
      const isKept = (queueOffset: number): boolean =>
        queue.read(queueOffset, 1, entry) > 0 && entryPhysicalOffset(entry, 0) >= minPhysicalOffset;
      if (isKept(low)) high = low;
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        if (isKept(middle)) high = middle;
        else low = middle + 1;
      }
      queue.close();
      slots.setMinOffset(slot, low);
    });
  }

  /** Deletes files of queues behind their start, but never a queue's last one: it tells where the queue ends. */
  async #cleanQueues(): Promise<void> {
    const { engine, clock, queueFilePauseMs, log, onDeleted } = this.#o;
    const { paths, init, slots } = engine;
    const minPhysicalOffset = engine.log.offset(shared.MIN_OFFSET);
    this.#mustCleanQueues = false;
    if (this.#cleanedOffset === 0 && minPhysicalOffset > 0) await this.#correctQueues(minPhysicalOffset);
    let count = 0;
    await this.#eachQueue(async (topic, queueId, slot) => {
      const isBatch = engine.topics.isBatch(topic);
      const directory = queueDirectory(isBatch ? paths.batchConsumeQueue : paths.consumeQueue, topic, queueId);
      const fileSize = isBatch ? init.batchQueueFileSize : init.queueFileSize;
      if (!isBatch && init.queueExtFileSize > 0) await this.#cleanExt(topic, queueId, slot);
      const minPosition = isBatch ? this.#batchPosition(topic, queueId, slot) : slots.minOffset(slot) * ENTRY_SIZE;
      if (minPosition < fileSize) return;
      const bases = listDirectory(directory).filter((name) => /^\d{20}$/.test(name));
      for (const name of bases.slice(0, -1)) {
        if (Number(name) + fileSize > minPosition) break;
        if (count++ > 0 && queueFilePauseMs > 0 && this.#level < DISK_CLEAN_FORCIBLY) await sleep(clock, queueFilePauseMs);
        await removeFileLater(path.join(directory, name));
      }
    });
    onDeleted();
    this.#cleanedOffset = minPhysicalOffset;
    if (count > 0) log.info({ count }, "files of queues deleted behind the log");
  }

  /** What the entries pointed at that are gone. Source: Apache `ConsumeQueueExt.truncateByMinAddress`. */
  async #cleanExt(topic: string, queueId: number, slot: number): Promise<void> {
    const { drive, paths, init, slots } = this.#o.engine;
    const directory = queueDirectory(paths.consumeQueueExt, topic, queueId);
    const bases = listDirectory(directory).filter((name) => /^\d{20}$/.test(name));
    if (bases.length < 2) return;
    const entry = Buffer.alloc(ENTRY_SIZE);
    const queueFiles = queueDirectory(paths.consumeQueue, topic, queueId);
    const queue = new ConsumeQueue(drive, queueFiles, init.queueFileSize, false, { isMapped: false });
    const isThere = queue.read(slots.minOffset(slot), 1, entry) > 0 && isExtAddress(entryTagsCode(entry, 0));
    queue.close();
    if (!isThere) return;
    const minPosition = entryExtPosition(entry, 0);
    for (const name of bases.slice(0, -1)) {
      if (Number(name) + init.queueExtFileSize > minPosition) break;
      await removeFileLater(path.join(directory, name));
    }
  }

  #batchQueue(topic: string, queueId: number): BatchConsumeQueue {
    const { drive, paths, init } = this.#o.engine;
    return new BatchConsumeQueue(drive, queueDirectory(paths.batchConsumeQueue, topic, queueId), init.batchQueueFileSize, false);
  }

  /** Where the first entry stands that is kept, bytes. */
  #batchPosition(topic: string, queueId: number, slot: number): number {
    const { slots } = this.#o.engine;
    const queue = this.#batchQueue(topic, queueId);
    const index = queue.indexOf(slots.minOffset(slot), slots.entryCount(slot));
    queue.close();
    return index * queue.entrySize;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const ticker of this.#tickers) ticker.cancel();
    // A pause of a clock that stands still would never end.
    await Promise.race([this.#round, new Promise((resolve) => setImmediate(resolve))]);
  }
}
