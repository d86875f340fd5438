import { assert } from "../../base/assert.ts";
import { DLQ_PREFIX, lmqNameFault, RETRY_PREFIX, SCHEDULE_TOPIC } from "../names.ts";
import { RecordParts } from "./message.ts";
import { PROPERTY } from "./properties.ts";
import { PropertyScan } from "./property-scan.ts";

/**
 * A message that goes to further queues (LMQ) beside its own: INNER_MULTI_DISPATCH names them, parted by commas, and
 * INNER_MULTI_QUEUE_OFFSET has its offset in each, in the same order. The offsets are known to the log writer only, and
 * their digits decide the size of the record; so producers hand it over unfinished:
 *   | record, whose last property is INNER_MULTI_QUEUE_OFFSET without a value | room | slot … | propertiesSize | count |
 *   |                                                                         | 17 n | u32 n  | u32            | u32   |
 * The writer puts the offsets into the room and appends the record up to their end. Source: Apache `LmqDispatch`.
 */
const OFFSET_ROOM = 17; // Digits of 2^53 - 1, and a separator.
const TRAILER_SIZE = 8;
const SEPARATOR = 0x2c;
const VALUE_END = 0x02;
const ZERO = 0x30;

const NAMES: Buffer = Buffer.from(PROPERTY.MULTI_DISPATCH);
const OFFSETS: Buffer = Buffer.from(PROPERTY.MULTI_QUEUE_OFFSET);
const OFFSETS_START: Buffer = Buffer.from(`${PROPERTY.MULTI_QUEUE_OFFSET}\u0001`);

/** Bytes by which the properties may grow. */
export function multiDispatchGrowth(count: number): number {
  return OFFSETS_START.length + count * OFFSET_ROOM;
}

/**
 * Whether messages of the topic go to further queues. Those of the broker's own topics will when they are delivered from
 * there: half messages too, though Apache's broker shows them before they are committed.
 * Source: Apache `MixAll.topicAllowsLMQ`.
 */
export function mayDispatch(topic: string): boolean {
  if (topic.startsWith(RETRY_PREFIX) || topic.startsWith(DLQ_PREFIX) || topic.startsWith("rmq_sys_")) return false;
  return topic !== SCHEDULE_TOPIC && !topic.startsWith("RMQ_SYS_");
}

/** The names, each once; undefined: one of them is none. */
export function dispatchNames(text: string): string[] | undefined {
  // As Java's split, which Apache's broker uses: names that are missing at the end do not count.
  const names = text.replace(/,+$/, "").split(",");
  return names.every((name) => lmqNameFault(name) === undefined) ? names : undefined;
}

/**
 * Lays out a whole record for the log writer.
 * @param slots of the queues that INNER_MULTI_DISPATCH names, in its order
 */
export function withOffsetRoom(record: Buffer, slots: readonly number[]): Buffer {
  const parts = new RecordParts();
  parts.locate(record, 0);
  const isEnded = parts.propertiesEnd === parts.propertiesStart || record[parts.propertiesEnd - 1] === VALUE_END;
  const recordSize = record.length + (isEnded ? 0 : 1) + OFFSETS_START.length;
  const size = recordSize + slots.length * (OFFSET_ROOM + 4) + TRAILER_SIZE;
  const bytes = Buffer.alloc(size);
  record.copy(bytes);
  if (!isEnded) bytes[record.length] = VALUE_END;
  OFFSETS_START.copy(bytes, recordSize - OFFSETS_START.length);
  const propertiesSize = parts.propertiesEnd - parts.propertiesStart + recordSize - record.length;
  assert(parts.propertiesEnd === record.length, "the properties end a record");
  bytes.writeUInt32BE(recordSize, 0);
  bytes.writeUInt16BE(propertiesSize, parts.topicEnd);
  let at = recordSize + slots.length * OFFSET_ROOM;
  for (const slot of slots) at = bytes.writeUInt32BE(slot, at);
  at = bytes.writeUInt32BE(propertiesSize, at);
  bytes.writeUInt32BE(slots.length, at);
  return bytes;
}

/** Further queues of the unfinished record that ends at `end`. */
export function dispatchCount(view: DataView, end: number): number {
  return view.getUint32(end - 4);
}

/** Slot of the further queue number `index`. */
export function dispatchSlot(view: DataView, end: number, index: number): number {
  return view.getUint32(end - TRAILER_SIZE - 4 * (dispatchCount(view, end) - index));
}

/**
 * Finishes the record in [start, end): `offsetOf` tells the next offset of a slot.
 * @returns its size
 */
export function fillOffsets(view: DataView, start: number, end: number, offsetOf: (slot: number) => number): number {
  const recordSize = view.getUint32(start);
  const propertiesSize = view.getUint32(end - TRAILER_SIZE);
  const count = dispatchCount(view, end);
  let at = start + recordSize;
  for (let i = 0; i < count; i++) {
    at = writeDigits(view, at, offsetOf(dispatchSlot(view, end, i)));
    view.setUint8(at++, i === count - 1 ? VALUE_END : SEPARATOR);
  }
  const size = at - start;
  view.setUint32(start, size);
  view.setUint16(start + recordSize - propertiesSize - 2, propertiesSize + size - recordSize);
  return size;
}

function writeDigits(view: DataView, start: number, value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let rest = value;
  for (let at = start + digits - 1; at >= start; at--) {
    view.setUint8(at, ZERO + (rest % 10));
    rest = Math.floor(rest / 10);
  }
  return start + digits;
}

/** Walks over the further queues that a record names. One instance a thread. */
export class MultiDispatchScan {
  readonly #names = new PropertyScan();
  readonly #offsets = new PropertyScan();
  #bytes: Buffer = NAMES;
  #nameAt = 0;
  #offsetAt = 0;
  /** Where the present name stands, and the offset that belongs to it. */
  nameStart = 0;
  nameEnd = 0;
  offset = 0;

  /** @returns false: it names none, or not as many as it has offsets, which Apache's broker leaves out too */
  begin(bytes: Buffer, parts: RecordParts): boolean {
    const { propertiesStart, propertiesEnd } = parts;
    if (!this.#names.find(bytes, propertiesStart, propertiesEnd, NAMES)) return false;
    if (!this.#offsets.find(bytes, propertiesStart, propertiesEnd, OFFSETS)) return false;
    const [names, offsets] = [this.#names, this.#offsets];
    while (names.end > names.start && bytes[names.end - 1] === SEPARATOR) names.end--;
    if (commas(bytes, names.start, names.end) !== commas(bytes, offsets.start, offsets.end)) return false;
    this.#bytes = bytes;
    this.#nameAt = names.start;
    this.#offsetAt = offsets.start;
    return true;
  }

  /** Goes to the next queue with a number for an offset. */
  next(): boolean {
    const bytes = this.#bytes;
    while (this.#nameAt < this.#names.end) {
      this.nameStart = this.#nameAt;
      this.nameEnd = partEnd(bytes, this.#nameAt, this.#names.end);
      const offsetEnd = partEnd(bytes, this.#offsetAt, this.#offsets.end);
      this.offset = numberOf(bytes, this.#offsetAt, offsetEnd);
      this.#nameAt = this.nameEnd + 1;
      this.#offsetAt = offsetEnd + 1;
      if (this.offset >= 0 && this.nameEnd > this.nameStart) return true;
    }
    return false;
  }

  /** The record's offset in the queue of that name, or -1. */
  offsetIn(bytes: Buffer, parts: RecordParts, name: Buffer): number {
    if (!this.begin(bytes, parts)) return -1;
    while (this.next()) {
      if (this.nameEnd - this.nameStart === name.length && name.compare(bytes, this.nameStart, this.nameEnd) === 0)
        return this.offset;
    }
    return -1;
  }
}

function partEnd(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== SEPARATOR) at++;
  return at;
}

function commas(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (bytes[at] === SEPARATOR) count++;
  return count;
}

/** -1: it is no number below 2^53. */
function numberOf(bytes: Buffer, start: number, end: number): number {
  if (start >= end || end - start >= OFFSET_ROOM) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = 10 * value + digit;
  }
  return Number.isSafeInteger(value) ? value : -1;
}
