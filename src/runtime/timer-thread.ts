import path from "node:path";
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from "node:worker_threads";
import { type Clock, SystemClock, type Timer } from "../base/clock.ts";
import type { TimerFigures, TimerView } from "../broker/later/timer-view.ts";
import { TIMER_TOPIC } from "../broker/topics/system-topics.ts";
import { TOPIC_QUEUES_MAX } from "../broker/topics/topics.ts";
import type { ConfigValues } from "../config/keys.ts";
import { TIMER_CHECK_SHOWN } from "../format/files/timer-checkpoint.ts";
import { WHEEL_BLANK_SLOTS, WHEEL_SLOTS } from "../format/files/timer-slot.ts";
import { queueNameFault } from "../format/names.ts";
import * as shared from "../format/shared/shared-words.ts";
import * as words from "../format/shared/timer-words.ts";
import type { Log } from "../observe/log.ts";
import type { Engine } from "./engine.ts";
import { onEnd } from "./supervisor.ts";
import { ended, ready, startThread } from "./threads.ts";
import { TimerCounts } from "./timer-counts.ts";
import type { TimerInit, ToTimerControl } from "./timer-duty.ts";

/** How often it is looked whether the first message has come that the thread is needed for, if nobody has said so, ms. */
const FIRST_LOOK_MS = 1000;

/**
 * The timer as the control thread has it: starts and stops its thread, makes topics for it, keeps its figures. The thread
 * starts with the first message that has a delivery time; in a store that has seen one before, with the broker.
 */
export class TimerThread implements TimerView {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #init: TimerInit;
  readonly #onFailure: (error: Error) => void;
  readonly #firstLook: Timer;
  #worker: Worker | undefined;
  readonly #port: MessagePort;
  readonly #cells: Float64Array;
  readonly #flags: Int32Array;
  readonly #lane: number;
  readonly #counts: TimerCounts;
  #checkpoint: Buffer = Buffer.alloc(TIMER_CHECK_SHOWN);
  #isStopping = false;

  /** @param lane of its own */
  static async start(
    engine: Engine,
    lane: number,
    values: ConfigValues,
    clock: Clock,
    log: Log,
    onFailure: (error: Error) => void,
  ): Promise<TimerThread> {
    engine.topics.ensureQueues(TIMER_TOPIC, 1);
    const timer = new TimerThread(engine, lane, values, clock, log, onFailure);
    const { drive, paths } = engine;
    if (timer.#queueEnd() > 0 || drive.names.exists(path.join(paths.config, "timercheck"))) await ready(timer.#launch());
    return timer;
  }

  private constructor(
    engine: Engine,
    lane: number,
    values: ConfigValues,
    clock: Clock,
    log: Log,
    onFailure: (error: Error) => void,
  ) {
    this.#engine = engine;
    this.#lane = lane;
    this.#clock = clock;
    this.#log = log;
    this.#counts = new TimerCounts(path.join(engine.paths.config, "timermetrics"), clock, log);
    const memory = new SharedArrayBuffer(words.TIMER_WORDS_SIZE);
    this.#cells = new Float64Array(memory);
    this.#flags = new Int32Array(memory);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on("message", (message: ToTimerControl) => this.#onMessage(message));
    port1.unref();
    engine.topics.onSlots((update) => port1.postMessage(update));
    const windowMax = WHEEL_SLOTS / 2 - WHEEL_BLANK_SLOTS;
    this.#onFailure = onFailure;
    this.#firstLook = new SystemClock(false).setTicker(() => this.#look(), FIRST_LOOK_MS);
    this.#init = {
      engine: engine.init,
      lane,
      port: port2,
      words: memory,
      topic: TIMER_TOPIC,
      stepMs: values.timerPrecisionMs,
      rollWindowSlots: values.timerRollWindowSlot < 2 ? windowMax : Math.min(values.timerRollWindowSlot, windowMax),
      logFileSize: values.mappedFileSizeTimerLog,
      flushIntervalMs: values.timerFlushIntervalMs,
      queuesMax: TOPIC_QUEUES_MAX,
      exit: engine.recovered.exit,
    };
  }

  #launch(): Worker {
    this.#firstLook.cancel();
    const worker = startThread("timer", this.#init, [this.#init.port]);
    this.#worker = worker;
    onEnd(worker, (reason) => {
      if (!this.#isStopping) this.#onFailure(reason ?? new Error("the timer thread has ended"));
    });
    return worker;
  }

  #look(): void {
    if (this.#queueEnd() > 0) this.ensureRunning();
  }

  /** There is, or will be in a moment, a message for it. */
  ensureRunning(): void {
    if (this.#worker === undefined && !this.#isStopping) this.#launch();
  }

  /** Of the timer topic, including what is on its way to the queue. */
  #queueEnd(): number {
    const slot = this.#engine.topics.slotOf(TIMER_TOPIC, 0);
    return slot === undefined ? 0 : this.#engine.slots.appendedOffset(slot);
  }

  #onMessage(message: ToTimerControl): void {
    switch (message.kind) {
      case "ensure":
        // The name becomes a directory: it is not believed, wherever the store comes from.
        if (queueNameFault(message.topic) === undefined) this.#engine.topics.ensureQueues(message.topic, message.queueCount);
        this.wake();
        return;
      case "fault":
        this.#log.error(message.figures, message.text);
        return;
      case "counts":
        this.#checkpoint = Buffer.from(message.checkpoint);
        this.#counts.change(message.changes, message.waiting);
        return;
      default:
    }
  }

  figures(): TimerFigures {
    const cells = this.#cells;
    return {
      readMs: this.#worker === undefined ? this.#clock.now() : cells[words.TIMER_READ_MS]!,
      queueOffset: cells[words.TIMER_QUEUE_OFFSET]!,
      waiting: cells[words.TIMER_WAITING]!,
      enqueued: cells[words.TIMER_ENQUEUED]!,
      delivered: cells[words.TIMER_DELIVERED]!,
      lateP50Ms: cells[words.TIMER_LATE_P50]!,
      lateP99Ms: cells[words.TIMER_LATE_P99]!,
      lateMaxMs: cells[words.TIMER_LATE_MAX]!,
      early: cells[words.TIMER_EARLY]!,
    };
  }

  checkpoint(): Buffer {
    return this.#checkpoint;
  }

  counts(): ReadonlyMap<string, { count: number; timeStamp: number }> {
    return this.#counts.counts;
  }

  /** Makes it look at the clock and at its queue. */
  wake(): void {
    this.#engine.log.doorbell(shared.DOORBELL_LANES + this.#lane).wake();
  }

  /** With a virtual clock: has it done all that was to be done by now, of all that its queue holds? */
  isDone(queueEnd: number): boolean {
    if (this.#worker === undefined) {
      if (queueEnd > 0) this.ensureRunning();
      return queueEnd === 0;
    }
    const cells = this.#cells;
    const isTaken = cells[words.TIMER_QUEUE_OFFSET]! >= queueEnd;
    return isTaken && (cells[words.TIMER_DONE_MS]! >= this.#clock.now() || cells[words.TIMER_NEXT_MS]! > this.#clock.now());
  }

  /** With a virtual clock, when it is done: time of its next delivery. */
  nextMs(): number {
    return this.#worker === undefined ? Number.POSITIVE_INFINITY : this.#cells[words.TIMER_NEXT_MS]!;
  }

  /** What is under way is stored, and its place saved. The log writer still runs. */
  async close(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#firstLook.cancel();
    const end = this.#worker === undefined ? undefined : ended(this.#worker);
    Atomics.store(this.#flags, words.TIMER_STOP, 1);
    this.wake();
    await end;
    // The thread's last words may still be on their way.
    for (let last = receiveMessageOnPort(this.#port); last !== undefined; last = receiveMessageOnPort(this.#port)) {
      this.#onMessage(last.message as ToTimerControl);
    }
    this.#counts.close();
    this.#port.close();
  }
}
