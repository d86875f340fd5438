import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { clockFrom, monotonicMs } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../format/files/checkpoint.ts";
import { RecordParts } from "../format/record/message.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Drive } from "../os/api.ts";
import type { Doorbell } from "../ring/doorbell.ts";
import { IndexFeedConsumer } from "../ring/index-feed.ts";
import { WakeRing } from "../ring/wake-ring.ts";
import type { EngineInit } from "../store/engine-init.ts";
import { Flusher } from "../store/log/flusher.ts";
import { LogChecksums } from "../store/log/log-checksums.ts";
import { LogReader } from "../store/log/log-reader.ts";
import { nextRecord } from "../store/log/log-scan.ts";
import { QueueDispatcher } from "../store/queue/queue-dispatcher.ts";
import { QueueExtMaker, type TopicFiltersUpdate } from "../store/queue/queue-ext-maker.ts";
import { QueueFlusher } from "../store/queue/queue-flusher.ts";
import { QueueSlots } from "../store/queue/queue-slots.ts";
import { QueueTails } from "../store/queue/queue-tails.ts";
import { TopicSlotsTable, type TopicSlotsUpdate } from "../store/queue/topic-slots.ts";
import { CheckpointWriter } from "../store/recovery/checkpoint-writer.ts";
import { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import type { Duty } from "./duty.ts";

/** Pause before what a full disk had no room for is tried again, ms. */
const FULL_DISK_NAP_MS = 100;
/** So long an entry is in memory only: where many queues have some, the longer, so that there are not too many small writes. */
const TAIL_MS_MIN = 50;
const TAIL_MS_A_QUEUE = 2;
/** SYNC_FLUSH: so many times as long as a queue's flush has taken the log's flushes go before the next one. */
const QUEUES_REST = 9;
/** Queues whose entries are written between two passes over the log. */
const TAILS_AT_ONCE = 16;

/** The queue indexer: log -> ConsumeQueues -> held pulls. */
export class QueueIndexerDuty implements Duty {
  readonly #init: EngineInit;
  readonly #log: SharedLog;
  readonly #slots: QueueSlots;
  readonly #reader: LogReader;
  readonly #topics: TopicSlotsTable;
  readonly #ext: QueueExtMaker | undefined;
  readonly #dispatcher: QueueDispatcher;
  readonly #tails: QueueTails;
  readonly #own: Doorbell;
  readonly #lanes: { wakeRing: WakeRing | undefined; doorbell: Doorbell }[];
  readonly #updates: MessagePort;
  readonly #parts = new RecordParts();
  #topicsVersion = -1;
  #minOffset = 0;

  /** @param topics where the control thread posts TopicSlotsUpdates */
  constructor(init: EngineInit, drive: Drive, topics: MessagePort) {
    const paths = new StorePaths(init.storePath, init.commitLogPath);
    this.#init = init;
    this.#updates = topics;
    this.#log = new SharedLog(init.shared);
    this.#slots = new QueueSlots(init.queueSlots);
    this.#reader = new LogReader(drive, paths.commitLog, init.logFileSize);
    this.#topics = new TopicSlotsTable(drive, paths.consumeQueue, init.queueFileSize, true, {
      root: paths.batchConsumeQueue,
      fileSize: init.batchQueueFileSize,
    });
    this.#own = this.#log.doorbell(shared.DOORBELL_QUEUE_INDEXER);
    this.#lanes = init.wakeRings.map((memory, lane) => ({
      wakeRing: memory === undefined ? undefined : new WakeRing(memory),
      doorbell: this.#log.doorbell(shared.DOORBELL_LANES + lane),
    }));
    this.#tails = new QueueTails(this.#slots, this.#topics);
    if (init.queueExtFileSize > 0) {
      this.#ext = new QueueExtMaker(drive, { root: paths.consumeQueueExt, fileSize: init.queueExtFileSize }, this.#slots);
    }
    this.#dispatcher = new QueueDispatcher({
      reader: this.#reader,
      topics: this.#topics,
      slots: this.#slots,
      tails: this.#tails,
      feed: new IndexFeedConsumer(init.queueFeed),
      isMultiDispatch: init.isMultiDispatch,
      ext: this.#ext,
      delayLevelsMs: init.delayLevelsMs,
      refreshTopics: () => this.#readUpdates(),
    });
    // One before this may have ended between storing entries and waking those who wait for them.
    for (const { wakeRing, doorbell } of this.#lanes) {
      wakeRing?.pushAll();
      doorbell.ring();
    }
  }

  /** Updates are posted before the first message that needs them, and counted, so that a changed count means: read. */
  #readUpdates(): boolean {
    const version = Atomics.load(this.#log.words, shared.TOPICS_VERSION);
    if (version === this.#topicsVersion) return false;
    this.#topicsVersion = version;
    for (let next = receiveMessageOnPort(this.#updates); next !== undefined; next = receiveMessageOnPort(this.#updates)) {
      this.#update(next.message as TopicSlotsUpdate | TopicFiltersUpdate);
    }
    this.#dispatcher.forgetLastTopic();
    Atomics.store(this.#log.words, shared.TOPICS_SEEN, version);
    Atomics.notify(this.#log.words, shared.TOPICS_SEEN);
    return true;
  }

  #update(update: TopicSlotsUpdate | TopicFiltersUpdate): void {
    if ("filtersOf" in update) {
      this.#ext?.setFilters(update);
      return;
    }
    const name = Buffer.from(update.topic);
    if (update.slots.length === 0) this.#ext?.forget(this.#topics.get(name, 0, name.length)?.slots ?? []);
    this.#topics.update(update);
    // Of an indexer before this one, whose memory is gone.
    this.#tails.adopt(update.slots, this.#log.offset(shared.QUEUES_WRITTEN_OFFSET));
  }

  work(): boolean {
    const from = this.#log.offset(shared.DISPATCHED_OFFSET);
    const limit = this.#log.offset(this.#init.isSyncFlush ? shared.FLUSHED_OFFSET : shared.APPENDED_OFFSET);
    this.#readUpdates();
    this.#forgetDeleted();
    this.#tails.nowMs = monotonicMs();
    if (from >= limit) return this.#writeTails(from);
    this.#reader.invalidate();
    let done = this.#dispatcher.dispatch(from, limit);
    if (this.#dispatcher.isDiskFull) return this.#awaitSpace();
    if (done === from) {
      // Damaged since it was appended; recovery would step over it as well.
      const next = nextRecord(this.#reader, from + 1, limit, this.#parts);
      done = next < 0 ? limit : next;
    }
    this.#log.setOffset(shared.DISPATCHED_OFFSET, done);
    // Orders the new maximum offsets before the look at the waiters; see QueueSlots.
    Atomics.add(this.#log.words, shared.STOPPING, 0);
    let woken = 0;
    for (const slot of this.#dispatcher.grown) {
      let waiters = this.#slots.takeWaiters(slot);
      woken |= waiters;
      for (let lane = 0; waiters !== 0; lane++, waiters >>>= 1) {
        if ((waiters & 1) !== 0) this.#lanes[lane]!.wakeRing?.push(slot);
      }
    }
    for (let lane = 0; woken !== 0; lane++, woken >>>= 1) if ((woken & 1) !== 0) this.#lanes[lane]!.doorbell.ring();
    this.#writeTails(done);
    return true;
  }

  /** @returns whether there is more to write at once */
  #writeTails(dispatched: number): boolean {
    const tails = this.#tails;
    const ageMs = Math.min(this.#init.tailMsMax, Math.max(TAIL_MS_MIN, tails.waiting * TAIL_MS_A_QUEUE));
    let hasMore = false;
    try {
      hasMore = tails.writeOld(tails.nowMs - ageMs, TAILS_AT_ONCE);
    } catch (error) {
      if (!isFull(error)) throw error; // Later: until then the entries are in memory, and in the log what they say.
    }
    this.#log.setOffset(shared.QUEUES_WRITTEN_OFFSET, tails.writtenThrough(dispatched));
    return hasMore;
  }

  /** The disk has no room for entries: the log keeps them until there is. */
  #awaitSpace(): false {
    this.#own.nap(this.#own.seen(), FULL_DISK_NAP_MS);
    this.#own.ring(); // So that the thread does not park.
    return false;
  }

  /** Closes files that retention has deleted: until then they keep their disk space. */
  #forgetDeleted(): void {
    const minOffset = this.#log.offset(shared.MIN_OFFSET);
    if (minOffset === this.#minOffset) return;
    this.#minOffset = minOffset;
    this.#reader.forgetBelow(minOffset);
    this.#topics.forgetBelow((slot) => this.#slots.minOffset(slot));
  }

  /** The flusher, which ends later, brings the entries to the disk. What a full disk does not take the next start makes again. */
  close(): void {
    try {
      this.#tails.writeOld(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
    this.#log.setOffset(shared.QUEUES_WRITTEN_OFFSET, this.#tails.writtenThrough(this.#log.offset(shared.DISPATCHED_OFFSET)));
    this.#topics.close();
    this.#reader.close();
  }

  get doorbell(): Doorbell {
    return this.#own;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof MillraceError && error.code === "MILLRACE_STORE_FULL";
}

export interface FlusherInit {
  engine: EngineInit;
  /** Where the control thread posts TopicSlotsUpdates; those of the start are there. */
  topics: MessagePort;
  checkpoint: Checkpoint;
  /** Whether all that was found at the start is on the disk. */
  isDurable: boolean;
}

/** The flusher: log and queues -> disk; prepares the next log file; writes down how far all that is. */
export class FlusherDuty implements Duty {
  readonly #flusher: Flusher;
  /** undefined: the log's blocks get none. */
  readonly #checksums: LogChecksums | undefined;
  readonly #queues: QueueFlusher;
  readonly #checkpoint: CheckpointWriter;
  readonly #topics: MessagePort;
  readonly #log: SharedLog;
  readonly #init: EngineInit;
  #topicsVersion = 0;
  /** Until then senders who wait for the log go before the queues. */
  #queuesRestUntilMs = 0;

  constructor({ engine: init, topics, checkpoint, isDurable }: FlusherInit, drive: Drive) {
    const paths = new StorePaths(init.storePath, init.commitLogPath);
    const clock = clockFrom(init.clock);
    const slots = new QueueSlots(init.queueSlots);
    this.#init = init;
    this.#topics = topics;
    this.#log = new SharedLog(init.shared);
    const own = this.#log.doorbell(shared.DOORBELL_FLUSHER);
    this.#flusher = new Flusher({
      drive,
      directory: paths.commitLog,
      fileSize: init.logFileSize,
      log: this.#log,
      clock,
      isSync: init.isSyncFlush,
      flushIntervalMs: init.flushIntervalMs,
      flushLeastPages: init.flushLeastPages,
      flushThoroughIntervalMs: init.flushThoroughIntervalMs,
      doorbell: own,
    });
    if (init.checksumBytesPerSecond > 0) {
      this.#checksums = new LogChecksums({
        drive,
        directory: paths.checksums,
        commitLog: paths.commitLog,
        logFileSize: init.logFileSize,
        log: this.#log,
        clock,
        bytesPerSecond: init.checksumBytesPerSecond,
      });
    }
    const { queueFileSize } = init;
    const common = { drive, queueFileSize, log: this.#log, slots, clock };
    this.#queues = new QueueFlusher({
      ...common,
      consumeQueue: paths.consumeQueue,
      batchConsumeQueue: paths.batchConsumeQueue,
      batchQueueFileSize: init.batchQueueFileSize,
      intervalMs: init.queueFlushIntervalMs,
      leastPages: init.queueFlushLeastPages,
      thoroughIntervalMs: init.queueFlushThoroughIntervalMs,
    });
    this.#readTopics();
    this.#queues.startFromHere(isDurable);
    this.#checkpoint = new CheckpointWriter({ ...common, paths, checkpoint, topics: () => this.#queues.topics });
  }

  #readTopics(): void {
    this.#topicsVersion = Atomics.load(this.#log.words, shared.TOPICS_VERSION);
    for (let next = receiveMessageOnPort(this.#topics); next !== undefined; next = receiveMessageOnPort(this.#topics)) {
      this.#queues.update(next.message as TopicSlotsUpdate);
    }
  }

  work(): boolean {
    const before = this.#log.offset(shared.FLUSHED_OFFSET);
    const hasMore = this.#flush();
    const hasFlushed = this.#log.offset(shared.FLUSHED_OFFSET) > before;
    if (this.#init.isSyncFlush && hasFlushed) {
      this.#log.doorbell(shared.DOORBELL_QUEUE_INDEXER).ring();
      for (let lane = 0; lane < this.#init.lanes.length; lane++) this.#log.doorbell(shared.DOORBELL_LANES + lane).ring();
    }
    if (Atomics.load(this.#log.words, shared.TOPICS_VERSION) !== this.#topicsVersion) this.#readTopics();
    const hasMoreQueues = this.#flushQueues(hasFlushed);
    return this.#checksums?.work() === true || hasMoreQueues || hasMore;
  }

  #flush(): boolean {
    try {
      return this.#flusher.work();
    } catch (error) {
      for (let lane = 0; lane < this.#init.lanes.length; lane++) this.#log.doorbell(shared.DOORBELL_LANES + lane).wake();
      throw error; // Who waits for the disk is answered now; this thread is over, and with it the store.
    }
  }

  /** While senders wait for the disk, queues and checkpoint get a tenth of its time. */
  #flushQueues(hasFlushed: boolean): boolean {
    const started = monotonicMs();
    if (this.#init.isSyncFlush && hasFlushed && started < this.#queuesRestUntilMs) return false;
    const hasMore = this.#queues.work();
    try {
      this.#checkpoint.work();
    } catch (error) {
      // What was written before still holds; it is tried again in a second.
      if (!isFull(error)) throw error;
    }
    const ended = monotonicMs();
    this.#queuesRestUntilMs = ended + QUEUES_REST * (ended - started);
    return hasMore;
  }

  close(): void {
    this.#flusher.flushTo(this.#log.offset(shared.APPENDED_OFFSET));
    this.#flusher.close();
    this.#readTopics();
    this.#queues.flushAll();
    this.#checksums?.close();
  }
}
