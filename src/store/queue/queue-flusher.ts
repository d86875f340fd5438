import type { Clock } from "../../base/clock.ts";
import { BATCH_ENTRY_SIZE } from "../../format/files/batch-consume-queue.ts";
import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive, FileSystemSyncer } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import type { SharedLog } from "../shared-log.ts";
import { directoriesOf, queueDirectory } from "./consume-queue.ts";
import type { QueueSlots } from "./queue-slots.ts";
import type { TopicSlotsUpdate } from "./topic-slots.ts";

export interface QueueFlusherOptions {
  drive: Drive;
  consumeQueue: string;
  queueFileSize: number;
  batchConsumeQueue: string;
  batchQueueFileSize: number;
  log: SharedLog;
  slots: QueueSlots;
  clock: Clock;
  /** Pause between rounds, ms. */
  intervalMs: number;
  /** Least dirty pages (4 KiB) of a queue worth a flush … */
  leastPages: number;
  /** … unless the last round over all queues was this long ago, ms. */
  thoroughIntervalMs: number;
}

const PAGE_SIZE = 4096;
/** So much of the log is gone through again after a power cut, at most, even if the thorough interval is longer. Bytes. */
const UNFLUSHED_MAX = 256 * 1_048_576;

/** So many files at the end are synced with all others of their file system: one by one ten thousand took half a minute. */
const SYNCED_TOGETHER_MIN = 256;

interface Due {
  slot: number;
  topic: string;
  queueId: number;
  /** Entries [from, end) are not known to be on the disk. */
  from: number;
  end: number;
}

/**
 * Brings ConsumeQueue files to the disk, and says in QUEUES_FLUSHED_OFFSET how far, so that a start after a power cut
 * has little to do again. Flusher thread only; the queue indexer writes the files. One file a step, so that senders who
 * wait for the log never wait for more than that. Source: Apache `FlushConsumeQueueService`.
 */
export class QueueFlusher {
  readonly #o: QueueFlusherOptions;
  /** Of the file systems of queues; none: this drive cannot. */
  readonly #syncers: FileSystemSyncer[] = [];
  readonly #topics = new Map<string, readonly number[]>();
  /** Those whose queues hold whole batches: their entries are counted, not their messages. */
  readonly #batchTopics = new Set<string>();
  /** By slot. */
  readonly #flushed = new Map<number, number>();
  #round: Due[] = [];
  /** Directories whose names were brought to the disk in this round. */
  readonly #syncedNames = new Set<string>();
  #roundEnd = 0;
  #roundTimestamp = 0;
  #isThorough = false;
  #isRunning = false;
  #lastRoundMs: number;
  #lastThoroughMs: number;
  /** A store timestamp, and an offset above which nothing was appended when it was the newest. */
  #sampleTimestamp = 0;
  #sampleOffset = 0;
  #dispatchedTimestamp: number;

  constructor(options: QueueFlusherOptions) {
    this.#o = options;
    this.#lastRoundMs = options.clock.now();
    this.#lastThoroughMs = this.#lastRoundMs;
    this.#dispatchedTimestamp = options.log.offset(shared.QUEUES_FLUSHED_TIMESTAMP);
    const { drive, consumeQueue, batchConsumeQueue } = options;
    for (const directory of drive.fileSystemSyncer === undefined ? [] : [consumeQueue, batchConsumeQueue]) {
      drive.names.makeDirectory(directory); // Recovery removes them where there is no log.
      this.#syncers.push(drive.fileSystemSyncer!(directory));
    }
  }

  /** Topics and the slots of their queues. */
  get topics(): ReadonlyMap<string, readonly number[]> {
    return this.#topics;
  }

  update({ topic, slots, isBatch }: TopicSlotsUpdate): void {
    if (isBatch === true) this.#batchTopics.add(topic);
    else this.#batchTopics.delete(topic);
    for (const slot of this.#topics.get(topic) ?? []) if (!slots.includes(slot)) this.#flushed.delete(slot);
    if (slots.length === 0) this.#topics.delete(topic);
    else this.#topics.set(topic, slots);
  }

  /**
   * Before anything is dispatched.
   * @param isDurable whether all entries are on the disk; after a crash those may not be that the last process made
   */
  startFromHere(isDurable: boolean): void {
    if (!isDurable) return;
    const { slots } = this.#o;
    for (const [topic, ofTopic] of this.#topics) {
      const isBatch = this.#batchTopics.has(topic);
      for (const slot of ofTopic) this.#flushed.set(slot, isBatch ? slots.entryCount(slot) : slots.writtenOffset(slot));
    }
  }

  /** Flushes at most one file. @returns true if more is due at once */
  work(): boolean {
    const { clock, intervalMs } = this.#o;
    this.#sample();
    if (!this.#isRunning) {
      if (clock.now() - this.#lastRoundMs < intervalMs) return false;
      this.#begin(false);
    }
    const due = this.#round.at(-1);
    if (due !== undefined) {
      this.#flushFile(due);
      return true;
    }
    this.#finish();
    return false;
  }

  /** Brings all to the disk that has been dispatched. Nothing is dispatched any more, and nobody waits for the log. */
  flushAll(): void {
    this.#round = [];
    this.#begin(true);
    if (this.#round.length >= SYNCED_TOGETHER_MIN && this.#syncers.length > 0) {
      for (const syncer of this.#syncers) syncer.sync();
      this.#round = [];
    }
    for (let due = this.#round.at(-1); due !== undefined; due = this.#round.at(-1)) this.#flushFile(due);
    this.#finish();
    for (const syncer of this.#syncers) syncer.close();
  }

  /** Finds the store timestamp of what has been dispatched, without reading a record. */
  #sample(): void {
    const { log } = this.#o;
    if (log.offset(shared.QUEUES_WRITTEN_OFFSET) < this.#sampleOffset) return;
    this.#dispatchedTimestamp = Math.max(this.#dispatchedTimestamp, this.#sampleTimestamp);
    this.#sampleTimestamp = log.offset(shared.LAST_STORE_TIMESTAMP); // First: what is appended after that is newer.
    this.#sampleOffset = log.offset(shared.APPENDED_OFFSET);
  }

  #begin(isLast: boolean): void {
    const { clock, log, slots, leastPages, thoroughIntervalMs } = this.#o;
    const now = clock.now();
    this.#isRunning = true;
    this.#syncedNames.clear();
    this.#lastRoundMs = now;
    this.#roundTimestamp = this.#dispatchedTimestamp;
    this.#roundEnd = log.offset(shared.QUEUES_WRITTEN_OFFSET); // Before the queues' ends: these then cover it.
    const unflushed = this.#roundEnd - log.offset(shared.QUEUES_FLUSHED_OFFSET);
    this.#isThorough = isLast || now - this.#lastThoroughMs >= thoroughIntervalMs || unflushed >= UNFLUSHED_MAX;
    for (const [topic, ofTopic] of this.#topics) {
      for (let queueId = 0; queueId < ofTopic.length; queueId++) {
        const slot = ofTopic[queueId]!;
        const isBatch = this.#batchTopics.has(topic);
        const end = isBatch ? slots.entryCount(slot) : slots.writtenOffset(slot);
        const size = isBatch ? BATCH_ENTRY_SIZE : ENTRY_SIZE;
        const from = this.#flushed.get(slot) ?? (isBatch ? 0 : slots.minOffset(slot));
        if (end <= from) continue;
        const pages = Math.floor((end * size) / PAGE_SIZE) - Math.floor((from * size) / PAGE_SIZE);
        if (this.#isThorough || pages >= leastPages) this.#round.push({ slot, topic, queueId, from, end });
      }
    }
  }

  #flushFile(due: Due): void {
    const { drive, consumeQueue, queueFileSize, batchConsumeQueue, batchQueueFileSize } = this.#o;
    const isBatch = this.#batchTopics.has(due.topic);
    const entrySize = isBatch ? BATCH_ENTRY_SIZE : ENTRY_SIZE;
    const perFile = (isBatch ? batchQueueFileSize : queueFileSize) / entrySize;
    const fileStart = due.from - (due.from % perFile);
    const directory = queueDirectory(isBatch ? batchConsumeQueue : consumeQueue, due.topic, due.queueId);
    const isThere = drive.names.syncFile(basePath(directory, fileStart * entrySize));
    // A name that nobody has made durable yet. (Without the file: its topic was removed meanwhile.)
    if (isThere && (due.from === fileStart || !this.#flushed.has(due.slot))) this.#syncNames(directory);
    due.from = Math.min(due.end, fileStart + perFile);
    if (due.from < due.end) return;
    this.#round.pop();
    if (this.#topics.get(due.topic)?.includes(due.slot) === true) this.#flushed.set(due.slot, due.end);
  }

  /** Names of new files and queues. Those above a queue's own directory once a round: what it flushes was made before. */
  #syncNames(queue: string): void {
    for (const directory of directoriesOf(queue)) {
      if (this.#syncedNames.has(directory)) continue;
      this.#syncedNames.add(directory);
      this.#o.drive.names.syncDirectory(directory);
    }
  }

  #finish(): void {
    const { log } = this.#o;
    this.#isRunning = false;
    if (!this.#isThorough) return;
    this.#lastThoroughMs = this.#lastRoundMs;
    const end = Math.min(this.#roundEnd, log.offset(shared.FLUSHED_OFFSET));
    if (end <= log.offset(shared.QUEUES_FLUSHED_OFFSET)) return;
    log.setOffset(shared.QUEUES_FLUSHED_OFFSET, end);
    log.setOffset(shared.QUEUES_FLUSHED_TIMESTAMP, Math.min(this.#roundTimestamp, log.offset(shared.FLUSHED_TIMESTAMP)));
  }
}
