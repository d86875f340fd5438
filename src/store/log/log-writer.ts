import { clockFrom } from "../../base/clock.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive } from "../../os/api.ts";
import type { Doorbell } from "../../ring/doorbell.ts";
import { LaneConsumer } from "../../ring/lane.ts";
import type { EngineInit } from "../engine-init.ts";
import { QueueSlots } from "../queue/queue-slots.ts";
import type { RecentRecords } from "../queue/recent-records.ts";
import { SharedLog } from "../shared-log.ts";
import { StorePaths } from "../store-paths.ts";
import { CommitLog } from "./commit-log.ts";
import { SealingLane } from "./sealing-lane.ts";

/** The flusher is woken each time so many bytes were appended: it prepares the next file in time. */
const FLUSHER_WAKE_SIZE = 4 * 1_048_576;

/**
 * The log writer: lanes -> CommitLog -> acks. There is one in an engine: in a thread of its own, or, where there is
 * one I/O worker only, inside that, which spares every send two wake-ups.
 */
export class LogWriter {
  readonly #commitLog: CommitLog;
  readonly #log: SharedLog;
  readonly #lanes: { consumer: LaneConsumer; doorbell: Doorbell | undefined }[];
  readonly #indexer: Doorbell;
  readonly #keyIndexer: Doorbell;
  readonly #flusher: Doorbell;
  readonly #isSyncFlush: boolean;
  #flusherRungAt: number;

  /**
   * @param ownLane  lane of the thread that this runs in, which needs no waking; -1: none
   * @param recent  where that thread's pulls look for the last records
   */
  constructor(init: EngineInit, drive: Drive, ownLane: number, recent?: RecentRecords) {
    const log = new SharedLog(init.shared);
    const paths = new StorePaths(init.storePath, init.commitLogPath);
    this.#log = log;
    this.#lanes = init.lanes.map((memory, lane) => ({
      consumer: init.hasRecordCrc === true ? new SealingLane(memory) : new LaneConsumer(memory),
      doorbell: lane === ownLane ? undefined : log.doorbell(shared.DOORBELL_LANES + lane),
    }));
    this.#indexer = log.doorbell(shared.DOORBELL_QUEUE_INDEXER);
    this.#keyIndexer = log.doorbell(shared.DOORBELL_KEY_INDEXER);
    this.#flusher = log.doorbell(shared.DOORBELL_FLUSHER);
    this.#isSyncFlush = init.isSyncFlush;
    this.#flusherRungAt = log.offset(shared.APPENDED_OFFSET);
    const options = {
      drive,
      directory: paths.commitLog,
      fileSize: init.logFileSize,
      log,
      slots: new QueueSlots(init.queueSlots),
      clock: clockFrom(init.clock),
      dedupWindow: init.dedupWindow,
      queueFeed: init.queueFeed,
      keyFeed: init.keyFeed,
      reader: recent === undefined ? undefined : { worker: ownLane, recent },
    };
    this.#commitLog = new CommitLog(options, this.#flusherRungAt);
  }

  /** Appends what the lanes have, a batch of each. @returns true if there was any: call again */
  work(): boolean {
    let taken = 0;
    let hasWaiters = false;
    for (const { consumer, doorbell } of this.#lanes) {
      const count = this.#commitLog.appendFrom(consumer);
      if (count === 0) continue;
      taken += count;
      hasWaiters ||= this.#commitLog.hasWaiters;
      doorbell?.ring();
    }
    if (taken === 0) return false;
    if (hasWaiters) this.#indexer.wake();
    else this.#indexer.ring();
    if (this.#commitLog.isKeyFeedBusy) this.#keyIndexer.wake();
    else this.#keyIndexer.ring();
    const appended = this.#log.offset(shared.APPENDED_OFFSET);
    if (this.#isSyncFlush || appended - this.#flusherRungAt >= FLUSHER_WAKE_SIZE) {
      this.#flusherRungAt = appended;
      this.#flusher.ring();
    }
    return true;
  }

  close(): void {
    this.#commitLog.close();
  }
}
