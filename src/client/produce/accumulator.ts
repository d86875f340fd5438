import { assert } from "../../base/assert.ts";
import type { Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import type { ResponseSink } from "../connection/pending-requests.ts";
import { faultMs, isRetryable, isRouteStale } from "../consume/retry-policy.ts";
import { Batch, type BufferedCallback, type SendWaiter } from "./batch.ts";
import type { Compressor } from "./compression.ts";
import { type OutgoingMessage, propertiesSizeMax } from "./outgoing-message.ts";
import type { BrokerFaults, PublishQueue, TopicPublisher } from "./publish-table.ts";
import { readSendResponse, type SendResponse } from "./send-response.ts";
import { connectionTo } from "./single-send.ts";
import type { UniqueIds } from "./unique-id.ts";

export interface AccumulatorSettings {
  /** Bytes of a batch's body. */
  batchSize: number;
  lingerMs: number;
  /** Batches in flight to one queue. */
  maxInFlight: number;
  /** Bytes of messages not yet acknowledged. */
  bufferMemory: number;
  retries: number;
  retryDelayMs: number;
  sendTimeoutMs: number;
  /** Whole batches of at least `compressOver` bytes are packed by it. */
  batchCompressor?: Compressor | undefined;
  compressOver: number;
}

/** dueMs of an open batch that waits for nothing but its queue's turn. */
const DUE = 0;

/**
 * Gathers messages into batches, Kafka's way, and sees each batch through to its end.
 *
 *   offer -> open batch of the queue --full, or lingerMs over--> ready --fewer than maxInFlight--> in flight -> settled
 *
 * A batch that is due while its queue is busy goes on filling up: under load batches grow by themselves.
 * With maxInFlight 1 the order of a queue's messages is kept, across retries too.
 */
export class Accumulator {
  readonly #instance: ClientInstance;
  readonly #settings: AccumulatorSettings;
  readonly #ids: UniqueIds;
  readonly #faults: BrokerFaults;
  /** Batches not settled yet, and the queue each is meant for at present. */
  readonly #outstanding = new Map<Batch, PublishQueue>();
  readonly #spare: Buffer[] = [];
  readonly #spareMax: number;
  /** Open batches, oldest first; sealed ones are skipped. */
  #aging: { queue: PublishQueue; batch: Batch }[] = [];
  #lingerTimer: Timer | undefined;
  #turnScheduled = false;
  #buffered = 0;
  #drainWaiters: (() => void)[] = [];
  #unheardFailure: Error | undefined;
  #closed: MillraceError | undefined;

  constructor(instance: ClientInstance, settings: AccumulatorSettings, ids: UniqueIds, faults: BrokerFaults) {
    this.#instance = instance;
    this.#settings = settings;
    this.#ids = ids;
    this.#faults = faults;
    this.#spareMax = Math.max(4, Math.floor(settings.bufferMemory / Math.max(1, settings.batchSize)));
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }

  /**
   * Takes one message.
   * @param body  compressed, if `sysFlag` says so
   * @returns false: the buffer is full; wait for `drained` and offer it again
   * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL, MILLRACE_TOPIC_UNKNOWN
   */
  offer(
    publisher: TopicPublisher,
    message: OutgoingMessage,
    body: Buffer,
    sysFlag: number,
    listener: BufferedCallback | SendWaiter | undefined,
  ): boolean {
    if (this.#closed !== undefined) throw this.#closed;
    const sizeMax = Batch.sizeMax(message, body.length);
    if (this.#buffered > 0 && this.#buffered + sizeMax > this.#settings.bufferMemory) {
      // Nothing more can come in until something goes out: waiting for lingerMs would be in vain.
      this.#dueAll();
      return false;
    }
    const pinned = publisher.pinned(message);
    let queue = pinned ?? this.#sticky(publisher);
    let batch = queue.slot.open;
    if (batch !== undefined && (batch.sysFlag !== sysFlag || !batch.fits(sizeMax))) {
      this.#seal(queue);
      if (pinned === undefined) queue = this.#sticky(publisher);
      batch = queue.slot.open;
    }
    batch ??= this.#openBatch(queue, sizeMax, sysFlag);
    const before = batch.size;
    try {
      batch.add(message, body, this.#ids, listener);
    } catch (error) {
      if (batch.count === 0) this.#dropEmpty(queue, batch);
      throw error;
    }
    this.#buffered += batch.size - before;
    if (pinned !== undefined) batch.pinned = true;
    return true;
  }

  /** Sends a batch that the caller made, in its turn among those of `queue`. */
  enqueue(queue: PublishQueue, batch: Batch): void {
    if (this.#closed !== undefined) throw this.#closed;
    this.#outstanding.set(batch, queue);
    this.#buffered += batch.size;
    if (queue.slot.open !== undefined) this.#seal(queue);
    queue.slot.ready.push(batch);
    this.#pump(queue);
  }

  /** Counts bytes of messages that are sent without a batch, so that one limit holds for all. */
  reserve(bytes: number): boolean {
    if (this.#buffered > 0 && this.#buffered + bytes > this.#settings.bufferMemory) return false;
    this.#buffered += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#buffered -= bytes;
    assert(this.#buffered >= 0, "no more bytes released than were buffered");
    if (this.#drainWaiters.length === 0 || this.#buffered > this.#settings.bufferMemory / 2) return;
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter();
  }

  /** Resolves when at most half of bufferMemory is in use. */
  drained(): Promise<void> {
    if (this.#closed !== undefined || this.#buffered <= this.#settings.bufferMemory / 2) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  /**
   * Sends what has gathered, without waiting for lingerMs; resolves when all messages taken so far are settled.
   * Rejects with the first failure, since the last flush, of a message that had no listener of its own.
   */
  async flush(): Promise<void> {
    this.#dueAll();
    await Promise.all(
      [...this.#outstanding.keys()].map((batch) => new Promise<void>((resolve) => batch.onSettled.push(resolve))),
    );
    const failure = this.#unheardFailure;
    this.#unheardFailure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** A message failed, and nobody listens: the next flush will tell. */
  noteUnheard(error: Error): void {
    this.#unheardFailure ??= error;
  }

  /** Takes nothing more, tries nothing again, and fails whatever is not in flight. */
  close(error: MillraceError): void {
    this.#closed = error;
    this.#lingerTimer?.cancel();
    this.#aging = [];
    for (const [batch, queue] of [...this.#outstanding]) {
      if (!batch.isInFlight) this.#settle(queue, batch, error);
    }
    const waiters = this.#drainWaiters;
    this.#drainWaiters = [];
    for (const waiter of waiters) waiter();
  }

  #sticky(publisher: TopicPublisher): PublishQueue {
    const current = publisher.sticky;
    if (current?.slot.open !== undefined) return current;
    // A queue with nothing under way answers soonest; else simply the next.
    const now = this.#instance.clock.now();
    let choice = publisher.next(now);
    for (let step = 1; step < publisher.queues.length && (choice.slot.inFlight > 0 || choice.slot.ready.length > 0); step++) {
      choice = publisher.next(now);
    }
    publisher.sticky = choice;
    return choice;
  }

  #openBatch(queue: PublishQueue, sizeMax: number, sysFlag: number): Batch {
    const { batchSize, lingerMs } = this.#settings;
    const memory =
      sizeMax > batchSize ? Buffer.allocUnsafeSlow(sizeMax) : (this.#spare.pop() ?? Buffer.allocUnsafeSlow(batchSize));
    const now = this.#ids.stamp();
    const batch = new Batch(memory, this.#ids.next(), sysFlag);
    batch.dueMs = now + lingerMs;
    queue.slot.open = batch;
    this.#outstanding.set(batch, queue);
    this.#aging.push({ queue, batch });
    this.#scheduleDue();
    return batch;
  }

  /** The message that it was opened for could not be written. */
  #dropEmpty(queue: PublishQueue, batch: Batch): void {
    queue.slot.open = undefined;
    this.#outstanding.delete(batch);
    this.#keepMemory(batch);
  }

  #keepMemory(batch: Batch): void {
    if (batch.memory.length === this.#settings.batchSize && this.#spare.length < this.#spareMax) this.#spare.push(batch.memory);
  }

  #scheduleDue(): void {
    const { lingerMs } = this.#settings;
    if (lingerMs > 0) this.#lingerTimer ??= this.#instance.clock.setTimer(() => this.#onLinger(), lingerMs);
    else if (!this.#turnScheduled) {
      this.#turnScheduled = true;
      // At the end of the turn of the event loop: what one burst of answers or one loop sends goes together.
      setImmediate(() => {
        this.#turnScheduled = false;
        this.#dueAll();
      });
    }
  }

  #onLinger(): void {
    this.#lingerTimer = undefined;
    const now = this.#instance.clock.now();
    let due = 0;
    while (due < this.#aging.length && this.#aging[due]!.batch.dueMs <= now) due++;
    for (const { queue, batch } of this.#aging.splice(0, due)) this.#due(queue, batch);
    // Sealed ones need no timer.
    while (this.#aging.length > 0 && this.#aging[0]!.queue.slot.open !== this.#aging[0]!.batch) this.#aging.shift();
    const next = this.#aging[0];
    if (next !== undefined && this.#closed === undefined) {
      this.#lingerTimer ??= this.#instance.clock.setTimer(() => this.#onLinger(), Math.max(1, next.batch.dueMs - now));
    }
  }

  #dueAll(): void {
    for (const { queue, batch } of this.#aging.splice(0)) this.#due(queue, batch);
  }

  #due(queue: PublishQueue, batch: Batch): void {
    if (queue.slot.open !== batch) return;
    batch.dueMs = DUE;
    this.#pump(queue);
  }

  #seal(queue: PublishQueue): void {
    const { slot } = queue;
    if (slot.open === undefined) return;
    slot.ready.push(slot.open);
    slot.open = undefined;
    this.#pump(queue);
  }

  #pump(queue: PublishQueue): void {
    const { slot } = queue;
    while (!slot.paused && this.#closed === undefined && slot.inFlight < this.#settings.maxInFlight) {
      let batch = slot.ready.shift();
      if (batch === undefined) {
        if (slot.open === undefined || slot.open.dueMs !== DUE) return;
        batch = slot.open;
        slot.open = undefined;
      }
      slot.inFlight++;
      this.#transmit(queue, batch);
    }
  }

  #transmit(queue: PublishQueue, batch: Batch): void {
    batch.attempts++;
    batch.isInFlight = true;
    try {
      const connection = connectionTo(this.#instance, queue);
      const { batchCompressor, compressOver } = this.#settings;
      if (batchCompressor !== undefined && batch.size >= compressOver) batch.pack(batchCompressor);
      const { body, envelope } = batch;
      const opaque = connection.open(new BatchRequest(this, queue, batch), this.#settings.sendTimeoutMs);
      const { writer } = connection;
      const at = writer.reserve(queue.batch.sizeMax + propertiesSizeMax(envelope, true));
      const end = queue.batch.write(writer.bytes, at, opaque, batch.sysFlag, this.#ids.stamp(), envelope, batch.id, body.length);
      writer.commit(end - at);
      connection.append(body);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      this.onOutcome(queue, batch, error);
    }
  }

  /** For BatchRequest: what became of one attempt. */
  onOutcome(queue: PublishQueue, batch: Batch, outcome: Error | SendResponse): void {
    queue.slot.inFlight--;
    batch.isInFlight = false;
    if (
      outcome instanceof Error &&
      batch.attempts <= this.#settings.retries &&
      this.#closed === undefined &&
      isRetryable(outcome)
    ) {
      this.#retry(queue, batch, outcome);
    } else this.#settle(queue, batch, outcome);
    this.#pump(queue);
  }

  #retry(queue: PublishQueue, batch: Batch, error: Error): void {
    const now = this.#instance.clock.now();
    const penalty = faultMs(error);
    if (penalty > 0) this.#faults.mark(queue.brokerName, now + penalty);
    if (isRouteStale(error))
      this.#instance.nameServers.refresh(queue.topic).catch((failure: unknown) => this.#instance.report(failure));
    const { publisher } = queue;
    const target = batch.pinned || publisher.queues.length === 0 ? queue : publisher.next(now, queue.brokerName);
    if (target.brokerName !== queue.brokerName) {
      this.#outstanding.set(batch, target);
      target.slot.ready.unshift(batch);
      this.#pump(target);
      return;
    }
    queue.slot.ready.unshift(batch);
    queue.slot.paused = true;
    this.#instance.clock.setTimer(() => {
      queue.slot.paused = false;
      this.#pump(queue);
    }, this.#settings.retryDelayMs * batch.attempts);
  }

  #settle(queue: PublishQueue, batch: Batch, outcome: Error | SendResponse): void {
    this.#outstanding.delete(batch);
    const unheard = batch.settle(outcome, queue);
    if (outcome instanceof Error) {
      if (unheard > 0) this.noteUnheard(outcome);
    } else if (batch.attempts === 1) {
      // Answered at the first attempt: the broker has read the bytes, so no socket needs them any more.
      this.#keepMemory(batch);
    }
    this.release(batch.size);
  }
}

/** One attempt to send a batch. */
class BatchRequest implements ResponseSink {
  readonly #accumulator: Accumulator;
  readonly #queue: PublishQueue;
  readonly #batch: Batch;

  constructor(accumulator: Accumulator, queue: PublishQueue, batch: Batch) {
    this.#accumulator = accumulator;
    this.#queue = queue;
    this.#batch = batch;
  }

  onResponse(bytes: Buffer, start: number, end: number): void {
    this.#accumulator.onOutcome(this.#queue, this.#batch, readSendResponse(bytes, start, end));
  }

  onFailure(error: MillraceError): void {
    this.#accumulator.onOutcome(this.#queue, this.#batch, error);
  }
}
