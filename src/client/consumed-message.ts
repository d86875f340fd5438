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
} from "../format/message.ts";
import { offsetMessageId } from "../format/message-id.ts";
import { decodeProperties, PROPERTY } from "../format/properties.ts";
import { PropertyScan } from "../format/property-scan.ts";
import { decompressBody } from "./compression.ts";
import type { MessageQueue } from "./routes.ts";

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
  /** Bytes of the record in the broker's log. */
  readonly size: number;
  readonly #queueTopic: string;
  readonly #bytes: Buffer;
  readonly #at: number;
  readonly #parts: RecordParts = new RecordParts();
  readonly #bodyMaxBytes: number;
  #body: Buffer | undefined;
  #properties: Map<string, string> | undefined;
  #decoded: DecodedMessage | undefined;
  #localRetries = 0;

  /** The record at `at` must have passed `recordSizeAt` with `size`. @param bodyMaxBytes limit of a body when it is unpacked */
  constructor(queue: MessageQueue, bytes: Buffer, at: number, size: number, bodyMaxBytes: number) {
    this.brokerName = queue.brokerName;
    this.#queueTopic = queue.topic;
    this.#bytes = bytes;
    this.#at = at;
    this.size = size;
    this.#bodyMaxBytes = bodyMaxBytes;
    this.#parts.locate(bytes, at);
    this.queueId = this.#parts.queueId;
    this.queueOffset = readInt64(bytes, at + QUEUE_OFFSET_OFFSET);
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
    this.#properties ??= decodeProperties(this.#bytes.toString("utf8", this.#parts.propertiesStart, this.#parts.propertiesEnd));
    return this.#properties;
  }

  get tags(): string | undefined {
    if (this.#properties !== undefined) return this.#properties.get(PROPERTY.TAGS);
    const { propertiesStart, propertiesEnd } = this.#parts;
    if (!propertyScan.find(this.#bytes, propertiesStart, propertiesEnd, TAGS)) return undefined;
    return this.#bytes.toString("utf8", propertyScan.start, propertyScan.end);
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

/** Reads a run of records, as in the body of a pull answer; stops at the first byte that is no record. */
export function readMessages(queue: MessageQueue, bytes: Buffer, bodyMaxBytes: number): ConsumedMessage[] {
  const messages: ConsumedMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = recordSizeAt(bytes, at, bytes.length);
    if (size < 0) break;
    messages.push(new ConsumedMessage(queue, bytes, at, size, bodyMaxBytes));
    at += size;
  }
  return messages;
}
