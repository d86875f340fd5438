import { javaHash } from "../../base/java-hash.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../format/files/consume-queue.ts";
import { askedTime, deleteKeyOf, NEVER_ENQUEUED, TIMER_PROPERTY, TimerRecord } from "../../format/files/timer-record.ts";
import { WHEEL_BLANK_SLOTS, WHEEL_SLOTS } from "../../format/files/timer-slot.ts";
import * as unit from "../../format/files/timer-unit.ts";
import { readInt64, recordSizeAt, writeInt64 } from "../../format/record/message.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import type { LogReader } from "../log/log-reader.ts";
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

interface Arrival {
  slot: number;
  magic: number;
  physicalOffset: number;
  size: number;
  topic: string;
  /** Delivered at once. */
  isExpired: boolean;
}

/** A slot that is being read. */
interface OpenSlot {
  time: number;
  /** Of its units, oldest first. */
  positions: number[];
  next: number;
  recalled: Set<string>;
}

/**
 * Messages with a delivery time: from the timer topic into the wheel, and from there, when their slot is over, to their topics.
 * A message is in the log all the time, 52 bytes of the timer log and a share of a slot are what it costs to wait. Delivered
 * at least once and never before its time. Timer thread only. Source: Apache `TimerMessageStore`.
 */
export class TimerStore {
  readonly #o: TimerStoreOptions;
  readonly #record = new TimerRecord();
  readonly #entries: Buffer = Buffer.alloc(BATCH * ENTRY_SIZE);
  readonly #units: Buffer = Buffer.alloc(BATCH * unit.UNIT_SIZE);
  /** Slots before this may be read: everything that was in the log when they were over has been taken. */
  #openUpTo: number;
  #opening: { slot: number; logEnd: number; queueEnd: number } | undefined;
  #slot: OpenSlot | undefined;
  delivered = 0;
  enqueued = 0;

  constructor(options: TimerStoreOptions) {
    this.#o = options;
    this.#openUpTo = options.files.readTime;
  }

  #present(): number {
    return Math.floor(this.#o.now() / this.#o.stepMs);
  }

  /** One round. @returns true: there is more to be done at once */
  work(): boolean {
    const hasTaken = this.#take();
    this.#open();
    const hasRead = this.#read();
    return hasTaken || hasRead;
  }

  /** ms at which the next slot is over; Infinity: none waits. */
  nextMs(): number {
    const { files, stepMs } = this.#o;
    const end = files.readTime + WHEEL_SLOTS;
    const slot = files.wheel.next(files.readTime, end);
    return slot === end ? Number.POSITIVE_INFINITY : (slot + 1) * stepMs;
  }

  /** Whether nothing is left that could be done now. */
  isIdle(): boolean {
    const { files, queue } = this.#o;
    return files.queueOffset >= queue.max() && files.readTime >= this.#present();
  }

  /** A slot may be read when what was stored while it lasted, a recall above all, is in the wheel. */
  #open(): void {
    const { queue, files, appendedOffset, dispatchedOffset } = this.#o;
    const present = this.#present();
    if (this.#opening === undefined) {
      if (present <= this.#openUpTo) return;
      this.#opening = { slot: present, logEnd: appendedOffset(), queueEnd: -1 };
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
    const arrivals: (Arrival | undefined)[] = [];
    const expired: number[] = [];
    for (let i = 0; i < count; i++) {
      const physicalOffset = entryPhysicalOffset(this.#entries, i * ENTRY_SIZE);
      const arrival = this.#arrival(physicalOffset, entrySize(this.#entries, i * ENTRY_SIZE));
      if (arrival !== undefined && arrival.slot >= files.readTime + WHEEL_SLOTS - WHEEL_BLANK_SLOTS) break; // Reading is far behind.
      arrivals.push(arrival);
      if (arrival?.isExpired && this.#send(NEVER_ENQUEUED, false)) expired.push(i);
    }
    const stored = sink.settle();
    const taken = stored < expired.length ? expired[stored]! : arrivals.length;
    this.delivered += stored;
    this.#write(arrivals.slice(0, taken));
    files.queueOffset += taken;
    files.saveProgress(this.#firstUndelivered());
    return taken > 0 && files.queueOffset < max;
  }

  /** Makes `#record` hold the record. undefined: it is none that waits, and is passed over */
  #arrival(physicalOffset: number, size: number): Arrival | undefined {
    if (!this.#locate(physicalOffset, size)) return undefined;
    const { properties } = this.#record;
    const { stepMs, rollWindowSlots } = this.#o;
    const out = Number(properties.get(TIMER_PROPERTY.OUT_MS) ?? Number.NaN);
    const topic = properties.get(PROPERTY.REAL_TOPIC);
    if (!Number.isSafeInteger(out) || out < 0 || topic === undefined) {
      this.#o.onFault("a message of the timer topic has no time or no topic, and is passed over", { physicalOffset });
      return undefined;
    }
    const isDelete = properties.has(TIMER_PROPERTY.DELETE_KEY);
    const present = this.#present();
    let slot = Math.floor(out / stepMs);
    if (slot < present) return isDelete ? undefined : { slot, magic: 0, physicalOffset, size, topic, isExpired: true };
    let magic = unit.UNIT_DEFAULT | (isDelete ? unit.UNIT_DELETE : 0);
    const ahead = slot - present;
    if (ahead >= rollWindowSlots) {
      magic |= unit.UNIT_ROLL;
      // Never so little left over that the next roll would come late.
      slot = present + (ahead - rollWindowSlots < rollWindowSlots / 3 ? Math.floor(rollWindowSlots / 2) : rollWindowSlots);
    }
    // After a clock was set back: what is read already does not come again.
    return { slot: Math.max(slot, this.#openUpTo), magic, physicalOffset, size, topic, isExpired: false };
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

  /** Units first, then the wheel: a full disk leaves it as it was. */
  #write(arrivals: readonly (Arrival | undefined)[]): void {
    const { log } = this.#o.files;
    const waiting = arrivals.filter((arrival) => arrival !== undefined && !arrival.isExpired) as Arrival[];
    for (let from = 0; from < waiting.length; ) {
      const start = log.placeAt(log.end);
      let to = from + 1;
      while (to < waiting.length && log.placeAt(start + (to - from) * unit.UNIT_SIZE) === start + (to - from) * unit.UNIT_SIZE)
        to++;
      this.#writeRun(waiting.slice(from, to), start);
      from = to;
    }
  }

  /** Those that fit into one file. */
  #writeRun(arrivals: readonly Arrival[], start: number): void {
    const { files, stepMs, onCount } = this.#o;
    const units = this.#units;
    const present = this.#present();
    const lasts = new Map<number, number>();
    for (const [i, { slot, magic, physicalOffset, size, topic }] of arrivals.entries()) {
      const at = i * unit.UNIT_SIZE;
      units.writeUInt32BE(unit.UNIT_SIZE, at);
      writeInt64(units, lasts.get(slot) ?? files.wheel.last(slot), at + unit.UNIT_PREVIOUS);
      units.writeUInt32BE(magic, at + unit.UNIT_MAGIC);
      writeInt64(units, present * stepMs, at + unit.UNIT_WRITE_TIME);
      units.writeInt32BE((slot - present) * stepMs, at + unit.UNIT_DELAY);
      writeInt64(units, physicalOffset, at + unit.UNIT_PHYSICAL_OFFSET);
      units.writeInt32BE(size, at + unit.UNIT_RECORD_SIZE);
      units.writeInt32BE(javaHash(topic), at + unit.UNIT_TOPIC_HASH);
      writeInt64(units, 0, at + unit.UNIT_TOPIC_HASH + 4);
      lasts.set(slot, start + at);
    }
    files.log.append(units, arrivals.length * unit.UNIT_SIZE);
    for (const [i, { slot, magic, topic }] of arrivals.entries()) {
      const added = unit.countsAsWaiting(magic) ? 1 : 0;
      files.wheel.add(slot, start + i * unit.UNIT_SIZE, added);
      files.waiting += added;
      if (added > 0) onCount(topic, 1);
    }
    this.enqueued += arrivals.length;
  }

  #firstUndelivered(): number {
    const slot = this.#slot;
    return slot === undefined || slot.next === 0 ? -1 : (slot.positions[slot.next] ?? -1);
  }

  /** Some of the slot that is over, and was not read so far. */
  #read(): boolean {
    const { files } = this.#o;
    if (this.#slot === undefined) {
      const time = files.wheel.next(files.readTime, this.#openUpTo);
      if (time > files.readTime) {
        files.readTime = time;
        files.firstUndelivered = -1;
        files.saveProgress(-1);
      }
      if (time >= this.#openUpTo) return false;
      this.#slot = this.#openSlot(time);
    }
    const slot = this.#slot;
    const from = slot.next;
    const to = Math.min(slot.positions.length, from + BATCH);
    const sent: number[] = [];
    this.#o.reader.invalidate();
    for (let i = from; i < to; i++) if (this.#deliver(slot, slot.positions[i]!)) sent.push(i);
    const stored = this.#o.sink.settle();
    this.delivered += stored;
    slot.next = stored < sent.length ? sent[stored]! : to;
    this.#countOut(slot, from);
    if (slot.next < slot.positions.length) {
      files.saveProgress(this.#firstUndelivered());
      return stored === sent.length;
    }
    this.#slot = undefined;
    files.firstUndelivered = -1;
    files.readTime = slot.time + 1;
    files.saveProgress(-1);
    return true;
  }

  #countOut(slot: OpenSlot, from: number): void {
    this.#o.files.waiting = Math.max(0, this.#o.files.waiting - (slot.next - from));
  }

  /** Follows the slot's chain from its end, and reads the marks of what was recalled. */
  #openSlot(time: number): OpenSlot {
    const { files, stepMs, onFault } = this.#o;
    const slot: OpenSlot = { time, positions: [], next: 0, recalled: new Set() };
    const marks: number[] = [];
    let position = files.wheel.last(time);
    while (position >= 0) {
      const found = files.log.read(position);
      const due =
        found === undefined
          ? -1
          : readInt64(found.bytes, found.at + unit.UNIT_WRITE_TIME) + found.bytes.readInt32BE(found.at + unit.UNIT_DELAY);
      if (found === undefined || !unit.isUnit(found.bytes, found.at) || due !== time * stepMs) {
        onFault("the timer log is damaged: the messages before this one in its slot are lost", { position, time: time * stepMs });
        break;
      }
      const magic = found.bytes.readUInt32BE(found.at + unit.UNIT_MAGIC);
      if ((magic & unit.UNIT_DELETE) !== 0 && (magic & unit.UNIT_ROLL) === 0) marks.push(position);
      else if (position >= files.firstUndelivered) slot.positions.push(position);
      const previous = readInt64(found.bytes, found.at + unit.UNIT_PREVIOUS);
      if (previous >= position) break;
      position = previous;
    }
    slot.positions.reverse();
    for (const mark of marks) {
      const key = this.#recordOf(mark) ? this.#record.properties.get(TIMER_PROPERTY.DELETE_KEY) : undefined;
      if (key !== undefined) slot.recalled.add(key);
    }
    return slot;
  }

  /** Makes `#record` hold the record of the unit. */
  #recordOf(position: number): boolean {
    const found = this.#o.files.log.read(position);
    if (found === undefined) return false;
    const { bytes, at } = found;
    return this.#locate(readInt64(bytes, at + unit.UNIT_PHYSICAL_OFFSET), bytes.readInt32BE(at + unit.UNIT_RECORD_SIZE));
  }

  /** @returns false: there is nothing to deliver */
  #deliver(slot: OpenSlot, position: number): boolean {
    const found = this.#o.files.log.read(position)!;
    const isRoll = (found.bytes.readUInt32BE(found.at + unit.UNIT_MAGIC) & unit.UNIT_ROLL) !== 0;
    const enqueueMs = readInt64(found.bytes, found.at + unit.UNIT_WRITE_TIME);
    if (!this.#recordOf(position)) return false;
    const { properties } = this.#record;
    const [topic, key] = [properties.get(PROPERTY.REAL_TOPIC), properties.get(PROPERTY.UNIQ_KEY)];
    if (topic !== undefined) this.#o.onCount(topic, -1);
    if (!isRoll && topic !== undefined && key !== undefined && slot.recalled.size > 0) {
      if (slot.recalled.has(deleteKeyOf(topic, key)) || slot.recalled.has(key)) return false;
    }
    return this.#send(String(enqueueMs), isRoll);
  }

  /** Hands over the record in `#record` and in the reader's window. */
  #send(enqueueMs: string, isRoll: boolean): boolean {
    const { reader, sink, latency, stepMs, now } = this.#o;
    const { properties } = this.#record;
    const topic = properties.get(PROPERTY.REAL_TOPIC);
    const queueId = Number(properties.get(PROPERTY.REAL_QUEUE_ID));
    if (topic === undefined || !Number.isInteger(queueId) || queueId < 0) return false;
    const nowMs = now();
    const added = new Map([[TIMER_PROPERTY.ENQUEUE_MS as string, enqueueMs]]);
    if (isRoll) added.set(TIMER_PROPERTY.ROLL_TIMES, String(Number(properties.get(TIMER_PROPERTY.ROLL_TIMES) ?? 0) + 1));
    else latency.add(nowMs - askedTime(properties, this.#record.storeTimestamp(reader.bytes), stepMs));
    added.set(TIMER_PROPERTY.DEQUEUE_MS, String(nowMs));
    const target = isRoll ? TIMER_TOPIC_BYTES : Buffer.from(topic);
    const size = this.#record.copy(reader.bytes, reader.at, target, isRoll ? 0 : queueId, added);
    if (sink.append(this.#record.bytes, size, isRoll ? undefined : topic, isRoll ? 0 : queueId)) return true;
    this.#o.onFault("a message whose time has come has no queue to go to, and is passed over", { topic, queueId });
    return false;
  }
}

const TIMER_TOPIC_BYTES: Buffer = Buffer.from("rmq_sys_wheel_timer");
