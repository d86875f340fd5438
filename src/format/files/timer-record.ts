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
  STORE_TIMESTAMP_OFFSET_V4,
  SYS_FLAG_OFFSET,
  TOPIC_SIZE_MAX_V1,
} from "../record/message.ts";
import { decodeProperties, encodeProperties, PROPERTIES_SIZE_MAX, PROPERTY, VALUE_END } from "../record/properties.ts";

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

/**
 * Key by which a recall names the message that it means in stores of newer brokers of Apache; in those of 5.5.0 it is the
 * unique key alone. Source: Apache `TimerMessageStore.buildDeleteKey`.
 */
export function deleteKeyOf(topic: string, uniqueKey: string): string {
  return `${topic}+${uniqueKey}`;
}

/** Writes copies of timed records, as they leave the timer. One instance a thread. */
export class TimerRecord {
  readonly #parts = new RecordParts();
  /** The copy stands at its start. Grows. */
  bytes: Buffer = Buffer.allocUnsafe(65_536);
  properties: Map<string, string> = new Map();

  /** Reads the properties of the record at `at`, which must have passed `recordSizeAt`. */
  read(source: Buffer, at: number): void {
    this.#parts.locate(source, at);
    this.properties = decodeProperties(source.toString("utf8", this.#parts.propertiesStart, this.#parts.propertiesEnd));
  }

  storeTimestamp(source: Buffer): number {
    const at = this.#parts.storeTimestampAt;
    return source.readInt32BE(at) * 4_294_967_296 + source.readUInt32BE(at + 4);
  }

  /**
   * Copies the record that was `read`, for another queue and with more properties; what the log writer fills is open.
   * The text keeps all that it had: consumers of Apache's broker see it as well.
   * @param added left out where the text would become too long
   * @returns size of the copy
   */
  copy(source: Buffer, at: number, topic: Buffer, queueId: number, added: ReadonlyMap<string, string>): number {
    const parts = this.#parts;
    const text = this.#text(source, added);
    const isV2 = topic.length > TOPIC_SIZE_MAX_V1;
    const bodyEnd = parts.bodyEnd - at;
    const size = bodyEnd + (isV2 ? 2 : 1) + topic.length + 2 + text.length;
    if (this.bytes.length < size) this.bytes = Buffer.allocUnsafe(2 * size);
    const to = this.bytes;
    source.copy(to, 0, at, parts.bodyEnd);
    const sysFlag = to.readInt32BE(SYS_FLAG_OFFSET);
    to.writeUInt32BE(size, 0);
    to.writeUInt32BE(isV2 ? MAGIC_V2 : MAGIC_V1, MAGIC_OFFSET);
    to.writeInt32BE(queueId, QUEUE_ID_OFFSET);
    to.fill(0, QUEUE_OFFSET_OFFSET, PHYSICAL_OFFSET_OFFSET + 8);
    const storeTimestampAt = STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag);
    to.fill(0, storeTimestampAt, storeTimestampAt + 8);
    to.fill(0, bodySizeOffset(sysFlag) - 8, bodySizeOffset(sysFlag)); // preparedTransactionOffset
    let end = isV2 ? to.writeUInt16BE(topic.length, bodyEnd) : to.writeUInt8(topic.length, bodyEnd);
    end += topic.copy(to, end);
    end = to.writeUInt16BE(text.length, end);
    text.copy(to, end);
    return size;
  }

  #text(source: Buffer, added: ReadonlyMap<string, string>): Buffer {
    const old = source.subarray(this.#parts.propertiesStart, this.#parts.propertiesEnd);
    const isRepeated = this.properties.has(TIMER_PROPERTY.DEQUEUE_MS);
    const more = isRepeated
      ? Buffer.from(encodeProperties(new Map([...this.properties, ...added])))
      : Buffer.concat([old, Buffer.from((old.at(-1) === VALUE_END ? "" : "\u0002") + encodeProperties(added))]);
    return more.length > PROPERTIES_SIZE_MAX ? old : more;
  }
}

/** When the message is to be delivered, ms, as exactly as it is known. */
export function askedTime(properties: ReadonlyMap<string, string>, storeTimestamp: number, stepMs: number): number {
  const at = properties.get(PROPERTY.TIMER_DELIVER_MS);
  const isRolled = properties.has(TIMER_PROPERTY.ROLL_TIMES);
  const seconds = properties.get(PROPERTY.TIMER_DELAY_SEC);
  const ms = seconds === undefined ? Number(properties.get(PROPERTY.TIMER_DELAY_MS)) : Number(seconds) * 1000;
  if (seconds === undefined && Number.isNaN(ms) && at !== undefined) return Number(at);
  if (!isRolled && Number.isFinite(ms)) return storeTimestamp + ms;
  return Number(properties.get(TIMER_PROPERTY.OUT_MS)) + stepMs;
}
