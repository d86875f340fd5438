import { type Clock, peersClock, type Timer } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { AppendResult } from "../broker/message-store.ts";
import { watermarkRemark } from "../broker/send/send-responses.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Doorbell } from "../ring/doorbell.ts";
import {
  ACK_DUPLICATE,
  ACK_OK,
  ACK_STORE_FULL,
  ACK_WATERMARK,
  APPEND_MULTI,
  APPEND_ONCE,
  APPEND_WINDOW_SHIFT,
  APPEND_WITHOUT_QUEUE,
  LaneProducer,
  RESERVE_FULL,
} from "../ring/lane.ts";
import { type EngineInit, writerDoorbell } from "../store/engine-init.ts";
import type { SharedLog } from "../store/shared-log.ts";

interface PendingAppend {
  size: number;
  isNoWait: boolean;
  physicalOffset: number;
  queueOffset: number;
  storeTimestamp: number;
  done: (error: MillraceError | undefined, result: AppendResult | undefined) => void;
}

interface WaitingRecord {
  record: Buffer;
  slot: number;
  count: number;
  flags: number;
  hashLow: number;
  hashHigh: number;
  pending: PendingAppend;
}

/** Asks that a message whose unique key was stored within the window is not stored again; the hash as of DedupHash. */
export interface AppendOnce {
  windowS: number;
  hashLow: number;
  hashHigh: number;
}

const WAKE_CHECK_MS = 50;
/** Records that may wait for room in the rings, and their bytes: beyond that the store is too slow for whoever sends. */
const WAITING_MAX = 8192;
const WAITING_SIZE_MAX = 32 * 1_048_576;
const FLUSH_FAILED = new MillraceError("MILLRACE_STORE_IO", "the flush failed");
const STORE_LOST = new MillraceError("MILLRACE_STORE_IO", "a thread of the store has ended");

/**
 * A producer on the thread's own lane that is no socket: the control thread's internal appends, and the
 * embedding. Answers by callback when the record is stored as the flush mode demands.
 */
export class LaneClient {
  readonly #lane: LaneProducer;
  readonly #log: SharedLog;
  readonly #doorbell: Doorbell;
  readonly #writer: Doorbell;
  readonly #isSyncFlush: boolean;
  readonly #entryCount: number;
  readonly #pending: (PendingAppend | undefined)[] = [];
  readonly #free: number[] = [];
  /** For the rings to have room, in order. */
  readonly #waiting: WaitingRecord[] = [];
  /** Bytes of those. */
  #waitingSize = 0;
  /** For the disk, in log order. */
  readonly #unflushed: PendingAppend[] = [];
  readonly #clock: Clock;
  /** While something is under way. */
  #ticker: Timer | undefined;
  #isParked = false;
  /** Rung also for other things than acks. */
  #onBell: (() => void) | undefined;
  #isPublishScheduled = false;
  #isClosed = false;
  #inFlight = 0;
  /** Called after acks were taken: room may have come. */
  onRoom: () => void = () => {};

  constructor(init: EngineInit, lane: number, log: SharedLog, clock: Clock) {
    const memory = init.lanes[lane]!;
    this.#lane = new LaneProducer(memory);
    this.#log = log;
    this.#doorbell = log.doorbell(shared.DOORBELL_LANES + lane);
    this.#writer = log.doorbell(writerDoorbell(init));
    this.#isSyncFlush = init.isSyncFlush;
    this.#entryCount = memory.entryCount;
    this.#clock = peersClock(clock);
  }

  /** The wake-up of a parked loop needs a living loop; and a failed flush rings no bell. */
  #watch(): void {
    this.#ticker ??= this.#clock.setTicker(() => {
      this.#drain();
      if (this.#inFlight > 0) return;
      this.#ticker?.cancel();
      this.#ticker = undefined;
    }, WAKE_CHECK_MS);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Appends a whole record (or `count` records behind each other for one queue). The bytes are copied before the
   * call returns, unless the rings are full.
   * @param isMulti it is laid out for further queues (format/record/multi-dispatch.ts)
   * @param done error MILLRACE_BUSY, MILLRACE_STORE_FULL, MILLRACE_DISK_WATERMARK, MILLRACE_STORE_IO or MILLRACE_CLOSED, else
   *   the result of the first record
   */
  append(
    record: Buffer,
    slot: number,
    count: number,
    isWithoutQueue: boolean,
    isNoWait: boolean,
    done: (error: MillraceError | undefined, result: AppendResult | undefined) => void,
    once?: AppendOnce,
    isMulti = false,
  ): void {
    if (this.#isClosed) {
      done(new MillraceError("MILLRACE_CLOSED", "the store is closed"), undefined);
      return;
    }
    const pending: PendingAppend = { size: record.length, isNoWait, physicalOffset: 0, queueOffset: 0, storeTimestamp: 0, done };
    let flags = isWithoutQueue ? APPEND_WITHOUT_QUEUE : 0;
    if (isMulti) flags |= APPEND_MULTI;
    if (once !== undefined) flags |= APPEND_ONCE | (once.windowS << APPEND_WINDOW_SHIFT);
    const waiting = { record, slot, count, flags, hashLow: once?.hashLow ?? 0, hashHigh: once?.hashHigh ?? 0, pending };
    if (this.#waiting.length >= WAITING_MAX || this.#waitingSize > WAITING_SIZE_MAX) {
      done(new MillraceError("MILLRACE_BUSY", busyRemark(this.#waiting.length)), undefined);
      return;
    }
    this.#inFlight++;
    this.#watch();
    if (this.#waiting.length > 0 || !this.#push(waiting)) {
      this.#waiting.push(waiting);
      this.#waitingSize += record.length;
    }
  }

  /** From now on calls `onBell`, on this thread, after every ring of the lane's doorbell. */
  listen(onBell: () => void): void {
    this.#onBell = onBell;
    this.#park();
  }

  /** Whether an append now would have to wait for room. */
  get isFull(): boolean {
    return this.#waiting.length > 0;
  }

  #push({ record, slot, count, flags, hashLow, hashHigh, pending }: WaitingRecord): boolean {
    const at = this.#reserve(record.length);
    if (at === RESERVE_FULL) return false;
    record.copy(this.#lane.data, at);
    this.#commit(record.length, slot, count, flags, pending, hashLow, hashHigh);
    return true;
  }

  #reserve(sizeMax: number): number {
    if (this.#pending.length - this.#free.length >= this.#entryCount) return RESERVE_FULL;
    return this.#lane.reserve(sizeMax);
  }

  #commit(size: number, slot: number, count: number, flags: number, pending: PendingAppend, hashLow = 0, hashHigh = 0): void {
    const ticket = this.#free.pop() ?? this.#pending.length;
    this.#pending[ticket] = pending;
    this.#lane.commit(size, ticket, slot, count, flags, hashLow, hashHigh);
    if (this.#isPublishScheduled) return;
    this.#isPublishScheduled = true;
    queueMicrotask(() => this.#publish());
  }

  /**
   * Appends what `write` puts straight into the ring, without a copy in between.
   * @param write gets the ring's memory and a position in it; returns the end of what it wrote, at most `sizeMax` on
   * @returns false if there is no room now: wait for `onRoom`
   */
  tryAppendInPlace(
    sizeMax: number,
    slot: number,
    count: number,
    write: (data: Buffer, at: number) => number,
    done: (error: MillraceError | undefined, result: AppendResult | undefined) => void,
  ): boolean {
    if (this.#isClosed) throw new MillraceError("MILLRACE_CLOSED", "the store is closed");
    const at = this.#waiting.length > 0 ? RESERVE_FULL : this.#reserve(sizeMax);
    if (at === RESERVE_FULL) {
      if (this.#isPublishScheduled) this.#publish();
      return false;
    }
    const size = write(this.#lane.data, at) - at;
    this.#inFlight++;
    this.#watch();
    this.#commit(size, slot, count, 0, { size, isNoWait: false, physicalOffset: 0, queueOffset: 0, storeTimestamp: 0, done });
    return true;
  }

  #publish(): void {
    this.#isPublishScheduled = false;
    this.#lane.publish();
    this.#writer.ring();
    this.#park();
  }

  #park(): void {
    if (this.#isParked) return;
    for (;;) {
      const seen = this.#doorbell.seen();
      this.#drain();
      this.#onBell?.();
      if (this.#inFlight === 0 && this.#onBell === undefined) return;
      this.#isParked = this.#doorbell.parkAsync(seen, () => {
        this.#isParked = false;
        this.#park();
      });
      if (this.#isParked) return;
    }
  }

  #drain(): void {
    const ready = this.#lane.acksReady();
    const hasFailed = ready > 0 && this.#has(shared.FLAG_FLUSH_FAILED);
    for (let i = 0; i < ready; i++) {
      const ticket = this.#lane.takeAck();
      const pending = this.#pending[ticket]!;
      this.#pending[ticket] = undefined;
      this.#free.push(ticket);
      const isDuplicate = this.#lane.ackStatus === ACK_DUPLICATE;
      if (this.#lane.ackStatus !== ACK_OK && !isDuplicate) {
        this.#finish(pending, refusal(this.#lane.ackStatus, this.#log));
        continue;
      }
      pending.physicalOffset = this.#lane.ackPhysicalOffset;
      pending.queueOffset = this.#lane.ackQueueOffset;
      // When the first of duplicates was stored is not told.
      pending.storeTimestamp = isDuplicate ? this.#log.offset(shared.LAST_STORE_TIMESTAMP) : this.#lane.ackStoreTimestamp;
      if (hasFailed) this.#finish(pending, FLUSH_FAILED);
      else if (this.#isSyncFlush && !pending.isNoWait) this.#unflushed.push(pending);
      else this.#finish(pending, undefined);
    }
    if (ready > 0) this.#lane.releaseAcks();
    this.#releaseFlushed();
    if (ready > 0) this.#pushWaiting();
  }

  #has(flag: number): boolean {
    return (Atomics.load(this.#log.words, shared.RUNNING_FLAGS) & flag) !== 0;
  }

  #releaseFlushed(): void {
    if (this.#unflushed.length === 0) return;
    const flushed = this.#log.offset(shared.FLUSHED_OFFSET);
    const hasFailed = this.#has(shared.FLAG_FLUSH_FAILED);
    let count = 0;
    for (const pending of this.#unflushed) {
      if (pending.physicalOffset >= flushed && !hasFailed) break;
      count++;
      this.#finish(pending, pending.physicalOffset >= flushed ? FLUSH_FAILED : undefined);
    }
    this.#unflushed.splice(0, count);
  }

  #pushWaiting(): void {
    let count = 0;
    for (const waiting of this.#waiting) {
      if (!this.#push(waiting)) break;
      this.#waitingSize -= waiting.record.length;
      count++;
    }
    this.#waiting.splice(0, count);
    this.onRoom();
  }

  #finish(pending: PendingAppend, error: MillraceError | undefined): void {
    this.#inFlight--;
    const { physicalOffset, queueOffset, storeTimestamp, size } = pending;
    pending.done(error, error === undefined ? { physicalOffset, queueOffset, storeTimestamp, size } : undefined);
  }

  /** The log writer is gone: nobody will ever say what became of what is under way. */
  #giveUp(): void {
    const left = [...this.#pending, ...this.#unflushed.splice(0), ...this.#waiting.splice(0).map(({ pending }) => pending)];
    this.#pending.length = 0;
    for (const pending of left) if (pending !== undefined) this.#finish(pending, STORE_LOST);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#onBell = undefined;
    while (this.#inFlight > 0) {
      this.#park();
      if (this.#has(shared.FLAG_THREAD_LOST)) this.#giveUp();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#ticker?.cancel();
  }
}

/** Source: Apache `BrokerFastFailure`. */
function busyRemark(queueSize: number): string {
  return `[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, size of queue: ${queueSize}`;
}

function refusal(status: number, log: SharedLog): MillraceError {
  if (status === ACK_STORE_FULL) return new MillraceError("MILLRACE_STORE_FULL", "the disk is full");
  if (status !== ACK_WATERMARK) return new MillraceError("MILLRACE_STORE_IO", "the store has failed and takes no more messages");
  const [logDiskRatio, storeDiskRatio] = [log.offset(shared.LOG_DISK_RATIO), log.offset(shared.STORE_DISK_RATIO)];
  const text = watermarkRemark(logDiskRatio, storeDiskRatio);
  return new MillraceError("MILLRACE_DISK_WATERMARK", text, { logDiskRatio, storeDiskRatio });
}
