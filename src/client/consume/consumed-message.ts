import {
  BORN_TIMESTAMP_OFFSET,
  type DecodedMessage,
  decodeMessage,
  FLAG_OFFSET,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_OFFSET_OFFSET,
  RecordParts,
  readInt64,
  recordSizeAt,
  SYS_FLAG_COMPRESSED,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_NEED_UNWRAP,
  SYS_FLAG_OFFSET,
} from "../../format/record/message.ts";
import { offsetMessageId } from "../../format/record/message-id.ts";
import { decodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";
import type { MessageQueue } from "../connection/routes.ts";
import { decompressBody } from "../produce/compression.ts";

const TAGS = Buffer.from(PROPERTY.TAGS);
const propertyScan = new PropertyScan();

/**
 * One message received. Its fields are read from the record when they are asked for, so that a consumer
 * pays for what it uses. It keeps the whole pull answer that it came in alive: copy what is to be kept long.
 */
export class ConsumedMessage {
  readonly brokerName: string;
  readonly queueId: number;
  readonly queueOffset: number;
  /** Bytes of the record in the broker's log; of one that is a whole batch, this message's share. */
  readonly size: number;
  readonly #queueTopic: string;
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #parts: RecordParts = new RecordParts();
  readonly #bodyMaxBytes: number;
  /** Where a message stands in the batch that its record is. */
  readonly #inner: InnerPlace | undefined;
  #body: Buffer | undefined;
  #properties: Map<string, string> | undefined;
  #decoded: DecodedMessage | undefined;
  #localRetries = 0;

  /** The record at `at` must have passed `recordSizeAt` with `size`. @param bodyMaxBytes limit of a body when it is unpacked */
  constructor(queue: MessageQueue, bytes: Buffer, at: number, size: number, bodyMaxBytes: number, inner?: InnerPlace) {
    this.brokerName = queue.brokerName;
    this.#queueTopic = queue.topic;
    this.#bytes = bytes;
    this.#at = at;
    this.size = size;
    this.#bodyMaxBytes = bodyMaxBytes;
    this.#parts.locate(bytes, at);
    this.queueId = this.#parts.queueId;
    this.queueOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET) + (inner?.index ?? 0);
    this.#inner = inner;
    if (inner !== undefined) this.#body = inner.batch.subarray(inner.at + 20, inner.propertiesAt - 2);
  }

  /** Is it one of several in one record? The broker then cannot take it back by itself. */
  get isInBatch(): boolean {
    return this.#inner !== undefined;
  }

  /** The topic it was sent to, for a message that comes again from the group's retry topic too. */
  get topic(): string {
    if (!this.#queueTopic.startsWith("%RETRY%")) return this.#queueTopic;
    return this.properties.get(PROPERTY.RETRY_TOPIC) ?? this.#queueTopic;
  }

  /** As it was sent; unpacked at the first look. @throws MillraceError MILLRACE_MESSAGE_ILLEGAL when it cannot be unpacked */
  get body(): Buffer {
    if (this.#body === undefined) {
      const stored = this.#bytes.subarray(this.#parts.bodyStart, this.#parts.bodyEnd);
      this.#body =
        (this.#parts.sysFlag & SYS_FLAG_COMPRESSED) === 0
          ? stored
          : decompressBody(stored, this.#parts.sysFlag, this.#bodyMaxBytes);
    }
    return this.#body;
  }

  /** The body as UTF-8 text. */
  text(): string {
    return this.body.toString("utf8");
  }

  get properties(): ReadonlyMap<string, string> {
    this.#properties ??= decodeProperties(this.propertiesText);
    return this.#properties;
  }

  /** As it was sent: `name 0x01 value 0x02` repeated. */
  get propertiesText(): string {
    if (this.#inner !== undefined) return this.#inner.batch.toString("utf8", this.#inner.propertiesAt, this.#inner.end);
    return this.#bytes.toString("utf8", this.#parts.propertiesStart, this.#parts.propertiesEnd);
  }

  get tags(): string | undefined {
    if (this.#properties !== undefined) return this.#properties.get(PROPERTY.TAGS);
    const inner = this.#inner;
    const bytes = inner === undefined ? this.#bytes : inner.batch;
    const start = inner === undefined ? this.#parts.propertiesStart : inner.propertiesAt;
    const end = inner === undefined ? this.#parts.propertiesEnd : inner.end;
    if (!propertyScan.find(bytes, start, end, TAGS)) return undefined;
    return bytes.toString("utf8", propertyScan.start, propertyScan.end);
  }

  get keys(): string[] {
    return (this.properties.get(PROPERTY.KEYS) ?? "").split(" ").filter((key) => key !== "");
  }

  /** UNIQ_KEY, made by the sender; without one, the offsetMsgId. */
  get msgId(): string {
    return this.properties.get(PROPERTY.UNIQ_KEY) ?? this.offsetMsgId;
  }

  /** Made by the broker: its address and physicalOffset. */
  get offsetMsgId(): string {
    return offsetMessageId(this.storeHost, this.physicalOffset);
  }

  get physicalOffset(): number {
    return readInt64(this.#bytes, this.#at + PHYSICAL_OFFSET_OFFSET);
  }

  /** The sender's clock, ms. */
  get bornTimestamp(): number {
    return readInt64(this.#bytes, this.#at + BORN_TIMESTAMP_OFFSET);
  }

  /** The broker's clock, ms. */
  get storeTimestamp(): number {
    return readInt64(this.#bytes, this.#parts.storeTimestampAt);
  }

  get flag(): number {
    if (this.#inner !== undefined) return this.#inner.batch.readInt32BE(this.#inner.at + 12);
    return this.#bytes.readInt32BE(this.#at + FLAG_OFFSET);
  }

  get sysFlag(): number {
    return this.#parts.sysFlag;
  }

  /** `ip:port` of the sender. */
  get bornHost(): string {
    return this.#whole().bornHost;
  }

  /** `ip:port` of the broker that stored it first. */
  get storeHost(): string {
    return this.#whole().storeHost;
  }

  /** How often it was delivered to this group before. */
  get reconsumeTimes(): number {
    return this.#whole().reconsumeTimes + this.#localRetries;
  }

  /** For the consumer: it is handed out once more without having gone back to the broker. */
  countLocalRetry(): void {
    this.#localRetries++;
  }

  #whole(): DecodedMessage {
    this.#decoded ??= decodeMessage(this.#bytes, this.#at);
    return this.#decoded;
  }
}

/** One message within the body of a batch, which is its record's body, unpacked. */
export interface InnerPlace {
  readonly batch: Buffer;
  readonly index: number;
  readonly at: number;
  readonly propertiesAt: number;
  readonly end: number;
}

/**
 * Reads a run of records, as in the body of a pull answer; stops at the first byte that is no record. Records that are
 * whole batches are taken apart; one that cannot be is handed on as it is. Source: Apache `PullAPIWrapper.processPullResult`.
 *
 * @param from  messages before this queueOffset are left out: a batch is delivered from its start, wherever in it one goes on
 */
export function readMessages(queue: MessageQueue, bytes: Buffer, bodyMaxBytes: number, from = 0): ConsumedMessage[] {
  const messages: ConsumedMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = recordSizeAt(bytes, at, bytes.length);
    if (size < 0) break;
    const sysFlag = bytes.readInt32BE(at + SYS_FLAG_OFFSET);
    const isBatch = (sysFlag & WHOLE_BATCH) === WHOLE_BATCH;
    if (!isBatch || !takeApart(messages, queue, bytes, at, size, bodyMaxBytes, from)) {
      messages.push(new ConsumedMessage(queue, bytes, at, size, bodyMaxBytes));
    }
    at += size;
  }
  return messages;
}

const WHOLE_BATCH = SYS_FLAG_INNER_BATCH | SYS_FLAG_NEED_UNWRAP;
/** size, magic, CRC, flag, bodySize and propertiesSize of a message in a batch. */
const INNER_FIXED_SIZE = 22;

/** @returns false, and adds nothing: the record's body is no batch */
function takeApart(
  messages: ConsumedMessage[],
  queue: MessageQueue,
  bytes: Buffer,
  recordAt: number,
  recordSize: number,
  bodyMaxBytes: number,
  from: number,
): boolean {
  const count = messages.length;
  let batch: Buffer;
  try {
    batch = new ConsumedMessage(queue, bytes, recordAt, recordSize, bodyMaxBytes).body;
  } catch {
    return false;
  }
  const base = readInt64(bytes, recordAt + QUEUE_OFFSET_OFFSET);
  const share = Math.ceil(recordSize / Math.max(1, subMessageCount(batch)));
  for (let at = 0, index = 0; at < batch.length; index++) {
    const left = batch.length - at;
    const size = left < INNER_FIXED_SIZE ? 0 : batch.readUInt32BE(at);
    const propertiesAt = size < INNER_FIXED_SIZE || size > left ? -1 : at + INNER_FIXED_SIZE + batch.readUInt32BE(at + 16);
    const end = at + size;
    if (propertiesAt < 0 || propertiesAt > end || propertiesAt + batch.readUInt16BE(propertiesAt - 2) !== end) {
      messages.length = count;
      return false;
    }
    if (base + index >= from) {
      messages.push(new ConsumedMessage(queue, bytes, recordAt, share, bodyMaxBytes, { batch, index, at, propertiesAt, end }));
    }
    at = end;
  }
  return true;
}

/** How many sizes follow one another; 0: they do not add up. */
function subMessageCount(batch: Buffer): number {
  let count = 0;
  let at = 0;
  for (; at + INNER_FIXED_SIZE <= batch.length; count++) {
    const size = batch.readUInt32BE(at);
    if (size < INNER_FIXED_SIZE) return 0;
    at += size;
  }
  return at === batch.length ? count : 0;
}
