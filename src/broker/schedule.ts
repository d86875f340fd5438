import type { Clock, Timer } from "../base/clock.ts";
import { memberOf, parseJson, writeJson } from "../format/fastjson.ts";
import { decodeMessage } from "../format/message.ts";
import { PROPERTY } from "../format/properties.ts";
import type { Log } from "../observe/log.ts";
import type { ConfigFile } from "./config-file.ts";
import { SCHEDULE_TOPIC } from "./delay-levels.ts";
import type { MessageStore, OutgoingMessage } from "./message-store.ts";

export interface ScheduleOptions {
  store: MessageStore;
  /** delayOffset.json. */
  file: ConfigFile;
  /** Of level 1, 2, …, ms. */
  delayLevelsMs: readonly number[];
  /** flushDelayOffsetInterval, ms. */
  saveIntervalMs: number;
  clock: Clock;
  log: Log;
}

const PERIOD_MS = 100;
/** Messages of one level that are delivered in one round. */
const ROUND_MAX = 1000;

/**
 * Delivers the messages of SCHEDULE_TOPIC_XXXX when their time has come. Each level is one queue, and in a queue
 * the first is always due first, so one place per level is all that is kept. The place moves on only when the
 * message is stored in its real topic: after a crash a message may be delivered twice, never lost or early.
 * Source: Apache `ScheduleMessageService`.
 */
export class ScheduleService {
  readonly #o: ScheduleOptions;
  /** Next queueOffset by level. */
  readonly #offsets = new Map<number, number>();
  readonly #busy = new Set<number>();
  readonly #timers: Timer[] = [];
  #isDirty = false;
  #isClosed = false;
  #version = { counter: 0, stateVersion: 0, timestamp: 0 };

  constructor(options: ScheduleOptions) {
    this.#o = options;
  }

  load(): void {
    const text = this.#o.file.load();
    const table = text === undefined ? undefined : memberOf(parseJson(text), "offsetTable");
    if (typeof table !== "object" || table === null) return;
    for (const [level, offset] of Object.entries(table)) this.#offsets.set(Number(level), Number(offset));
  }

  start(): void {
    const { clock, saveIntervalMs } = this.#o;
    this.#timers.push(clock.setTicker(() => this.#round(), PERIOD_MS));
    this.#timers.push(clock.setTicker(() => this.save(), saveIntervalMs));
  }

  #round(): void {
    for (let level = 1; level <= this.#o.delayLevelsMs.length; level++) {
      if (this.#busy.has(level)) continue;
      if (this.#offset(level) >= this.#o.store.maxQueueOffset(SCHEDULE_TOPIC, level - 1)) continue;
      this.#busy.add(level);
      void this.#deliver(level).finally(() => this.#busy.delete(level));
    }
  }

  #offset(level: number): number {
    const min = this.#o.store.minQueueOffset(SCHEDULE_TOPIC, level - 1);
    return Math.max(this.#offsets.get(level) ?? 0, min);
  }

  async #deliver(level: number): Promise<void> {
    const { store, clock, log, delayLevelsMs } = this.#o;
    const end = Math.min(store.maxQueueOffset(SCHEDULE_TOPIC, level - 1), this.#offset(level) + ROUND_MAX);
    for (let offset = this.#offset(level); offset < end && !this.#isClosed; offset++) {
      const entry = store.queueEntry(SCHEDULE_TOPIC, level - 1, offset);
      if (entry !== undefined) {
        const now = clock.now();
        // A time too far ahead can only come from a clock that was set back: it counts as due.
        const dueMs = entry.tagsCode > now + delayLevelsMs[level - 1]! ? now : entry.tagsCode;
        if (dueMs > now) return;
        const record = store.readRecord(entry.physicalOffset);
        const message = record === undefined ? undefined : restored(record);
        if (message === undefined) {
          log.error({ level, offset, physicalOffset: entry.physicalOffset }, "a delayed message cannot be read, and is passed over");
        } else {
          try {
            store.ensureQueues(message.topic, message.queueId + 1); // Also where the topic was deleted meanwhile.
            await store.append(message);
          } catch (error) {
            log.warn({ level, offset, error: String(error) }, "a delayed message cannot be delivered now, and is tried again");
            return;
          }
        }
      }
      this.#offsets.set(level, offset + 1);
      this.#isDirty = true;
    }
  }

  /** `delivered,max` by level, for the runtime information. */
  progress(): Map<number, string> {
    const progress = new Map<number, string>();
    for (let level = 1; level <= this.#o.delayLevelsMs.length; level++) {
      const max = this.#o.store.maxQueueOffset(SCHEDULE_TOPIC, level - 1);
      if (max > 0) progress.set(level, `${this.#offset(level)},${max}`);
    }
    return progress;
  }

  /** delayOffset.json as it is now. */
  text(): string {
    return writeJson({ dataVersion: this.#version, offsetTable: new Map([...this.#offsets].sort(([a], [b]) => a - b)) });
  }

  save(): void {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    this.#version = { ...this.#version, counter: this.#version.counter + 1, timestamp: this.#o.clock.now() };
    this.#o.file.save(this.text());
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    this.save();
  }
}

/** The message as it goes to its real topic. The text keeps DELAY, REAL_TOPIC and REAL_QID: consumers of Apache's broker see them as well. */
function restored(record: Buffer): OutgoingMessage | undefined {
  const message = decodeMessage(record);
  const topic = message.properties.get(PROPERTY.REAL_TOPIC);
  const queueId = Number(message.properties.get(PROPERTY.REAL_QUEUE_ID));
  if (topic === undefined || !Number.isInteger(queueId) || queueId < 0) return undefined;
  return { ...message, topic, queueId, body: Buffer.from(message.body) };
}
