import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError, type OutgoingMessage, Producer, type ProducerOptions } from "../../src/index.ts";
import { createLatencies, type Latencies, record } from "./latency.ts";
import { monotonicMs, type Scoreboard, SEQUENCE_MAX } from "./scoreboard.ts";

export interface SenderSpec {
  topic: string;
  size: number;
  /** Numbers of the producers that this thread runs, of `producerCount` in all. */
  producers: readonly number[];
  producerCount: number;
  options: Omit<ProducerOptions, "group">;
  /** Messages in flight of each producer. */
  slots: number;
  /** Messages a second that this thread owes; 0: closed loop. */
  rate: number;
  /** Most messages of each producer; undefined: as many as go. */
  countMax: number | undefined;
}

export interface SenderReport {
  latencies: Latencies;
  /** Rejected sends by the code of their error, and the words of the first. */
  errors: Record<string, number>;
  firstError: string | undefined;
}

/** Bytes of a body: producer u32, sequence u32, due time f64, filler. */
export const PRODUCER_AT = 0;
export const SEQUENCE_AT = 4;
export const DUE_AT = 8;

/** A producer whose sends fail at once is not asked again at once. */
const PAUSE_MS = 10;

/** The producers of one client thread in one case. */
export class Senders {
  readonly #spec: SenderSpec;
  readonly #board: Scoreboard;
  readonly #thread: number;
  readonly #senders: Sender[];
  readonly report: SenderReport = { latencies: createLatencies(), errors: {}, firstError: undefined };
  isStopping = false;
  /** Open loop: messages handed over so far. */
  #issued = 0;
  #inFlight = 0;
  #onIdle: (() => void) | undefined;

  constructor(spec: SenderSpec, board: Scoreboard, thread: number) {
    this.#spec = spec;
    this.#board = board;
    this.#thread = thread;
    this.#senders = spec.producers.map((number) => new Sender(this, spec, number));
  }

  async start(): Promise<void> {
    await Promise.all(this.#senders.map((sender) => sender.producer.start()));
  }

  go(): void {
    if (this.#spec.rate > 0) this.#awaitTick();
    else for (const sender of this.#senders) while (sender.sendNext(monotonicMs()));
  }

  /** Sends nothing more but what is owed, and resolves when all is answered or has failed. */
  async stop(): Promise<SenderReport> {
    this.isStopping = true;
    if (this.#spec.rate > 0) this.#sendDue();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await Promise.all(this.#senders.map((sender) => sender.producer.close()));
    return this.report;
  }

  /** Wakes with the pacer, and sends what is due. */
  #awaitTick(): void {
    if (this.isStopping) return;
    const { tick } = this.#board;
    const seen = Atomics.load(tick, 0);
    this.#sendDue();
    const outcome = Atomics.waitAsync(tick, 0, seen);
    if (outcome.async) void outcome.value.then(() => this.#awaitTick());
    else setImmediate(() => this.#awaitTick());
  }

  /** Message i is due at the millisecond in which its turn comes; one that cannot be sent yet stays due. */
  #sendDue(): void {
    const now = monotonicMs();
    const startMs = this.#board.paceStartMs;
    for (;;) {
      const dueMs = startMs + Math.ceil((this.#issued * 1000) / this.#spec.rate);
      if (dueMs > now || dueMs >= this.#board.windowEndMs) return;
      if (!this.#senders[this.#issued % this.#senders.length]!.sendNext(dueMs)) return;
      this.#issued++;
      if (this.#board.isInWindow(dueMs)) record(this.report.latencies.lateness, Math.max(0, monotonicMs() - dueMs));
    }
  }

  onSent(): void {
    this.#inFlight++;
    this.#board.add(this.#thread, "sent");
  }

  onSettled(sender: Sender, slot: Slot, error: Error | undefined): void {
    this.#inFlight--;
    const { latencies, errors } = this.report;
    if (error === undefined) {
      this.#board.markAnswered(sender.number, slot.sequence);
      this.#board.add(this.#thread, "answered");
      if (this.#board.isInWindow(slot.dueMs)) record(latencies.answer, monotonicMs() - slot.dueMs);
    } else {
      this.#board.add(this.#thread, "rejected");
      const code = error instanceof MillraceError ? error.code : error.name;
      errors[code] = (errors[code] ?? 0) + 1;
      this.report.firstError ??= error.message;
    }
    if (this.#spec.rate > 0) {
      if (this.isStopping) this.#sendDue();
    } else if (!this.isStopping) {
      if (error === undefined) sender.sendNext(monotonicMs());
      else void sleep(PAUSE_MS).then(() => sender.sendNext(monotonicMs()));
    }
    if (this.isStopping && this.#inFlight === 0) this.#onIdle?.();
  }
}

/** A message that is used over and over: its body must not change while it is in flight. */
class Slot {
  readonly message: OutgoingMessage & { body: Buffer };
  sequence = 0;
  dueMs = 0;
  readonly settled: (error?: Error) => void;

  constructor(topic: string, size: number, settled: (slot: Slot, error?: Error) => void) {
    this.message = { topic, body: Buffer.alloc(size, "abcdefghijklmnopqrstuvwxyz") };
    this.settled = (error) => settled(this, error);
  }
}

class Sender {
  readonly number: number;
  readonly producer: Producer;
  readonly #all: Senders;
  readonly #isBatched: boolean;
  readonly #countMax: number | undefined;
  readonly #free: Slot[];
  /** Not accepted yet: the producer's buffer is full, or the route is not known. */
  #refused: Slot[] = [];
  #sequence = 0;

  constructor(all: Senders, spec: SenderSpec, number: number) {
    this.#all = all;
    this.number = number;
    this.#countMax = spec.countMax;
    this.#isBatched = (spec.options.batchSize ?? 0) > 0;
    this.producer = new Producer({ ...spec.options, group: "bench-producer" });
    const settled = (slot: Slot, error?: Error): void => {
      this.#free.push(slot);
      all.onSettled(this, slot, error);
    };
    this.#free = Array.from({ length: spec.slots }, () => new Slot(spec.topic, spec.size, settled));
    for (const { message } of this.#free) message.body.writeUInt32LE(number, PRODUCER_AT);
  }

  /** @returns false if all that may be are in flight, or all that may be were sent */
  sendNext(dueMs: number): boolean {
    if (this.#sequence === this.#countMax) return false;
    if (this.#sequence === SEQUENCE_MAX) {
      throw new Error(
        `${SEQUENCE_MAX} messages of one producer are all that a case can tell apart: fewer --seconds or more --producers`,
      );
    }
    const slot = this.#free.pop();
    if (slot === undefined) return false;
    slot.sequence = this.#sequence++;
    slot.dueMs = dueMs;
    slot.message.body.writeUInt32LE(slot.sequence, SEQUENCE_AT);
    slot.message.body.writeDoubleLE(dueMs, DUE_AT);
    this.#all.onSent();
    this.#hand(slot);
    return true;
  }

  #hand(slot: Slot): void {
    if (!this.#isBatched) {
      this.producer.send(slot.message).then(
        () => slot.settled(),
        (error: unknown) => slot.settled(asError(error)),
      );
      return;
    }
    try {
      if (this.#refused.length === 0 && this.producer.sendBuffered(slot.message, slot.settled)) return;
    } catch (error) {
      slot.settled(asError(error));
      return;
    }
    this.#refused.push(slot);
    if (this.#refused.length === 1) void this.#handLater();
  }

  async #handLater(): Promise<void> {
    const outcome = await this.producer.drained().then(() => undefined, asError);
    const slots = this.#refused;
    this.#refused = [];
    for (const slot of slots) {
      if (outcome === undefined) this.#hand(slot);
      else slot.settled(outcome);
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
