import type { Clock } from "../../base/clock.ts";
import { type Checkpoint, encodeCheckpoint } from "../../format/files/checkpoint.ts";
import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import { encodeKnownQueues, type KnownQueues, type QueueBounds } from "../../format/files/queue-bounds.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import { queueDirectory } from "../queue/consume-queue.ts";
import type { QueueSlots } from "../queue/queue-slots.ts";
import type { SharedLog } from "../shared-log.ts";
import type { StorePaths } from "../store-paths.ts";

export interface CheckpointWriterOptions {
  drive: Drive;
  paths: StorePaths;
  queueFileSize: number;
  log: SharedLog;
  slots: QueueSlots;
  clock: Clock;
  /** Topics and the slots of their queues. */
  topics: () => ReadonlyMap<string, readonly number[]>;
  /** As recovery found it: fields that are not ours are kept. */
  checkpoint: Checkpoint;
}

const CHECKPOINT_MS = 1000;
/** Time between two looks at what the queues hold, for whoever calls noteQueues. */
export const NOTE_QUEUES_MS = 200;
/** A store of very many queues writes their bounds down less often: so many a millisecond. */
const BOUNDS_PER_MS = 10;

/**
 * Writes down, once a second while something happens, how far log, queues and index are on the disk (`checkpoint`, as
 * RocketMQ has it), and what the queues hold (`queuebounds`). The flusher has one for the one, the control thread one for
 * the other and for the clean end.
 */
export class CheckpointWriter {
  readonly #o: CheckpointWriterOptions;
  #last = "";
  #lastDispatched = -1;
  #lastCovered = -1;
  #nextMs = 0;
  #nextBoundsMs = 0;
  /**
   * What the queues' files held at the last look. They are written down beside a DISPATCHED_OFFSET read later, so that all
   * their entries are of records below it.
   */
  #before: QueueBounds[];
  /** QUEUES_WRITTEN_OFFSET before that look. */
  #covered: number;
  /** Dispatched and oldest offset at that look, if all was in files by then. */
  #seen = "";
  #topicsVersion: number;

  constructor(options: CheckpointWriterOptions) {
    this.#o = options;
    this.#topicsVersion = Atomics.load(options.log.words, shared.TOPICS_VERSION);
    this.#covered = options.log.offset(shared.QUEUES_WRITTEN_OFFSET);
    this.#before = this.#bounds();
  }

  /**
   * Writes down what the queues hold, for a start after the death of the process. Control thread: the flusher may be busy
   * for seconds, and what it has not noted by then is gone through again. @throws MillraceError MILLRACE_STORE_FULL, …_IO
   */
  noteQueues(): void {
    const now = this.#o.clock.now();
    if (now < this.#nextBoundsMs) return;
    this.#nextBoundsMs = now + this.#before.length / BOUNDS_PER_MS;
    const { log, topics } = this.#o;
    const topicsVersion = Atomics.load(log.words, shared.TOPICS_VERSION);
    const areTopicsNew = topicsVersion !== this.#topicsVersion;
    if (areTopicsNew) {
      // What was deleted must not be vouched for any longer, nor a topic of the same name be taken for it.
      this.#topicsVersion = topicsVersion;
      this.#covered = log.offset(shared.QUEUES_WRITTEN_OFFSET);
      this.#before = this.#bounds();
    }
    const dispatchedOffset = log.offset(shared.DISPATCHED_OFFSET);
    if (areTopicsNew || dispatchedOffset !== this.#lastDispatched || this.#covered !== this.#lastCovered) {
      const queues = this.#before.filter(({ topic }) => topics().has(topic));
      this.#writeBounds({ dispatchedOffset, coveredOffset: this.#covered, physicMsgTimestamp: 0, queues });
      this.#lastDispatched = dispatchedOffset;
      this.#lastCovered = this.#covered;
    }
    this.#covered = log.offset(shared.QUEUES_WRITTEN_OFFSET);
    // All was in files at the last look, and nothing has come since: the bounds are what they were.
    const seen = `${dispatchedOffset} ${log.offset(shared.MIN_OFFSET)}`;
    if (this.#covered === dispatchedOffset && seen === this.#seen) return;
    this.#seen = this.#covered === dispatchedOffset ? seen : "";
    this.#before = this.#bounds();
  }

  /** Writes the checkpoint when it is due: once a second, and waits for the disk. @throws MillraceError MILLRACE_STORE_FULL, …_IO */
  work(): void {
    const { log, clock } = this.#o;
    const now = clock.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + CHECKPOINT_MS;
    const flushed = log.offset(shared.QUEUES_FLUSHED_OFFSET);
    this.#writeCheckpoint(log.offset(shared.FLUSHED_TIMESTAMP), log.offset(shared.QUEUES_FLUSHED_TIMESTAMP), flushed);
  }

  /** The last word of a clean stop: all threads have ended, all is on the disk. */
  finish(): void {
    const { log } = this.#o;
    const timestamp = log.offset(shared.LAST_STORE_TIMESTAMP);
    const dispatchedOffset = log.offset(shared.DISPATCHED_OFFSET);
    const queues = this.#bounds().map((bounds) => ({ ...bounds, files: this.#filesOf(bounds) }));
    this.#writeBounds({ dispatchedOffset, coveredOffset: dispatchedOffset, physicMsgTimestamp: timestamp, queues });
    this.#writeCheckpoint(timestamp, timestamp, dispatchedOffset);
  }

  #writeBounds(known: KnownQueues): void {
    const { drive, paths } = this.#o;
    drive.names.replaceSmall(paths.queueBounds, encodeKnownQueues(known));
  }

  #writeCheckpoint(physicMsgTimestamp: number, logicsMsgTimestamp: number, logicsPhysicalOffset: number): void {
    const { drive, paths, log, checkpoint } = this.#o;
    const indexMsgTimestamp = log.offset(shared.INDEX_DURABLE_TIMESTAMP);
    const figures = `${physicMsgTimestamp} ${logicsMsgTimestamp} ${indexMsgTimestamp} ${logicsPhysicalOffset}`;
    if (figures === this.#last) return;
    const written = { ...checkpoint, physicMsgTimestamp, logicsMsgTimestamp, indexMsgTimestamp, logicsPhysicalOffset };
    drive.names.writeSmall(paths.checkpoint, encodeCheckpoint(written));
    this.#last = figures;
  }

  #bounds(): QueueBounds[] {
    const { slots, topics } = this.#o;
    const all: QueueBounds[] = [];
    for (const [topic, ofTopic] of topics()) {
      for (let queueId = 0; queueId < ofTopic.length; queueId++) {
        const slot = ofTopic[queueId]!;
        const maxOffset = slots.writtenOffset(slot);
        if (maxOffset > 0) all.push({ topic, queueId, minOffset: slots.minOffset(slot), maxOffset, files: [] });
      }
    }
    return all;
  }

  #filesOf({ topic, queueId, minOffset, maxOffset }: QueueBounds): QueueBounds["files"] {
    const { drive, paths, queueFileSize } = this.#o;
    const directory = queueDirectory(paths.consumeQueue, topic, queueId);
    const files: QueueBounds["files"] = [];
    const first = minOffset * ENTRY_SIZE;
    for (let base = first - (first % queueFileSize); base < maxOffset * ENTRY_SIZE; base += queueFileSize) {
      const file = basePath(directory, base);
      if (drive.names.exists(file)) files.push({ base, modifiedMs: drive.names.modifiedMs(file) });
    }
    return files;
  }
}
