import { ByteMap } from "../../base/byte-map.ts";
import {
  bodySizeOffset,
  bornHostShift,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_ID_OFFSET,
  QUEUE_OFFSET_OFFSET,
  RecordParts,
  readInt64,
  STORE_TIMESTAMP_OFFSET_V4,
  SYS_FLAG_OFFSET,
  TOPIC_SIZE_MAX_V1,
} from "../record/message.ts";
import { decodeProperties, encodeProperties, NAME_END, PROPERTIES_SIZE_MAX, PROPERTY, VALUE_END } from "../record/properties.ts";
import { DECIMAL_SIZE_MAX, writeDecimal } from "../text/decimal.ts";

/** Names of properties that only the timer gives and reads. */
export const TIMER_PROPERTY = {
  OUT_MS: "TIMER_OUT_MS",
  ENQUEUE_MS: "TIMER_ENQUEUE_MS",
  DEQUEUE_MS: "TIMER_DEQUEUE_MS",
  ROLL_TIMES: "TIMER_ROLL_TIMES",
  DELETE_KEY: "TIMER_DEL_UNIQKEY",
} as const;

/** What Apache writes for a message whose time was over before the wheel had it. */
export const NEVER_ENQUEUED = "9223372036854775807";
/** The same as an argument. */
export const ENQUEUED_NEVER = -1;

/**
 * Key by which a recall names the message that it means in stores of newer brokers of Apache; in those of 5.5.0 it is the
 * unique key alone. Source: Apache `TimerMessageStore.buildDeleteKey`.
 */
export function deleteKeyOf(topic: string, uniqueKey: string): string {
  return `${topic}+${uniqueKey}`;
}

/** What is read of a timed record; the places below are theirs here. */
const NAMES: readonly Buffer[] = [
  PROPERTY.REAL_TOPIC,
  PROPERTY.REAL_QUEUE_ID,
  PROPERTY.UNIQ_KEY,
  PROPERTY.TIMER_DELAY_SEC,
  PROPERTY.TIMER_DELAY_MS,
  PROPERTY.TIMER_DELIVER_MS,
  TIMER_PROPERTY.OUT_MS,
  TIMER_PROPERTY.DEQUEUE_MS,
  TIMER_PROPERTY.ROLL_TIMES,
  TIMER_PROPERTY.DELETE_KEY,
].map((name) => Buffer.from(name));
const [TOPIC, QUEUE_ID, KEY, SECONDS, MS, AT, OUT, DEQUEUE, ROLLS, DELETE] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

/** Topics whose names are kept. */
const TOPICS_MAX = 10_000;
/** `name 0x01 number 0x02`, of which the timer adds up to three. */
const ADDED_SIZE_MAX = 3 * (32 + DECIMAL_SIZE_MAX);
const ENQUEUE_TEXT: Buffer = Buffer.from(`${TIMER_PROPERTY.ENQUEUE_MS}\u0001`);
const NEVER_TEXT: Buffer = Buffer.from(NEVER_ENQUEUED);
const ROLLS_TEXT: Buffer = Buffer.from(`${TIMER_PROPERTY.ROLL_TIMES}\u0001`);
const DEQUEUE_TEXT: Buffer = Buffer.from(`${TIMER_PROPERTY.DEQUEUE_MS}\u0001`);

interface KnownTopic {
  text: string;
  bytes: Buffer;
}

/** Reads timed records where they stand, and writes the copies that leave the timer. Allocates nothing a record. One instance a thread. */
export class TimerRecord {
  readonly #parts = new RecordParts();
  #topics = new ByteMap<KnownTopic>();
  /** Of the values in NAMES' order; an end of 0: there is none. */
  readonly #starts = new Int32Array(NAMES.length);
  readonly #ends = new Int32Array(NAMES.length);
  #source: Buffer = Buffer.alloc(0);
  /** The copy stands at its start. Grows. */
  bytes: Buffer = Buffer.allocUnsafe(65_536);

  /** Reads the properties of the record at `at`, which must have passed `recordSizeAt`; the source must stay as it is. */
  read(source: Buffer, at: number): void {
    this.#parts.locate(source, at);
    this.#source = source;
    this.#ends.fill(0);
    const { propertiesStart, propertiesEnd } = this.#parts;
    for (let from = propertiesStart; from < propertiesEnd; ) {
      let nameEnd = from;
      while (nameEnd < propertiesEnd && source[nameEnd]! > VALUE_END) nameEnd++;
      let valueEnd = nameEnd;
      while (valueEnd < propertiesEnd && source[valueEnd] !== VALUE_END) valueEnd++;
      if (source[nameEnd] === NAME_END && valueEnd > nameEnd + 1) this.#note(from, nameEnd, valueEnd);
      from = valueEnd + 1;
    }
  }

  #note(start: number, nameEnd: number, valueEnd: number): void {
    const first = this.#source[start];
    if (first !== 0x54 && first !== 0x52 && first !== 0x55) return; // T, R, U
    for (let i = 0; i < NAMES.length; i++) {
      const name = NAMES[i]!;
      if (name.length !== nameEnd - start) continue;
      let at = 0;
      while (at < name.length && this.#source[start + at] === name[at]) at++;
      if (at < name.length) continue;
      this.#starts[i] = nameEnd + 1;
      this.#ends[i] = valueEnd;
      return;
    }
  }

  /** NaN: there is none, or it is no number that Java takes for a long. */
  #number(field: number): number {
    let at = this.#starts[field]!;
    const end = this.#ends[field]!;
    const sign = this.#source[at] === 0x2d ? -1 : 1;
    if (end > 0 && (this.#source[at] === 0x2d || this.#source[at] === 0x2b)) at++;
    if (end === 0 || end <= at || end - at > 15) return Number.NaN;
    let value = 0;
    for (; at < end; at++) {
      const digit = this.#source[at]! - 0x30;
      if (digit < 0 || digit > 9) return Number.NaN;
      value = value * 10 + digit;
    }
    return sign * value;
  }

  #text(field: number): string | undefined {
    return this.#ends[field] === 0 ? undefined : this.#source.toString("utf8", this.#starts[field], this.#ends[field]);
  }

  #known(): KnownTopic | undefined {
    const [start, end] = [this.#starts[TOPIC]!, this.#ends[TOPIC]!];
    if (end === 0) return undefined;
    const known = this.#topics.get(this.#source, start, end);
    if (known !== undefined) return known;
    if (this.#topics.size >= TOPICS_MAX) this.#topics = new ByteMap();
    const bytes = Buffer.from(this.#source.subarray(start, end));
    const topic = { text: bytes.toString(), bytes };
    this.#topics.set(bytes, topic);
    return topic;
  }

  /** Where the message is to go. */
  get realTopic(): string | undefined {
    return this.#known()?.text;
  }

  /** NaN: it says none. */
  get realQueueId(): number {
    return this.#number(QUEUE_ID);
  }

  /** Start of the slot, ms; NaN: it says none. */
  get outMs(): number {
    return this.#number(OUT);
  }

  get uniqueKey(): string | undefined {
    return this.#text(KEY);
  }

  /** Names the message that this one recalls. */
  get deleteKey(): string | undefined {
    return this.#text(DELETE);
  }

  get isMark(): boolean {
    return this.#ends[DELETE] !== 0;
  }

  /** When the message is to be delivered, ms, as exactly as it is known. */
  askedMs(stepMs: number): number {
    const isRelative = this.#ends[SECONDS] !== 0 || this.#ends[MS] !== 0;
    if (!isRelative && this.#ends[AT] !== 0) return this.#number(AT);
    const ms = this.#ends[SECONDS] === 0 ? this.#number(MS) : 1000 * this.#number(SECONDS);
    if (this.#ends[ROLLS] === 0 && Number.isFinite(ms)) return readInt64(this.#source, this.#parts.storeTimestampAt) + ms;
    return this.outMs + stepMs;
  }

  /**
   * Copies the record that was `read`, for another queue and with more properties; what the log writer fills is open.
   * The text keeps all that it had: consumers of Apache's broker see it as well.
   * @param topic     undefined: its real topic
   * @param enqueueMs when the wheel had it, or ENQUEUED_NEVER
   * @returns size of the copy
   */
  copy(at: number, topic: Buffer | undefined, queueId: number, enqueueMs: number, dequeueMs: number, isRoll: boolean): number {
    const parts = this.#parts;
    const source = this.#source;
    const to = topic ?? this.#known()!.bytes;
    const isV2 = to.length > TOPIC_SIZE_MAX_V1;
    const bodySize = parts.bodyEnd - at;
    const sizeMax = bodySize + 4 + to.length + PROPERTIES_SIZE_MAX + ADDED_SIZE_MAX;
    if (this.bytes.length < sizeMax) this.bytes = Buffer.allocUnsafe(2 * sizeMax);
    const { bytes } = this;
    source.copy(bytes, 0, at, parts.bodyEnd);
    const sysFlag = bytes.readInt32BE(SYS_FLAG_OFFSET);
    bytes.writeUInt32BE(isV2 ? MAGIC_V2 : MAGIC_V1, MAGIC_OFFSET);
    bytes.writeInt32BE(queueId, QUEUE_ID_OFFSET);
    zero(bytes, QUEUE_OFFSET_OFFSET, PHYSICAL_OFFSET_OFFSET + 8);
    const storeTimestampAt = STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag);
    zero(bytes, storeTimestampAt, storeTimestampAt + 8);
    zero(bytes, bodySizeOffset(sysFlag) - 8, bodySizeOffset(sysFlag)); // preparedTransactionOffset
    let end = isV2 ? bytes.writeUInt16BE(to.length, bodySize) : bytes.writeUInt8(to.length, bodySize);
    end += to.copy(bytes, end) + 2;
    const textAt = end;
    end = this.#writeText(bytes, textAt, enqueueMs, dequeueMs, isRoll);
    // Left out where the text would become too long.
    if (end - textAt > PROPERTIES_SIZE_MAX) end = textAt + source.copy(bytes, textAt, parts.propertiesStart, parts.propertiesEnd);
    bytes.writeUInt16BE(end - textAt, textAt - 2);
    bytes.writeUInt32BE(end, 0);
    return end;
  }

  #writeText(bytes: Buffer, at: number, enqueueMs: number, dequeueMs: number, isRoll: boolean): number {
    const { propertiesStart, propertiesEnd } = this.#parts;
    if (this.#ends[DEQUEUE] !== 0) {
      const added: [string, string][] = [
        [TIMER_PROPERTY.ENQUEUE_MS, enqueueMs === ENQUEUED_NEVER ? NEVER_ENQUEUED : String(enqueueMs)],
      ];
      if (isRoll) added.push([TIMER_PROPERTY.ROLL_TIMES, String(this.#rolls() + 1)]);
      added.push([TIMER_PROPERTY.DEQUEUE_MS, String(dequeueMs)]);
      const old = decodeProperties(this.#source.toString("utf8", propertiesStart, propertiesEnd));
      const text = Buffer.from(encodeProperties(new Map([...old, ...added])));
      // What does not fit is too long by any count.
      return at + (text.length > PROPERTIES_SIZE_MAX ? PROPERTIES_SIZE_MAX + 1 : text.copy(bytes, at));
    }
    let end = at + this.#source.copy(bytes, at, propertiesStart, propertiesEnd);
    if (end > at && bytes[end - 1] !== VALUE_END) bytes[end++] = VALUE_END;
    end += ENQUEUE_TEXT.copy(bytes, end);
    end = enqueueMs === ENQUEUED_NEVER ? end + NEVER_TEXT.copy(bytes, end) : writeDecimal(bytes, end, enqueueMs);
    bytes[end++] = VALUE_END;
    if (isRoll) {
      end += ROLLS_TEXT.copy(bytes, end);
      end = writeDecimal(bytes, end, this.#rolls() + 1);
      bytes[end++] = VALUE_END;
    }
    end += DEQUEUE_TEXT.copy(bytes, end);
    end = writeDecimal(bytes, end, dequeueMs);
    bytes[end++] = VALUE_END;
    return end;
  }

  #rolls(): number {
    return this.#ends[ROLLS] === 0 ? 0 : this.#number(ROLLS) || 0;
  }
}

function zero(bytes: Buffer, from: number, to: number): void {
  for (let at = from; at < to; at++) bytes[at] = 0;
}
