import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RestingTicker } from "../../base/resting-ticker.ts";
import { SCHEDULE_TOPIC } from "../../format/names.ts";
import { decodeMessage } from "../../format/record/message.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import type { Log } from "../../observe/log.ts";
import type { ConfigFile } from "../config-file.ts";
import type { MessageStore, OutgoingMessage } from "../message-store.ts";
import { realPlaceOf } from "../send/real-place.ts";

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
/** While no message waits: less than any level's delay. */
const IDLE_PERIOD_MS = 500;
/** Messages of one level that are delivered in one round. */
const ROUND_MAX = 1000;
/** Messages, and bytes of them, that are being stored at once: where each waits for the disk, they wait together. */
const WINDOW_COUNT = 256;
const WINDOW_SIZE = 4_194_304;

interface DueMessage {
  offset: number;
  /** Undefined: nothing can be read there. */
  message: OutgoingMessage | undefined;
}

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
  /** By level. */
  readonly #running = new Map<number, Promise<void>>();
  readonly #timers: Timer[] = [];
  #looks: RestingTicker | undefined;
  #isDirty = false;
  #saving: Promise<void> | undefined;
  #isClosed = false;
  #version = { counter: 0, stateVersion: 0, timestamp: 0 };

  constructor(options: ScheduleOptions) {
    this.#o = options;
  }

  /** Once, when the store is open. @throws MillraceError MILLRACE_STORE_CORRUPT */
  load(): void {
    const stored = this.#o.file.read((text) => entriesOf(memberOf(parseJson(text), "offsetTable")).map(placeOf));
    for (const [level, offset] of stored ?? []) {
      if (level < 1 || level > this.#o.delayLevelsMs.length) continue;
      // After a crash the queue may end before the place, which is saved on its own: what comes next counts.
      const end = this.#o.store.appendedQueueOffset(SCHEDULE_TOPIC, level - 1);
      if (offset > end)
        this.#o.log.warn({ level, offset, end }, "the place of a delay level is beyond its queue, and is set back");
      this.#offsets.set(level, Math.min(offset, end));
    }
  }

  start(): void {
    const { clock, saveIntervalMs } = this.#o;
    const nextMs = (): number => this.#nextMs();
    this.#looks = new RestingTicker(clock, () => this.#round(), PERIOD_MS, IDLE_PERIOD_MS, nextMs);
    this.#timers.push(this.#looks);
    this.#timers.push(clock.setTicker(() => this.#saveQuietly(), saveIntervalMs, "once"));
  }

  /** The first message of the level that has not been delivered. */
  nextOffset(level: number): number {
    return this.#offset(level);
  }

  /** When the first message of all levels is due. */
  #nextMs(): number {
    const { store, delayLevelsMs, clock } = this.#o;
    const now = clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (let level = 1; level <= delayLevelsMs.length; level++) {
      const offset = this.#offset(level);
      if (offset >= store.maxQueueOffset(SCHEDULE_TOPIC, level - 1)) continue;
      const dueMs = store.queueEntry(SCHEDULE_TOPIC, level - 1, offset)?.tagsCode ?? now;
      next = Math.min(next, dueMs > now + delayLevelsMs[level - 1]! ? now : dueMs);
    }
    return next;
  }

  /** Resolves when what is due is stored. */
  #round(): Promise<unknown> {
    let isBusy = this.#running.size > 0;
    for (let level = 1; level <= this.#o.delayLevelsMs.length; level++) {
      if (this.#running.has(level)) continue;
      if (this.#offset(level) >= this.#o.store.maxQueueOffset(SCHEDULE_TOPIC, level - 1)) continue;
      isBusy = true;
      const delivery = this.#deliver(level).finally(() => this.#running.delete(level));
      this.#running.set(level, delivery);
    }
    this.#looks?.setBusy(isBusy);
    return Promise.all(this.#running.values());
  }

  #offset(level: number): number {
    const min = this.#o.store.minQueueOffset(SCHEDULE_TOPIC, level - 1);
    return Math.max(this.#offsets.get(level) ?? 0, min);
  }

  /** One window after the other, until a message is not due yet, cannot be stored now, or a round's worth is done. */
  async #deliver(level: number): Promise<void> {
    const end = Math.min(this.#o.store.maxQueueOffset(SCHEDULE_TOPIC, level - 1), this.#offset(level) + ROUND_MAX);
    for (let offset = this.#offset(level); offset < end && !this.#isClosed; offset = this.#offset(level)) {
      const due = this.#due(level, offset, end);
      if (due.length === 0 || !(await this.#deliverAll(level, due))) return;
    }
  }

  /** The messages from `offset` on whose time has come, as many as may be under way at once. */
  #due(level: number, offset: number, end: number): DueMessage[] {
    const { store, clock, delayLevelsMs } = this.#o;
    const now = clock.now();
    const due: DueMessage[] = [];
    for (let size = 0; offset < end && due.length < WINDOW_COUNT && size < WINDOW_SIZE; offset++) {
      const entry = store.queueEntry(SCHEDULE_TOPIC, level - 1, offset);
      // A time too far ahead can only come from a clock that was set back: it counts as due.
      if (entry !== undefined && entry.tagsCode > now && entry.tagsCode <= now + delayLevelsMs[level - 1]!) break;
      const record = entry === undefined ? undefined : store.readRecord(entry.physicalOffset);
      const message = record === undefined ? undefined : restored(record);
      if (message === undefined) this.#o.log.error({ level, offset }, "a delayed message cannot be read, and is passed over");
      due.push({ offset, message });
      size += entry?.size ?? 0;
    }
    return due;
  }

  /** Stores them in order; the level's place moves on past those before the first that fails. @returns did all succeed? */
  async #deliverAll(level: number, due: readonly DueMessage[]): Promise<boolean> {
    const { log } = this.#o;
    const results = await Promise.allSettled(due.map(async ({ message }) => message && this.#store(message)));
    for (const [index, result] of results.entries()) {
      const { offset } = due[index]!;
      if (result.status === "rejected") {
        log.warn(
          { level, offset, error: String(result.reason) },
          "a delayed message cannot be delivered now, and is tried again",
        );
        return false;
      }
      this.#offsets.set(level, offset + 1);
      this.#isDirty = true;
    }
    return true;
  }

  /** @throws MillraceError as `append` */
  async #store(message: OutgoingMessage): Promise<void> {
    this.#o.store.ensureQueues(message.topic, message.queueId + 1); // Also where the topic was deleted meanwhile.
    await this.#o.store.append(message);
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

  /** Resolves once the disk has the places as they are now. @throws MillraceError MILLRACE_STORE_… */
  async save(): Promise<void> {
    if (this.#isDirty) {
      this.#isDirty = false;
      this.#version = { ...this.#version, counter: this.#version.counter + 1, timestamp: this.#o.clock.now() };
      this.#saving = this.#o.file.saveLater(() => this.text());
    }
    try {
      await this.#saving; // Also where nothing is new: the last save may still be under way.
    } catch (error) {
      this.#isDirty = true;
      throw error;
    }
  }

  /** The next save makes good what this one fails to do. */
  async #saveQuietly(): Promise<void> {
    try {
      await this.save();
    } catch (error) {
      this.#o.log.error({ file: this.#o.file.path, error: String(error) }, "delay offsets could not be saved");
    }
  }

  /** Lets what is under way end, and saves. @throws MillraceError MILLRACE_STORE_… */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    await Promise.all(this.#running.values());
    await this.save();
  }
}

/** @throws MillraceError MILLRACE_STORE_CORRUPT */
function placeOf([level, offset]: [unknown, unknown]): [number, number] {
  const place: [number, number] = [Number(level), Number(offset)];
  if (place.every((value) => Number.isSafeInteger(value) && value >= 0)) return place;
  throw new MillraceError("MILLRACE_STORE_CORRUPT", `level ${String(level)} has no place ${String(offset)}`);
}

/** The message as it goes to its real topic. The text keeps DELAY, REAL_TOPIC and REAL_QID: consumers of Apache's broker see them as well. */
function restored(record: Buffer): OutgoingMessage | undefined {
  const message = decodeMessage(record);
  const place = realPlaceOf(message.properties);
  return place === undefined ? undefined : { ...message, ...place, body: Buffer.from(message.body) };
}
