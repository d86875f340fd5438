import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../format/files/consume-queue.ts";
import { deleteKeyOf, ENQUEUED_NEVER, TimerRecord } from "../../format/files/timer-record.ts";
import { WHEEL_BLANK_SLOTS, WHEEL_SLOTS } from "../../format/files/timer-slot.ts";
import * as unit from "../../format/files/timer-unit.ts";
import { readInt64, recordSizeAt } from "../../format/record/message.ts";
import type { LogReader } from "../log/log-reader.ts";
import { OpenSlot } from "./open-slot.ts";
import { TimerArrivals } from "./timer-arrivals.ts";
import type { TimerFiles } from "./timer-files.ts";
import type { TimerLatency } from "./timer-latency.ts";

/** The queue of the timer topic. */
export interface TimerQueue {
  min(): number;
  max(): number;
  /** Up to `count` entries of 20 bytes. @returns how many */
  read(queueOffset: number, count: number, target: Buffer): number;
}

/** Where messages go that leave the timer. */
export interface TimerSink {
  /** `topic` undefined: back into the timer topic. @returns false: there is no such queue, nor can it be made */
  append(record: Buffer, size: number, topic: string | undefined, queueId: number): boolean;
  /** Waits for all. @returns how many of those appended since the last call are stored, up to the first that is not */
  settle(): number;
}

export interface TimerStoreOptions {
  files: TimerFiles;
  queue: TimerQueue;
  reader: LogReader;
  sink: TimerSink;
  latency: TimerLatency;
  stepMs: number;
  /** Slots ahead in which a message stands until its time; further ones are rolled. */
  rollWindowSlots: number;
  now: () => number;
  /** One past the last byte of the log: appended, and in the queues. */
  appendedOffset: () => number;
  dispatchedOffset: () => number;
  /** How many more messages of the topic wait. */
  onCount: (topic: string, change: number) => void;
  onFault: (text: string, figures: Record<string, number | string>) => void;
}

/** Messages taken into the wheel, and delivered, at once. */
const BATCH = 1000;
/** Shortest rest between two deliveries of one slot, ms. */
const REST_MS_MAX = 20;

/**
 * For so long after a slot has begun it is not opened: a recall that came just before must be in the log by then, and is
 * otherwise answered as failed. What is due meanwhile is so much late. ms
 */
export function openingGraceMs(stepMs: number): number {
  return Math.min(100, Math.floor(stepMs / 5));
}

/**
 * Messages with a delivery time: from the timer topic into the wheel, and from there, one slot after the other, to their topics,
 * each when it is due. A message is in the log all the time, 52 bytes of the timer log and a share of a slot are what it costs
 * to wait. Delivered at least once and never before its time. Timer thread only. Source: Apache `TimerMessageStore`.
 */
export class TimerStore {
  readonly #o: TimerStoreOptions;
  readonly #record = new TimerRecord();
  readonly #entries: Buffer = Buffer.alloc(BATCH * ENTRY_SIZE);
  readonly #arrivals: TimerArrivals;
  /** Places in their batch of the messages that were handed over. */
  readonly #sent: Int32Array = new Int32Array(BATCH);
  readonly #graceMs: number;
  /** Slots before this may be read: everything that was in the log when they began has been taken. */
  #openUpTo: number;
  #opening: { slot: number; logEnd: number; queueEnd: number } | undefined;
  #slot: OpenSlot | undefined;
  delivered = 0;
  enqueued = 0;

  constructor(options: TimerStoreOptions) {
    this.#o = options;
    this.#graceMs = openingGraceMs(options.stepMs);
    this.#arrivals = new TimerArrivals(BATCH, options.files, options.stepMs, options.onCount);
    this.#openUpTo = options.files.readTime;
  }

  #present(): number {
    return Math.floor(this.#o.now() / this.#o.stepMs);
  }

  /** Slots before this have begun, and long enough ago. */
  #begun(): number {
    return Math.floor((this.#o.now() - this.#graceMs) / this.#o.stepMs) + 1;
  }

  /** What is due in a slot before this can no more be put into it. */
  #firstFree(): number {
    const { files } = this.#o;
    return files.readTime + (this.#slot !== undefined || files.firstUndelivered >= 0 ? 1 : 0);
  }

  /** One round. @returns true: there is more to be done at once */
  work(): boolean {
    const hasTaken = this.#take();
    this.#open();
    const hasRead = this.#read();
    return hasTaken || hasRead;
  }

  /** ms at which something of what waits is to be done; Infinity: nothing waits. */
  nextMs(): number {
    const { files, stepMs } = this.#o;
    if (this.#slot !== undefined) return this.#slot.nextDueMs;
    const end = files.readTime + WHEEL_SLOTS;
    const slot = files.wheel.next(files.readTime, end);
    return slot === end ? Number.POSITIVE_INFINITY : slot * stepMs + this.#graceMs;
  }

  /** How long nothing has to be done, ms, unless something arrives. */
  restMs(): number {
    const { now, stepMs } = this.#o;
    if (this.#slot === undefined) return stepMs - ((now() - this.#graceMs) % stepMs);
    return Math.max(Math.min(REST_MS_MAX, Math.ceil(stepMs / 50)), this.#slot.nextDueMs - now());
  }

  /** Whether nothing is left that could be done now. */
  isIdle(): boolean {
    const { files, queue, now } = this.#o;
    if (files.queueOffset < queue.max()) return false;
    return this.#slot === undefined ? files.readTime >= this.#begun() : this.#slot.nextDueMs > now();
  }

  /** A slot may be read when what was stored before it began, a recall above all, is in the wheel. */
  #open(): void {
    const { queue, files, appendedOffset, dispatchedOffset } = this.#o;
    if (this.#opening === undefined) {
      const slot = this.#begun();
      if (slot <= this.#openUpTo) return;
      this.#opening = { slot, logEnd: appendedOffset(), queueEnd: -1 };
    }
    const opening = this.#opening;
    if (opening.queueEnd < 0 && dispatchedOffset() >= opening.logEnd) opening.queueEnd = queue.max();
    if (opening.queueEnd < 0 || files.queueOffset < opening.queueEnd) return;
    this.#openUpTo = opening.slot;
    this.#opening = undefined;
  }

  /** From the timer topic into the wheel. */
  #take(): boolean {
    const { queue, files, sink } = this.#o;
    const max = queue.max();
    const min = queue.min();
    if (files.queueOffset < min) {
      this.#o.onFault("messages of the timer topic were deleted before they were read", { from: files.queueOffset, to: min });
      files.queueOffset = min;
    }
    if (files.queueOffset >= max) return false;
    const count = queue.read(files.queueOffset, Math.min(BATCH, max - files.queueOffset), this.#entries);
    this.#o.reader.invalidate();
    const arrivals = this.#arrivals;
    arrivals.clear();
    let expired = 0;
    let seen = 0;
    for (; seen < count; seen++) {
      const physicalOffset = entryPhysicalOffset(this.#entries, seen * ENTRY_SIZE);
      const size = entrySize(this.#entries, seen * ENTRY_SIZE);
      if (!this.#locate(physicalOffset, size)) continue;
      const asked = this.#askedSlot(physicalOffset);
      if (asked < 0) continue;
      // What is due soon may have missed its slot: it goes into the next one.
      if (asked >= this.#firstFree() || this.#isAhead()) {
        if (!this.#enter(seen, asked, physicalOffset, size)) break;
      } else if (!this.#record.isMark && this.#send(ENQUEUED_NEVER, false, this.#o.now())) this.#sent[expired++] = seen;
    }
    const stored = sink.settle();
    const taken = stored < expired ? this.#sent[stored]! : seen;
    this.delivered += stored;
    this.enqueued += arrivals.write(taken, this.#present());
    files.queueOffset += taken;
    files.saveProgress(files.firstUndelivered, files.firstDueMs);
    return taken > 0 && files.queueOffset < max;
  }

  /** Is the message in `#record` due later? */
  #isAhead(): boolean {
    const { stepMs, now } = this.#o;
    return Math.min(this.#record.askedMs(stepMs), this.#record.outMs + stepMs) > now();
  }

  /** Of the message in `#record`. -1: it is none that waits, and is passed over */
  #askedSlot(physicalOffset: number): number {
    const { outMs, realTopic } = this.#record;
    if (outMs >= 0 && realTopic !== undefined) return Math.floor(outMs / this.#o.stepMs);
    this.#o.onFault("a message of the timer topic has no time or no topic, and is passed over", { physicalOffset });
    return -1;
  }

  /** Notes the message in `#record` for its slot, or for one on the way there. @returns false: reading is too far behind */
  #enter(place: number, asked: number, physicalOffset: number, size: number): boolean {
    const { rollWindowSlots, files } = this.#o;
    const present = this.#present();
    const ahead = asked - present;
    let slot = asked;
    let magic = unit.UNIT_DEFAULT | (this.#record.isMark ? unit.UNIT_DELETE : 0);
    if (ahead >= rollWindowSlots) {
      magic |= unit.UNIT_ROLL;
      // Never so little left over that the next roll would come late.
      slot = present + (ahead - rollWindowSlots < rollWindowSlots / 3 ? Math.floor(rollWindowSlots / 2) : rollWindowSlots);
    }
    if (slot >= files.readTime + WHEEL_SLOTS - WHEEL_BLANK_SLOTS) return false;
    // After a clock was set back: what is read already does not come again.
    this.#arrivals.add(place, Math.max(slot, this.#firstFree()), magic, physicalOffset, size, this.#record.realTopic!);
    return true;
  }

  #locate(physicalOffset: number, size: number): boolean {
    const { reader, appendedOffset, onFault } = this.#o;
    if (reader.window(physicalOffset, appendedOffset(), size) && recordSizeAt(reader.bytes, reader.at, reader.end) > 0) {
      this.#record.read(reader.bytes, reader.at);
      return true;
    }
    onFault("a message that waits for its time cannot be read, and is passed over", { physicalOffset });
    return false;
  }

  #nextSlot(): OpenSlot | undefined {
    const { files } = this.#o;
    const time = files.wheel.next(files.readTime, this.#openUpTo);
    if (time > files.readTime) {
      files.readTime = time;
      files.saveProgress(-1, 0);
    }
    return time >= this.#openUpTo ? undefined : this.#openSlot(time);
  }

  /** What is due of the slot that is open. */
  #read(): boolean {
    const { files, now } = this.#o;
    this.#slot ??= this.#nextSlot();
    const slot = this.#slot;
    if (slot === undefined) return false;
    const from = slot.next;
    const end = Math.min(slot.size, from + BATCH);
    const nowMs = now();
    this.#o.reader.invalidate();
    let to = from;
    let sent = 0;
    for (; to < end && slot.dueMs(to) <= nowMs; to++) if (this.#deliver(slot, to, nowMs)) this.#sent[sent++] = to;
    const stored = sent === 0 ? 0 : this.#o.sink.settle();
    this.delivered += stored;
    slot.next = stored < sent ? this.#sent[stored]! : to;
    files.waiting = Math.max(0, files.waiting - (slot.next - from));
    if (slot.next < slot.size) {
      if (slot.next > from) files.saveProgress(slot.position(slot.next), slot.dueMs(slot.next));
      return stored === sent && slot.nextDueMs <= nowMs;
    }
    this.#slot = undefined;
    files.readTime = slot.time + 1;
    files.saveProgress(-1, 0);
    // What it has put into the timer topic again may be recalled there: slots behind wait until that is taken.
    if (slot.hasRolled) {
      this.#openUpTo = files.readTime;
      this.#opening = undefined;
    }
    return true;
  }

  /** Follows the slot's chain from its end, and reads the marks of what was recalled. */
  #openSlot(time: number): OpenSlot {
    const { files, stepMs, onFault } = this.#o;
    const slot = new OpenSlot(time, stepMs, files.wheel.count(time));
    this.#o.reader.invalidate();
    const marks: number[] = [];
    let position = files.wheel.last(time);
    while (position >= 0) {
      const found = files.log.read(position);
      const slotMs =
        found === undefined
          ? -1
          : readInt64(found.bytes, found.at + unit.UNIT_WRITE_TIME) + found.bytes.readInt32BE(found.at + unit.UNIT_DELAY);
      if (found === undefined || !unit.isUnit(found.bytes, found.at) || slotMs !== time * stepMs) {
        onFault("the timer log is damaged: the messages before this one in its slot are lost", { position, time: time * stepMs });
        break;
      }
      const magic = found.bytes.readUInt32BE(found.at + unit.UNIT_MAGIC);
      const previous = readInt64(found.bytes, found.at + unit.UNIT_PREVIOUS);
      if ((magic & unit.UNIT_ROLL) !== 0) {
        slot.hasRolled = true;
        slot.add(position, 0);
      } else if ((magic & unit.UNIT_DELETE) !== 0) marks.push(position);
      else slot.add(position, this.#dueOf(position));
      if (previous >= position) break;
      position = previous;
    }
    for (const mark of marks) {
      const key = this.#recordOf(mark) ? this.#record.deleteKey : undefined;
      if (key !== undefined) slot.recalled.add(key);
    }
    slot.order(files.firstUndelivered, files.firstDueMs);
    return slot;
  }

  /** ms; 0 for what cannot be read. */
  #dueOf(position: number): number {
    return this.#recordOf(position) ? this.#record.askedMs(this.#o.stepMs) || 0 : 0;
  }

  /** Makes `#record` hold the record of the unit. */
  #recordOf(position: number): boolean {
    const found = this.#o.files.log.read(position);
    if (found === undefined) return false;
    const { bytes, at } = found;
    return this.#locate(readInt64(bytes, at + unit.UNIT_PHYSICAL_OFFSET), bytes.readInt32BE(at + unit.UNIT_RECORD_SIZE));
  }

  /** @returns false: there is nothing to deliver */
  #deliver(slot: OpenSlot, index: number, nowMs: number): boolean {
    const position = slot.position(index);
    const found = this.#o.files.log.read(position)!;
    const isRoll = (found.bytes.readUInt32BE(found.at + unit.UNIT_MAGIC) & unit.UNIT_ROLL) !== 0;
    const enqueueMs = readInt64(found.bytes, found.at + unit.UNIT_WRITE_TIME);
    if (!this.#recordOf(position)) return false;
    const { realTopic } = this.#record;
    if (realTopic === undefined) return false;
    this.#o.onCount(realTopic, -1);
    if (!isRoll && slot.recalled.size > 0) {
      const key = this.#record.uniqueKey;
      if (key !== undefined && (slot.recalled.has(deleteKeyOf(realTopic, key)) || slot.recalled.has(key))) return false;
    }
    if (!this.#send(enqueueMs, isRoll, nowMs)) return false;
    if (!isRoll) this.#o.latency.add(nowMs - slot.dueMs(index));
    return true;
  }

  /** Hands over the record in `#record` and in the reader's window. */
  #send(enqueueMs: number, isRoll: boolean, nowMs: number): boolean {
    const { reader, sink, latency, stepMs } = this.#o;
    const record = this.#record;
    const { realTopic, realQueueId } = record;
    if (realTopic === undefined || !(realQueueId >= 0)) return false;
    const size = record.copy(
      reader.at,
      isRoll ? TIMER_TOPIC_BYTES : undefined,
      isRoll ? 0 : realQueueId,
      enqueueMs,
      nowMs,
      isRoll,
    );
    if (sink.append(record.bytes, size, isRoll ? undefined : realTopic, isRoll ? 0 : realQueueId)) {
      if (enqueueMs === ENQUEUED_NEVER) latency.add(Math.max(0, nowMs - record.askedMs(stepMs)) || 0);
      return true;
    }
    this.#o.onFault("a message whose time has come has no queue to go to, and is passed over", {
      topic: realTopic,
      queueId: realQueueId,
    });
    return false;
  }
}

const TIMER_TOPIC_BYTES: Buffer = Buffer.from("rmq_sys_wheel_timer");
