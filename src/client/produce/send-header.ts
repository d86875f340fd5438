import { RequestCode } from "../../format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, REMOTING_VERSION } from "../../format/remoting/remoting-command.ts";
import { HEADER_OFFSET, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../format/remoting/remoting-frame.ts";
import { DECIMAL_SIZE_MAX, writeDecimal } from "../../format/text/decimal.ts";
import { type OutgoingMessage, writeProperties } from "./outgoing-message.ts";

/**
 * Headers of SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320), written straight into a frame: all that
 * is the same for every message to one queue is encoded once, the rest are a few numbers and the properties.
 * Members stand in the order of the official client, for whose form a broker's parser may be tuned.
 *
 * JSON:   head  sysFlag ","g":" bornTimestamp ","h":" flag ","i":" properties  middle  opaque  tail
 * Binary: head (with opaque and size to fill in)  f g h i as length + text  tail (j k m n)
 *
 * Letters of extFields: remoting.md 5.1, Apache `SendMessageRequestHeaderV2`.
 */
export interface SendHeader {
  /** Most bytes that `write` needs beyond `propertiesSizeMax`. */
  readonly sizeMax: number;
  /**
   * Writes header and frame head of one request at `from`; the body follows where it ends.
   *
   * @param message    whose properties are written; undefined: those of a batch, its UNIQ_KEY alone
   * @param id         UNIQ_KEY, the same when the message is sent again
   * @param bodySize   bytes that will follow
   * @returns end of the header
   * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL from the properties
   */
  write(
    target: Buffer,
    from: number,
    opaque: number,
    sysFlag: number,
    bornTimestamp: number,
    message: OutgoingMessage | undefined,
    id: string,
    bodySize: number,
  ): number;
}

export interface SendHeaderFields {
  producerGroup: string;
  topic: string;
  brokerName: string;
  queueId: number;
  /** Queues of a topic that the broker creates on its first message. */
  defaultTopicQueueNums: number;
  kind: "single" | "oneway" | "batch";
}

const LANGUAGE = "NODE_JS";
const LANGUAGE_CODE = 13;
const DEFAULT_TOPIC = "TBW102";
const NO_MESSAGE: OutgoingMessage = { topic: "", body: "" };
/** `"g":`, `"h":`, `"i":` and their like between the numbers. */
const SEPARATORS_SIZE = 32;

const BORN_KEY = Buffer.from('","g":"');
const FLAG_KEY = Buffer.from('","h":"');
const PROPERTIES_KEY = Buffer.from('","i":"');

export function createSendHeader(fields: SendHeaderFields, header: "json" | "binary"): SendHeader {
  return header === "json" ? new JsonSendHeader(fields) : new BinarySendHeader(fields);
}

class JsonSendHeader implements SendHeader {
  readonly sizeMax: number;
  readonly #head: Buffer;
  readonly #middle: Buffer;
  readonly #tail: Buffer;

  constructor(fields: SendHeaderFields) {
    const { code, flag, batch } = kindOf(fields);
    const text = (value: string): string => JSON.stringify(value);
    this.#head = Buffer.from(
      `{"code":${code},"extFields":{"a":${text(fields.producerGroup)},"b":${text(fields.topic)},"c":"${DEFAULT_TOPIC}",` +
        `"d":"${fields.defaultTopicQueueNums}","e":"${fields.queueId}","f":"`,
    );
    this.#middle = Buffer.from(
      `","j":"0","k":"false","m":"${batch}","n":${text(fields.brokerName)}},"flag":${flag},"language":"${LANGUAGE}","opaque":`,
    );
    this.#tail = Buffer.from(`,"serializeTypeCurrentRPC":"JSON","version":${REMOTING_VERSION}}`);
    this.sizeMax =
      HEADER_OFFSET + this.#head.length + this.#middle.length + this.#tail.length + 4 * DECIMAL_SIZE_MAX + SEPARATORS_SIZE;
  }

  write(
    target: Buffer,
    from: number,
    opaque: number,
    sysFlag: number,
    bornTimestamp: number,
    message: OutgoingMessage | undefined,
    id: string,
    bodySize: number,
  ): number {
    let at = put(target, from + HEADER_OFFSET, this.#head);
    at = writeDecimal(target, at, sysFlag);
    at = put(target, at, BORN_KEY);
    at = writeDecimal(target, at, bornTimestamp);
    at = put(target, at, FLAG_KEY);
    at = writeDecimal(target, at, message?.flag ?? 0);
    at = put(target, at, PROPERTIES_KEY);
    at = writeProperties(target, at, message ?? NO_MESSAGE, id, true);
    at = put(target, at, this.#middle);
    at = writeDecimal(target, at, opaque);
    at = put(target, at, this.#tail);
    writeFrameHead(target, from, at, bodySize, SERIALIZE_JSON);
    return at;
  }
}

class BinarySendHeader implements SendHeader {
  readonly sizeMax: number;
  readonly #head: Buffer;
  readonly #tail: Buffer;

  constructor(fields: SendHeaderFields) {
    const { code, flag, batch } = kindOf(fields);
    // code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark size i32 = 0 | extFields size i32
    const fixed = Buffer.alloc(BINARY_FIXED_SIZE);
    fixed.writeInt16BE(code, 0);
    fixed[2] = LANGUAGE_CODE;
    fixed.writeInt16BE(REMOTING_VERSION, 3);
    fixed.writeInt32BE(flag, 9);
    this.#head = Buffer.concat([
      fixed,
      binaryField("a", fields.producerGroup),
      binaryField("b", fields.topic),
      binaryField("c", DEFAULT_TOPIC),
      binaryField("d", String(fields.defaultTopicQueueNums)),
      binaryField("e", String(fields.queueId)),
    ]);
    this.#tail = Buffer.concat([
      binaryField("j", "0"),
      binaryField("k", "false"),
      binaryField("m", String(batch)),
      binaryField("n", fields.brokerName),
    ]);
    this.sizeMax = HEADER_OFFSET + this.#head.length + this.#tail.length + 3 * DECIMAL_SIZE_MAX + SEPARATORS_SIZE;
  }

  write(
    target: Buffer,
    from: number,
    opaque: number,
    sysFlag: number,
    bornTimestamp: number,
    message: OutgoingMessage | undefined,
    id: string,
    bodySize: number,
  ): number {
    const start = from + HEADER_OFFSET;
    let at = put(target, start, this.#head);
    target.writeInt32BE(opaque, start + BINARY_OPAQUE_OFFSET);
    at = writeNumberField(target, at, LETTER_F, sysFlag);
    at = writeNumberField(target, at, LETTER_F + 1, bornTimestamp);
    at = writeNumberField(target, at, LETTER_F + 2, message?.flag ?? 0);
    const valueAt = writeFieldKey(target, at, LETTER_F + 3);
    at = writeProperties(target, valueAt, message ?? NO_MESSAGE, id, false);
    target.writeInt32BE(at - valueAt, valueAt - 4);
    at = put(target, at, this.#tail);
    target.writeInt32BE(at - start - BINARY_FIXED_SIZE, start + BINARY_FIXED_SIZE - 4);
    writeFrameHead(target, from, at, bodySize, SERIALIZE_ROCKETMQ);
    return at;
  }
}

const BINARY_OPAQUE_OFFSET = 5;
const BINARY_FIXED_SIZE = 21;
const LETTER_F = 0x66;

function kindOf(fields: SendHeaderFields): { code: number; flag: number; batch: boolean } {
  const batch = fields.kind === "batch";
  return {
    code: batch ? RequestCode.SEND_BATCH_MESSAGE : RequestCode.SEND_MESSAGE_V2,
    flag: fields.kind === "oneway" ? FLAG_ONEWAY : 0,
    batch,
  };
}

function put(target: Buffer, at: number, bytes: Buffer): number {
  target.set(bytes, at);
  return at + bytes.length;
}

function writeFrameHead(target: Buffer, from: number, headerEnd: number, bodySize: number, type: number): void {
  target.writeUInt32BE(headerEnd - from - 4 + bodySize, from);
  target.writeUInt32BE(headerEnd - from - HEADER_OFFSET, from + 4);
  target[from + 4] = type;
}

function binaryField(key: string, value: string): Buffer {
  const keyBytes = Buffer.from(key);
  const valueBytes = Buffer.from(value);
  const field = Buffer.alloc(2 + keyBytes.length + 4 + valueBytes.length);
  field.writeInt16BE(keyBytes.length, 0);
  keyBytes.copy(field, 2);
  field.writeInt32BE(valueBytes.length, 2 + keyBytes.length);
  valueBytes.copy(field, 6 + keyBytes.length);
  return field;
}

/** Key of one letter and room for the value's size. @returns where the value begins */
function writeFieldKey(target: Buffer, at: number, letter: number): number {
  target[at] = 0;
  target[at + 1] = 1;
  target[at + 2] = letter;
  return at + 7;
}

function writeNumberField(target: Buffer, at: number, letter: number, value: number): number {
  const valueAt = writeFieldKey(target, at, letter);
  const end = writeDecimal(target, valueAt, value);
  target.writeInt32BE(end - valueAt, valueAt - 4);
  return end;
}
