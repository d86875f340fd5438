import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { type Clock, clockFrom, VirtualClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import * as shared from "../format/shared/shared-words.ts";
import * as words from "../format/shared/timer-words.ts";
import type { Drive } from "../os/api.ts";
import type { Doorbell } from "../ring/doorbell.ts";
import { ACK_OK, APPEND_MULTI, LaneProducer, RESERVE_FULL } from "../ring/lane.ts";
import { type EngineInit, writerDoorbell } from "../store/engine-init.ts";
import { FurtherQueues } from "../store/log/further-queues.ts";
import { LogReader } from "../store/log/log-reader.ts";
import { ConsumeQueue, queueDirectory } from "../store/queue/consume-queue.ts";
import { QueueSlots } from "../store/queue/queue-slots.ts";
import type { TopicSlotsUpdate } from "../store/queue/topic-slots.ts";
import type { LastExit } from "../store/recovery/abort-file.ts";
import { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import { TimerFiles } from "../store/timer/timer-files.ts";
import { TimerLatency } from "../store/timer/timer-latency.ts";
import { type TimerSink, TimerStore } from "../store/timer/timer-store.ts";

export interface TimerInit {
  engine: EngineInit;
  lane: number;
  /** TopicSlotsUpdates come here; ToTimerControl go out. */
  port: MessagePort;
  words: SharedArrayBuffer;
  topic: string;
  stepMs: number;
  rollWindowSlots: number;
  logFileSize: number;
  flushIntervalMs: number;
  queuesMax: number;
  exit: LastExit;
}

/** What the timer thread tells the control thread. */
export type ToTimerControl =
  | { kind: "ensure"; topic: string; queueCount: number }
  | { kind: "fault"; text: string; figures: Record<string, number | string> }
  | { kind: "counts"; changes: Map<string, number>; waiting: number; checkpoint: Uint8Array };

/** Messages are read as they are due, not in the order in which they stand: little is gained by reading far ahead. */
const READ_SIZE = 16_384;
const IDLE_MS = 100;
const ENSURE_MS = 2000;
const RETRY_MS = 500;

/** The timer thread: wheel and timer log, and a lane of its own to the log writer. Blocks; no event loop runs meanwhile. */
export class TimerDuty implements TimerSink {
  readonly #init: TimerInit;
  readonly #log: SharedLog;
  readonly #clock: Clock;
  readonly #lane: LaneProducer;
  readonly #own: Doorbell;
  readonly #writer: Doorbell;
  readonly #slots: QueueSlots;
  readonly #topics = new Map<string, readonly number[]>();
  readonly #reader: LogReader;
  #queue: ConsumeQueue | undefined;
  /** undefined: messages go to their own queues only. */
  readonly #further: FurtherQueues | undefined;
  readonly #files: TimerFiles;
  readonly #latency = new TimerLatency();
  readonly #store: TimerStore;
  readonly #cells: Float64Array;
  readonly #flags: Int32Array;
  readonly #counts = new Map<string, number>();
  #sent = 0;
  #acked = 0;
  #stored = 0;
  #hasFailed = false;
  #lastFlushMs = 0;

  constructor(init: TimerInit, drive: Drive) {
    this.#init = init;
    const { engine, lane, stepMs } = init;
    const paths = new StorePaths(engine.storePath, engine.commitLogPath);
    this.#log = new SharedLog(engine.shared);
    this.#clock = clockFrom(engine.clock);
    this.#lane = new LaneProducer(engine.lanes[lane]!);
    this.#own = this.#log.doorbell(shared.DOORBELL_LANES + lane);
    this.#writer = this.#log.doorbell(writerDoorbell(engine));
    this.#slots = new QueueSlots(engine.queueSlots);
    this.#reader = new LogReader(drive, paths.commitLog, engine.logFileSize, { scanSize: READ_SIZE });
    this.#further = engine.isLmq ? new FurtherQueues((name) => this.#slotFor(name, 0)) : undefined;
    this.#cells = new Float64Array(init.words);
    this.#flags = new Int32Array(init.words);
    const { logFileSize, exit } = init;
    this.#files = new TimerFiles({ drive, paths, logFileSize, stepMs, exit, nowMs: this.#clock.now() });
    this.#store = new TimerStore({
      files: this.#files,
      queue: {
        min: () => this.#slots.minOffset(this.#slot(init.topic, 0) ?? 0),
        max: () => this.#queueEnd(),
        read: (offset, count, target) => this.#queueOf(drive, paths)?.read(offset, count, target) ?? 0,
      },
      reader: this.#reader,
      sink: this,
      latency: this.#latency,
      stepMs,
      rollWindowSlots: init.rollWindowSlots,
      now: () => this.#clock.now(),
      appendedOffset: () => this.#log.offset(shared.APPENDED_OFFSET),
      dispatchedOffset: () => this.#log.offset(shared.DISPATCHED_OFFSET),
      onCount: (topic, change) => this.#counts.set(topic, (this.#counts.get(topic) ?? 0) + change),
      onFault: (text, figures) => this.#post({ kind: "fault", text, figures }),
    });
    this.#readUpdates();
    // The log's end may have been lost, and with it messages that were taken already: what comes in their place counts.
    this.#files.queueOffset = Math.min(this.#files.queueOffset, this.#queueEnd());
    this.#publish();
  }

  #post(message: ToTimerControl): void {
    this.#init.port.postMessage(message);
  }

  #readUpdates(): void {
    for (let next = receiveMessageOnPort(this.#init.port); next !== undefined; next = receiveMessageOnPort(this.#init.port)) {
      const { topic, slots } = next.message as TopicSlotsUpdate;
      if (slots.length === 0) this.#topics.delete(topic);
      else this.#topics.set(topic, slots);
    }
  }

  #slot(topic: string, queueId: number): number | undefined {
    return this.#topics.get(topic)?.[queueId];
  }

  #queueOf(drive: Drive, paths: StorePaths): ConsumeQueue | undefined {
    const slot = this.#slot(this.#init.topic, 0);
    if (this.#queue !== undefined || slot === undefined) return this.#queue;
    const directory = queueDirectory(paths.consumeQueue, this.#init.topic, 0);
    const tail = { slots: this.#slots, slot };
    this.#queue = new ConsumeQueue(drive, directory, this.#init.engine.queueFileSize, false, { tail });
    return this.#queue;
  }

  #queueEnd(): number {
    const slot = this.#slot(this.#init.topic, 0);
    return slot === undefined ? 0 : this.#slots.maxOffset(slot);
  }

  /** Until the control thread says that it is enough. */
  run(): void {
    for (;;) {
      const seen = this.#own.seen();
      if (Atomics.load(this.#flags, words.TIMER_STOP) !== 0) break;
      this.#readUpdates();
      const hasMore = this.#round();
      this.#flush(false);
      this.#publish();
      if (!hasMore) this.#own.park(seen, this.#parkMs());
    }
    this.#flush(true);
    this.#files.close();
    this.#queue?.close();
    this.#reader.close();
  }

  #round(): boolean {
    this.#hasFailed = false;
    try {
      return this.#store.work();
    } catch (error) {
      // A full disk: nothing is taken from the queue, nor out of the wheel, until there is room.
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_STORE_FULL") throw error;
      this.#post({ kind: "fault", text: "the timer has no disk space, and waits", figures: { error: error.message } });
      this.#hasFailed = true;
      return false;
    }
  }

  #parkMs(): number {
    if (this.#hasFailed) return RETRY_MS;
    return Math.max(1, Math.min(IDLE_MS, this.#store.restMs()));
  }

  #publish(): void {
    const cells = this.#cells;
    cells[words.TIMER_READ_MS] = this.#files.readTime * this.#init.stepMs;
    cells[words.TIMER_WAITING] = this.#files.waiting;
    cells[words.TIMER_ENQUEUED] = this.#store.enqueued;
    cells[words.TIMER_DELIVERED] = this.#store.delivered;
    cells[words.TIMER_LATE_MAX] = this.#latency.maxMs;
    cells[words.TIMER_EARLY] = this.#latency.early;
    if (this.#clock instanceof VirtualClock) {
      const now = this.#clock.now();
      cells[words.TIMER_NEXT_MS] = this.#store.nextMs();
      if (this.#store.isIdle() && this.#clock.now() === now) cells[words.TIMER_DONE_MS] = now;
    }
    cells[words.TIMER_QUEUE_OFFSET] = this.#files.queueOffset;
  }

  #flush(isLast: boolean): void {
    const now = this.#clock.now();
    if (!isLast && now - this.#lastFlushMs < this.#init.flushIntervalMs) return;
    this.#lastFlushMs = now;
    this.#reader.forgetBelow(this.#log.offset(shared.MIN_OFFSET));
    this.#queue?.forgetBelow(this.#files.queueOffset);
    this.#files.flush(now, this.#log.offset(shared.APPENDED_OFFSET), this.#log.offset(shared.FLUSHED_OFFSET));
    this.#cells[words.TIMER_LATE_P50] = this.#latency.quantile(0.5);
    this.#cells[words.TIMER_LATE_P99] = this.#latency.quantile(0.99);
    if (this.#counts.size === 0 && !isLast) return;
    const checkpoint = new Uint8Array(this.#files.shown());
    this.#post({ kind: "counts", changes: new Map(this.#counts), waiting: this.#files.waiting, checkpoint });
    this.#counts.clear();
  }

  append(record: Buffer, size: number, topic: string | undefined, queueId: number): boolean {
    const slot = this.#slotFor(topic ?? this.#init.topic, queueId);
    if (slot === undefined) return false;
    const further = topic === undefined ? undefined : this.#further?.layOut(record.subarray(0, size));
    if (further !== undefined) this.#push(further, further.length, slot, APPEND_MULTI);
    else this.#push(record, size, slot, 0);
    return true;
  }

  #push(record: Buffer, size: number, slot: number, flags: number): void {
    let at = this.#lane.reserve(size);
    while (at === RESERVE_FULL) {
      this.#awaitAcks();
      at = this.#lane.reserve(size);
    }
    record.copy(this.#lane.data, at, 0, size);
    this.#lane.commit(size, 0, slot, 1, flags);
    this.#sent++;
  }

  /** Where the topic was deleted meanwhile, it is made again. */
  #slotFor(topic: string, queueId: number): number | undefined {
    if (this.#slot(topic, queueId) !== undefined || queueId >= this.#init.queuesMax) return this.#slot(topic, queueId);
    this.#post({ kind: "ensure", topic, queueCount: queueId + 1 });
    for (let waited = 0; waited < ENSURE_MS && this.#slot(topic, queueId) === undefined; waited += 2) {
      this.#own.nap(this.#own.seen(), 2);
      this.#readUpdates();
    }
    return this.#slot(topic, queueId);
  }

  #awaitAcks(): void {
    this.#lane.publish();
    this.#writer.ring();
    const seen = this.#own.seen();
    if (this.#takeAcks() === 0) this.#own.park(seen, IDLE_MS);
  }

  #takeAcks(): number {
    const ready = this.#lane.acksReady();
    for (let i = 0; i < ready; i++) {
      this.#lane.takeAck();
      if (this.#lane.ackStatus === ACK_OK && this.#stored === this.#acked) this.#stored++;
      this.#acked++;
    }
    if (ready > 0) this.#lane.releaseAcks();
    return ready;
  }

  settle(): number {
    while (this.#acked < this.#sent) this.#awaitAcks();
    const stored = this.#stored;
    if (stored < this.#sent) this.#hasFailed = true;
    this.#sent = 0;
    this.#acked = 0;
    this.#stored = 0;
    return stored;
  }
}
