import { assert } from "../../base/assert.ts";
import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { fillInnerBase } from "../../format/files/batch-consume-queue.ts";
import {
  BLANK_SIZE,
  bornHostShift,
  MAGIC_BLANK,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_ID_OFFSET,
  QUEUE_OFFSET_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
  SYS_FLAG_OFFSET,
} from "../../format/record/message.ts";
import { dispatchCount, dispatchSlot, fillOffsets } from "../../format/record/multi-dispatch.ts";
import * as shared from "../../format/shared/shared-words.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import type { IndexFeedMemory } from "../../ring/index-feed.ts";
import {
  ACK_DUPLICATE,
  ACK_OK,
  ACK_STORE_FULL,
  ACK_STORE_UNAVAILABLE,
  ACK_WATERMARK,
  APPEND_INNER_BATCH,
  APPEND_MULTI,
  APPEND_NOTED,
  APPEND_ONCE,
  APPEND_WINDOW_SHIFT,
  APPEND_WITHOUT_QUEUE,
  type LaneConsumer,
} from "../../ring/lane.ts";
import type { QueueSlots } from "../queue/queue-slots.ts";
import type { RecentRecords } from "../queue/recent-records.ts";
import type { SharedLog } from "../shared-log.ts";
import type { DedupWindowMemory } from "./dedup-window.ts";
import { DuplicateFinder } from "./duplicate-finder.ts";
import { basePath } from "./log-files.ts";
import { RecordFeeds } from "./record-feeds.ts";
import { RunKernel } from "./run-kernel.ts";

const TWO_32 = 4_294_967_296;
/** Most descriptors of one lane that are taken before the others have their turn. */
const BATCH_MAX = 512;
const WIPE_SIZE = 4096;
/** Descriptors of so many records are left to WebAssembly, a run at a time. */
const RUN_COUNT_MIN = 4;
/** How long a failed attempt to start a new file is not repeated, ms. */
const ROLL_RETRY_MS = 100;

export interface CommitLogOptions {
  drive: Drive;
  directory: string;
  /** Bytes. */
  fileSize: number;
  log: SharedLog;
  slots: QueueSlots;
  clock: Clock;
  /** undefined: nobody asks for de-duplication. */
  dedupWindow: DedupWindowMemory | undefined;
  /** Rings to the indexers; without them these read the log. */
  queueFeed?: IndexFeedMemory;
  keyFeed?: IndexFeedMemory | undefined;
  /** Of a reader in the same thread: I/O worker `worker`. */
  reader?: { worker: number; recent: RecentRecords } | undefined;
}

/**
 * The append end of the CommitLog. Log-writer thread only; each call runs to its end without waiting for a
 * disk. Records come complete from the lanes; queueOffset, physicalOffset and storeTimestamp are patched in,
 * then whole runs of records are written at once. Writing by calls beats storing into mapped pages: the system
 * zeroes each page before it lets us store into it, and a full disk is an error instead of a SIGBUS.
 *
 * On the ack the record is in the page cache, not on the disk: whoever answers the producer decides by
 * FLUSHED_OFFSET what the flush mode demands. Source: Apache `CommitLog.asyncPutMessage`.
 */
export class CommitLog {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #fileSize: number;
  readonly #log: SharedLog;
  readonly #slots: QueueSlots;
  readonly #clock: Clock;
  readonly #duplicates: DuplicateFinder | undefined;
  readonly #feeds: RecordFeeds;
  readonly #reader: CommitLogOptions["reader"];
  #file: StoreFile;
  #base: number;
  #position: number;
  #rollRefusedUntilMs = 0;
  #rollRefusal = ACK_STORE_FULL;
  #lastTimestamp: number;
  #view: DataView;
  #runKernel: RunKernel | undefined;
  readonly #runKernels = new Map<LaneConsumer, RunKernel | undefined>();

  // What the present run has done, for taking it back when its copy fails.
  readonly #undoSlots = new Int32Array(BATCH_MAX);
  readonly #undoCounts = new Int32Array(BATCH_MAX);
  /** The last `appendFrom` wrote to a queue that a long poll is held for. */
  hasWaiters = false;
  #undoLength = 0;
  #undoRemembered = 0;
  /** Slots of further queues that grew in the present run, each followed by its offset before. */
  readonly #undoFurther: number[] = [];
  readonly #nextOffset = (slot: number): number => this.#slots.appendedOffset(slot);
  /** Messages of the present run. */
  #runCount = 0;
  #appendedCount = 0;
  #appendedSize = 0;
  #refusedCount = 0;

  /** @param appendedOffset end of the last whole record, as recovery found it */
  constructor(options: CommitLogOptions, appendedOffset: number) {
    this.#drive = options.drive;
    this.#directory = options.directory;
    this.#fileSize = options.fileSize;
    this.#log = options.log;
    this.#slots = options.slots;
    this.#clock = options.clock;
    const { dedupWindow, drive, directory, fileSize } = options;
    if (dedupWindow !== undefined) this.#duplicates = new DuplicateFinder(dedupWindow, drive, directory, fileSize);
    this.#feeds = new RecordFeeds(options.queueFeed, options.keyFeed, options.reader?.recent);
    this.#reader = options.reader;
    this.#base = appendedOffset - (appendedOffset % options.fileSize);
    this.#position = appendedOffset - this.#base;
    this.#lastTimestamp = options.log.offset(shared.LAST_STORE_TIMESTAMP);
    this.#view = new DataView(new ArrayBuffer(0));
    this.#file = this.#openLast();
    this.#log.setOffset(shared.CURRENT_FILE_BASE, this.#base);
  }

  /** A start on a full disk serves what there is; what is then written is refused until there is room. */
  #openLast(): StoreFile {
    try {
      return this.#open(this.#base, true);
    } catch (error) {
      if (refusalOf(error) !== ACK_STORE_FULL) throw error;
      return this.#open(this.#base, false);
    }
  }

  #open(base: number, isReserved = true): StoreFile {
    const file = this.#drive.openFile(basePath(this.#directory, base), { size: this.#fileSize, writable: true, mapped: false });
    try {
      if (isReserved) file.reserve();
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  /**
   * Appends what the lane has, at most BATCH_MAX messages or batches.
   * @returns how many it took; the caller rings the doorbells when > 0
   */
  appendFrom(lane: LaneConsumer): number {
    this.#view = lane.dataView;
    if (!this.#runKernels.has(lane)) this.#runKernels.set(lane, RunKernel.over(lane));
    this.#runKernel = this.#runKernels.get(lane);
    const refusal = this.#refusal();
    this.hasWaiters = false;
    let taken = 0;
    let looks = lane.looks - 1;
    let runStart = 0;
    let runEnd = 0;
    while (taken < BATCH_MAX && lane.next()) {
      // What came while the batch is being taken has not been stored before it was sent: delays are counted from this time.
      if (lane.looks !== looks) {
        looks = lane.looks;
        this.#lastTimestamp = Math.max(this.#lastTimestamp, this.#clock.now());
        if (taken === 0) this.#log.setOffset(shared.WRITING_SINCE, this.#lastTimestamp);
      }
      taken++;
      if (refusal !== ACK_OK) {
        lane.ack(lane.ticket, refusal, 0, 0, 0);
        this.#refusedCount += lane.count;
        continue;
      }
      if ((lane.flags & APPEND_ONCE) !== 0 && this.#isLikelyDuplicate(lane)) {
        this.#copyRun(lane, runStart, runEnd); // The first one may stand in the run.
        runStart = 0;
        runEnd = 0;
        if (this.#answerDuplicate(lane)) continue;
      }
      const pending = runEnd - runStart;
      if (this.#position + pending + lane.size + BLANK_SIZE > this.#fileSize) {
        this.#copyRun(lane, runStart, runEnd);
        runStart = 0;
        runEnd = 0;
        if (!this.#roll()) {
          lane.ack(lane.ticket, this.#rollRefusal, 0, 0, 0);
          this.#refusedCount += lane.count;
          continue;
        }
      } else if (lane.dataStart !== runEnd) {
        this.#copyRun(lane, runStart, runEnd);
        runEnd = lane.dataStart;
        runStart = lane.dataStart;
      }
      if (runStart === runEnd) {
        runStart = lane.dataStart;
        runEnd = lane.dataStart;
      }
      if ((lane.flags & APPEND_MULTI) !== 0) this.#fillFurther(lane);
      this.#patch(lane, this.#base + this.#position + runEnd - runStart);
      runEnd += lane.size;
    }
    if (taken === 0) return 0;
    this.#copyRun(lane, runStart, runEnd);
    this.#feeds.publish(); // Before the log's end, so that no indexer reads what it is about to be told.
    this.#log.setOffset(shared.APPENDED_OFFSET, this.#base + this.#position);
    this.#log.setOffset(shared.LAST_STORE_TIMESTAMP, this.#lastTimestamp);
    this.#log.setOffset(shared.APPENDED_COUNT, this.#appendedCount);
    this.#log.setOffset(shared.APPENDED_SIZE, this.#appendedSize);
    this.#log.setOffset(shared.REFUSED_COUNT, this.#refusedCount);
    this.#log.setOffset(shared.WRITING_SINCE, 0);
    lane.publish();
    return taken;
  }

  #openNew(base: number): StoreFile {
    try {
      return this.#open(base);
    } catch (error) {
      this.#drive.names.remove(basePath(this.#directory, base)); // The blocks that it got are better used by others meanwhile.
      throw error;
    }
  }

  /** Why nothing may be appended now, or ACK_OK. */
  #refusal(): number {
    const flags = Atomics.load(this.#log.words, shared.RUNNING_FLAGS);
    if (flags === 0) return ACK_OK;
    this.#duplicates?.forgetBelow(this.#log.offset(shared.MIN_OFFSET)); // A file held open keeps its space.
    return (flags & shared.FLAGS_FAILED) !== 0 ? ACK_STORE_UNAVAILABLE : ACK_WATERMARK;
  }

  /** The queue's next record is one that only the indexer can tell of: so it wakes those who wait for it. */
  #leaveToIndexer(slot: number): void {
    if (this.#reader?.recent.isWatched(slot) === true) this.#slots.setWaiting(slot, this.#reader.worker);
  }

  /** Fills the open fields of the descriptor's records, in the lane, and writes their ack. */
  #patch(lane: LaneConsumer, physicalOffset: number): void {
    const view = this.#view;
    const slot = lane.slot;
    const hasQueue = (lane.flags & APPEND_WITHOUT_QUEUE) === 0;
    const queueOffset = hasQueue ? this.#slots.appendedOffset(slot) : 0;
    const timestamp = this.#lastTimestamp;
    const timestampHigh = Math.floor(timestamp / TWO_32);
    const timestampLow = (timestamp - timestampHigh * TWO_32) | 0;
    const isNoted = (lane.flags & APPEND_NOTED) !== 0;
    let at = lane.dataStart;
    let physical = physicalOffset;
    const isInnerBatch = (lane.flags & APPEND_INNER_BATCH) !== 0;
    const recordCount = isInnerBatch ? 1 : lane.count;
    // Halves of the two offsets, of which only the lower ones change from record to record, but for their overflows.
    let queueHigh = Math.floor(queueOffset / TWO_32);
    let queueLow = (queueOffset - queueHigh * TWO_32) | 0;
    let physicalHigh = Math.floor(physicalOffset / TWO_32);
    let physicalLow = (physicalOffset - physicalHigh * TWO_32) | 0;
    const run = isNoted && recordCount >= RUN_COUNT_MIN ? this.#runKernel : undefined;
    for (let i = 0; i < recordCount; i++) {
      if (
        run !== undefined &&
        hasQueue &&
        isFarFromOverflow(queueLow, recordCount) &&
        isFarFromOverflow(physicalLow, lane.size)
      ) {
        const left = recordCount - i;
        const done = run.fill(at, left, queueHigh, queueLow, physicalHigh, physicalLow, timestampHigh, timestampLow);
        if (done > 0) {
          this.#feeds.addRun(run, done, slot, queueOffset + i, physical, timestamp);
          const size = done * run.size;
          at += size;
          physical += size;
          queueLow = (queueLow + done) | 0;
          physicalLow = (physicalLow + size) | 0;
          i += done - 1;
          continue;
        }
      }
      const sysFlag = view.getUint8(at + SYS_FLAG_OFFSET + 3);
      const size = view.getInt32(at);
      if (isNoted) this.#feeds.add(view, at, sysFlag, slot, hasQueue ? queueOffset + i : 0, physical, timestamp, size);
      view.setInt32(at + QUEUE_OFFSET_OFFSET, queueHigh);
      view.setInt32(at + QUEUE_OFFSET_OFFSET + 4, queueLow);
      view.setInt32(at + PHYSICAL_OFFSET_OFFSET, physicalHigh);
      view.setInt32(at + PHYSICAL_OFFSET_OFFSET + 4, physicalLow);
      const timestampAt = at + STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag);
      view.setInt32(timestampAt, timestampHigh);
      view.setInt32(timestampAt + 4, timestampLow);
      at += size;
      physical += size;
      if (hasQueue) {
        queueLow = (queueLow + 1) | 0;
        if (queueLow === 0) queueHigh++;
      }
      const before = physicalLow;
      physicalLow = (physicalLow + size) | 0;
      if (before < 0 && physicalLow >= 0) physicalHigh++;
    }
    if (isInnerBatch) fillInnerBase(view, at - lane.tailSize, queueOffset);
    assert(at === lane.dataStart + lane.size, "a descriptor covers whole records");
    if (hasQueue) this.#slots.setAppendedOffset(slot, queueOffset + lane.count);
    if (!isNoted) this.#leaveToIndexer(slot);
    this.hasWaiters ||= this.#slots.hasWaiters(slot);
    this.#undoSlots[this.#undoLength] = slot;
    this.#undoCounts[this.#undoLength++] = hasQueue ? lane.count : 0;
    this.#runCount += lane.count;
    lane.ack(lane.ticket, ACK_OK, queueOffset, physicalOffset, timestamp);
    if ((lane.flags & APPEND_ONCE) === 0 || this.#duplicates === undefined) return;
    const queueId = view.getInt32(lane.dataStart + QUEUE_ID_OFFSET);
    this.#duplicates.window.add(lane.hashLow, lane.hashHigh, physicalOffset, queueId, queueOffset, timestamp);
    this.#undoRemembered++;
  }

  /**
   * Gives the record its places in the further queues that it goes to, and its final size: less than its room in the lane,
   * so that it ends the run. Source: Apache `LmqDispatch.wrapLmqDispatch`, `updateLmqOffsets`.
   */
  #fillFurther(lane: LaneConsumer): void {
    const view = this.#view;
    const end = lane.dataStart + lane.size;
    const size = fillOffsets(view, lane.dataStart, end, this.#nextOffset);
    const count = dispatchCount(view, end);
    const undoFrom = this.#undoFurther.length;
    for (let i = 0; i < count; i++) {
      const slot = dispatchSlot(view, end, i);
      this.#undoFurther.push(slot, this.#slots.appendedOffset(slot));
      this.#leaveToIndexer(slot);
      this.hasWaiters ||= this.#slots.hasWaiters(slot);
    }
    // From what was before: a queue that is named twice has the message once.
    for (let i = undoFrom; i < this.#undoFurther.length; i += 2)
      this.#slots.setAppendedOffset(this.#undoFurther[i]!, this.#undoFurther[i + 1]! + 1);
    lane.size = lane.withTail(lane.dataStart, size);
  }

  #isLikelyDuplicate(lane: LaneConsumer): boolean {
    return this.#duplicates?.window.find(lane.hashLow, lane.hashHigh, this.#windowStart(lane)) === true;
  }

  #windowStart(lane: LaneConsumer): number {
    return this.#lastTimestamp - 1000 * (lane.flags >>> APPEND_WINDOW_SHIFT);
  }

  /** @returns false: it is none */
  #answerDuplicate(lane: LaneConsumer): boolean {
    const { hashLow, hashHigh } = lane;
    const duplicates = this.#duplicates!;
    if (!duplicates.find(lane.data, lane.dataStart, hashLow, hashHigh, this.#windowStart(lane))) return false;
    const { queueOffset, physicalOffset, queueId } = duplicates.window;
    lane.ack(lane.ticket, ACK_DUPLICATE, queueOffset, physicalOffset, queueId);
    return true;
  }

  /** Copies [runStart, runEnd) of the lane to the file's end. A failure refuses these messages only. */
  #copyRun(lane: LaneConsumer, runStart: number, runEnd: number): void {
    const size = runEnd - runStart;
    if (size === 0) return;
    lane.seal(runStart, runEnd);
    try {
      this.#file.write(this.#position, lane.data, runStart, runEnd);
      this.#position += size;
      this.#appendedCount += this.#runCount;
      this.#appendedSize += size;
      this.#feeds.settle();
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      lane.refuseLast(this.#undoLength, refusalOf(error));
      this.#wipe(size);
      this.#feeds.undo();
      this.#refusedCount += this.#runCount;
      for (let i = this.#undoLength - 1; i >= 0; i--) {
        const slot = this.#undoSlots[i]!;
        this.#slots.setAppendedOffset(slot, this.#slots.appendedOffset(slot) - this.#undoCounts[i]!);
      }
      for (let i = this.#undoFurther.length - 2; i >= 0; i -= 2)
        this.#slots.setAppendedOffset(this.#undoFurther[i]!, this.#undoFurther[i + 1]!);
      for (; this.#undoRemembered > 0; this.#undoRemembered--) this.#duplicates!.window.takeBack();
    }
    this.#undoLength = 0;
    if (this.#undoFurther.length > 0) this.#undoFurther.length = 0;
    this.#undoRemembered = 0;
    this.#runCount = 0;
  }

  /**
   * Empties [position, position + size): a write that failed may have left whole records there. Behind a smaller record
   * written later, recovery would take them for messages that follow a damaged stretch.
   */
  #wipe(size: number): void {
    const zeros = Buffer.alloc(Math.min(size, WIPE_SIZE));
    try {
      for (let done = 0; done < size; done += zeros.length)
        this.#file.write(this.#position + done, zeros, 0, Math.min(zeros.length, size - done));
    } catch {
      // What could not be written now was not written before.
    }
  }

  /** Closes the present file with a blank marker and goes to the next. @returns false when there is no room for one */
  #roll(): boolean {
    if (this.#clock.now() < this.#rollRefusedUntilMs) return false;
    const base = this.#base + this.#fileSize;
    try {
      const next = this.#takePrepared(base) ?? this.#openNew(base);
      try {
        this.#writeMarker();
      } catch (error) {
        next.close();
        throw error;
      }
      this.#goOnIn(next, base);
      return true;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      this.#rollRefusal = refusalOf(error);
      this.#rollRefusedUntilMs = this.#clock.now() + ROLL_RETRY_MS;
      return false;
    } finally {
      // Not before CURRENT_FILE_BASE: the flusher would make the file anew that is being written, and that is never asked for.
      Atomics.compareExchange(this.#log.words, shared.PREPARED_STATE, shared.PREPARE_WRITER, shared.PREPARE_NONE);
    }
  }

  #writeMarker(): void {
    const marker = Buffer.alloc(BLANK_SIZE);
    marker.writeUInt32BE(this.#fileSize - this.#position, 0);
    marker.writeUInt32BE(MAGIC_BLANK, 4);
    this.#file.write(this.#position, marker, 0, BLANK_SIZE);
  }

  #goOnIn(next: StoreFile, base: number): void {
    this.#duplicates?.forgetBelow(this.#log.offset(shared.MIN_OFFSET));
    this.#file.close();
    this.#file = next;
    this.#feeds.addBlank(this.#base + this.#position, this.#fileSize - this.#position); // Before the log's end, as in `appendFrom`.
    this.#base = base;
    this.#position = 0;
    this.#log.setOffset(shared.APPENDED_OFFSET, base);
    this.#log.setOffset(shared.CURRENT_FILE_BASE, base);
  }

  /** The file that the flusher has made ready, if it is the right one. Keeps the flusher from making one until the state is given back. */
  #takePrepared(base: number): StoreFile | undefined {
    const { words, cells } = this.#log;
    for (;;) {
      const state = Atomics.load(words, shared.PREPARED_STATE);
      if (state === shared.PREPARE_NONE) {
        if (Atomics.compareExchange(words, shared.PREPARED_STATE, state, shared.PREPARE_WRITER) === state) return undefined;
      } else if (state === shared.PREPARE_BUSY) {
        Atomics.wait(words, shared.PREPARED_STATE, state, 1000); // It is seconds of work at the worst; two makers would collide.
      } else {
        const fd = Atomics.load(words, shared.PREPARED_FD);
        const file = this.#drive.adoptFile(basePath(this.#directory, base), this.#fileSize, fd);
        Atomics.store(words, shared.PREPARED_STATE, shared.PREPARE_WRITER);
        if (cells[shared.PREPARED_BASE] === base) return file;
        file.close(); // Of another place in the log: kept, it would be in the way of all that follow.
        return undefined;
      }
    }
  }

  /** The key indexer has fallen behind with its ring: wake it. */
  get isKeyFeedBusy(): boolean {
    return this.#feeds.isKeyFeedBusy;
  }

  close(): void {
    this.#duplicates?.close();
    this.#file.close();
  }
}

/** Whether the lower half of an offset can grow by so much without its upper half. */
function isFarFromOverflow(low: number, by: number): boolean {
  return (low >>> 0) + by < TWO_32;
}

function refusalOf(error: unknown): number {
  return error instanceof MillraceError && error.code === "MILLRACE_STORE_FULL" ? ACK_STORE_FULL : ACK_STORE_UNAVAILABLE;
}
