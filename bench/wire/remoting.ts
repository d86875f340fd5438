import { type Answer, bodyOf, TOKEN_MIN, type WireProtocol, type WireReader, type WireShape } from "./protocol.ts";

const TOKEN_TEXT = String(TOKEN_MIN);
const OPAQUE = '"opaque":';
const CODE = '"code":';

interface Frame {
  bytes: Buffer;
  /** Places of the token: as opaque, and in the unique key. */
  tokens: number[];
}

/** Frame and header of a request whose opaque, and TOKEN in its fields, is replaced; `bodySize` bytes follow. */
function frameOf(code: number, extFields: Readonly<Record<string, string>>, bodySize: number): Frame {
  const header = JSON.stringify({
    code,
    extFields,
    flag: 0,
    language: "JAVA",
    opaque: TOKEN_MIN,
    serializeTypeCurrentRPC: "JSON",
    version: 513,
  });
  const bytes = Buffer.alloc(8 + Buffer.byteLength(header));
  bytes.writeUInt32BE(bytes.length - 4 + bodySize, 0);
  bytes.writeUInt32BE(Buffer.byteLength(header), 4);
  bytes.write(header, 8);
  const tokens: number[] = [];
  for (let at = bytes.indexOf(TOKEN_TEXT); at >= 0; at = bytes.indexOf(TOKEN_TEXT, at + 1)) tokens.push(at);
  return { bytes, tokens };
}

function filled({ bytes, tokens }: Frame, token: number): Buffer {
  const copy = Buffer.from(bytes);
  const text = String(token);
  for (const at of tokens) copy.write(text, at, "latin1");
  return copy;
}

/** RocketMQ's remoting protocol: SEND_MESSAGE_V2, or SEND_BATCH_MESSAGE for more than one message. */
export class RemotingSends implements WireProtocol {
  readonly messagesPerRequest: number;
  readonly bodyBytesPerRequest: number;
  readonly targets: number;
  readonly tail: Buffer;
  readonly #frames: Frame[];

  constructor({ topic, topics, queues, size, batch }: WireShape) {
    this.messagesPerRequest = batch;
    this.bodyBytesPerRequest = batch * size;
    this.targets = queues;
    const isBatch = batch > 1;
    this.tail = isBatch ? batchBody(size, batch) : bodyOf(size);
    const topicOf = (queue: number): string => (topics === undefined ? topic : `${topic}-${queue % topics}`);
    const queueIdOf = (queue: number): string => String(Math.floor(queue / (topics ?? 1)));
    this.#frames = Array.from({ length: queues }, (_, queue) =>
      frameOf(
        isBatch ? 320 : 310,
        {
          a: "bench", b: topicOf(queue), c: "TBW102", d: "8", e: queueIdOf(queue), f: "0", g: "1700000000000", h: "0",
          i: `UNIQ_KEY\u00017F00000100002A139A4C5B3D${TOKEN_TEXT}F\u0002WAIT\u0001true\u0002`, j: "0", k: "false", m: String(isBatch),
        }, // biome-ignore format: one thing.
        this.tail.length,
      ),
    );
  }

  head(queue: number, token: number): Buffer {
    return filled(this.#frames[queue]!, token);
  }

  answerSize(bytes: Buffer, start: number, end: number): number {
    return frameSize(bytes, start, end);
  }

  answer(bytes: Buffer, start: number, end: number, into: Answer): void {
    readHeader(bytes, start, end, into);
  }
}

function frameSize(bytes: Buffer, start: number, end: number): number {
  if (end - start < 4) return 0;
  const size = 4 + bytes.readUInt32BE(start);
  return size <= end - start ? size : 0;
}

/** @returns the header's text */
function readHeader(bytes: Buffer, start: number, _end: number, into: Answer): string {
  const size = bytes.readUInt32BE(start + 4) & 0xff_ffff;
  const text = bytes.toString("latin1", start + 8, start + 8 + size);
  into.token = numberBehind(text, OPAQUE);
  into.isOk = numberBehind(text, CODE) === 0;
  into.remark = into.isOk ? "" : text;
  return text;
}

function numberBehind(text: string, name: string): number {
  const at = text.indexOf(name) + name.length;
  return Number.parseInt(text.slice(text[at] === '"' ? at + 1 : at, at + 20), 10);
}

/** Pulls whatever is there, with a subscription of its own, and never waits. */
export class RemotingPulls implements WireReader {
  readonly #shape: WireShape;
  readonly #offsets = new Map<number, number>();

  constructor(shape: WireShape) {
    this.#shape = shape;
  }

  request(queue: number, offset: number, token: number): Buffer {
    this.#offsets.set(token, offset);
    const fields = {
      consumerGroup: "bench-readers", topic: this.#shape.topic, queueId: String(queue), queueOffset: String(offset),
      maxMsgNums: String(this.#shape.countMax ?? 100_000), sysFlag: this.#shape.isFollowing === true ? "6" : "4", commitOffset: "0",
      suspendTimeoutMillis: this.#shape.isFollowing === true ? "15000" : "0", subscription: "*", subVersion: "0",
      expressionType: "TAG",
    }; // biome-ignore format: one thing.
    return filled(frameOf(11, fields, 0), token);
  }

  answerSize(bytes: Buffer, start: number, end: number): number {
    return frameSize(bytes, start, end);
  }

  answer(bytes: Buffer, start: number, end: number, into: Answer): void {
    const text = readHeader(bytes, start, end, into);
    const offset = this.#offsets.get(into.token) ?? 0;
    this.#offsets.delete(into.token);
    into.messages = 0;
    into.bytes = 0;
    into.nextOffset = -1;
    if (!into.isOk) {
      into.isOk = true; // The end of the queue: from the start again, or what comes is waited for.
      if (this.#shape.isFollowing === true) into.nextOffset = offset;
      return;
    }
    into.nextOffset = numberBehind(text, '"nextBeginOffset":');
    into.messages = into.nextOffset - offset;
    into.bytes = bytes.readUInt32BE(start) - 4 - (bytes.readUInt32BE(start + 4) & 0xff_ffff);
  }

  tokens(bytes: Buffer, start: number, end: number, seen: (token: number) => void): void {
    let at = start + 8 + (bytes.readUInt32BE(start + 4) & 0xff_ffff);
    while (at + RECORD_BODY_AT + this.#shape.size < end) {
      const size = bytes.readUInt32BE(at);
      const key = bytes.indexOf(KEY_BEFORE_TOKEN, at + RECORD_BODY_AT + this.#shape.size, "latin1") + KEY_BEFORE_TOKEN.length;
      seen(Number.parseInt(bytes.toString("latin1", key, key + TOKEN_TEXT.length), 10));
      at += size;
    }
  }
}

/** Records begin with their size; properties are their last field, and the token stands in the unique key. */
const RECORD_BODY_AT = 88;
const KEY_BEFORE_TOKEN = "5B3D";

/** Body of SEND_BATCH_MESSAGE: size, magic, CRC, flag, body, properties of each message. */
function batchBody(size: number, count: number): Buffer {
  const properties = Buffer.from("UNIQ_KEY\u00017F00000100002A139A4C5B3D1234567F\u0002");
  const body = bodyOf(size);
  const message = Buffer.alloc(22 + size + properties.length);
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(size, 16);
  body.copy(message, 20);
  message.writeInt16BE(properties.length, 20 + size);
  properties.copy(message, 22 + size);
  return Buffer.concat(Array.from({ length: count }, () => message));
}
