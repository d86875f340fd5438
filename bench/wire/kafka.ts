import { type Answer, bodyOf, type WireProtocol, type WireReader, type WireShape } from "./protocol.ts";

const PRODUCE = 0;
const FETCH = 1;
const CREATE_TOPICS = 19;
const DELETE_TOPICS = 20;
const CREATE_PARTITIONS = 37;
const CLIENT = "bench";
/** Ten thousand partitions take minutes on a busy machine. */
export const CREATE_MS_MAX = 300_000;
/** apiKey, apiVersion, correlationId, clientId. */
const CORRELATION_AT = 8;

/** Numbers and texts of a request, one behind the other. */
class RequestWriter {
  #parts: Buffer[] = [];

  i8(value: number): this {
    return this.bytes(Buffer.from([value & 0xff]));
  }

  i16(value: number): this {
    const part = Buffer.alloc(2);
    part.writeInt16BE(value);
    return this.bytes(part);
  }

  i32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    return this.bytes(part);
  }

  i64(value: number): this {
    const part = Buffer.alloc(8);
    part.writeBigInt64BE(BigInt(value));
    return this.bytes(part);
  }

  text(value: string): this {
    return this.i16(Buffer.byteLength(value)).bytes(Buffer.from(value));
  }

  varint(value: number): this {
    const part: number[] = [];
    let rest = (value << 1) ^ (value >> 31);
    while (rest > 0x7f) {
      part.push((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.bytes(Buffer.from([...part, rest]));
  }

  bytes(part: Buffer): this {
    this.#parts.push(part);
    return this;
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function header(apiKey: number, version: number): RequestWriter {
  return new RequestWriter().i16(apiKey).i16(version).i32(0).text(CLIENT);
}

/** The size goes in front; `more` bytes are to follow. */
function framed(request: Buffer, more = 0): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(request.length + more);
  return Buffer.concat([size, request]);
}

/** Of an answer to a produce request, by partition: index, errorCode, baseOffset, logAppendTime. */
const PRODUCED_SIZE = 22;

/**
 * Produce requests (version 3, acks=1) of one record batch each, or of one for each of several partitions: so Kafka's own
 * client sends what is ready, up to max.request.size.
 */
export class KafkaProduces implements WireProtocol {
  readonly messagesPerRequest: number;
  readonly bodyBytesPerRequest: number;
  readonly targets: number;
  readonly tail: Buffer;
  readonly #partitions: number;
  readonly #heads: Buffer[];
  /** By target: the partitions behind its first one. */
  readonly #more: Buffer[][];

  /** @throws RangeError when requests of so many partitions do not cover all */
  constructor({ topic, queues, size, batch, partitionsAtOnce = 1 }: WireShape) {
    if (queues % partitionsAtOnce !== 0) throw new RangeError(`${queues} partitions, ${partitionsAtOnce} at once`);
    this.#partitions = partitionsAtOnce;
    this.targets = queues / partitionsAtOnce;
    this.messagesPerRequest = batch * partitionsAtOnce;
    this.bodyBytesPerRequest = batch * size * partitionsAtOnce;
    this.tail = recordBatch(size, batch);
    const partition = (index: number): RequestWriter => new RequestWriter().i32(index).i32(this.tail.length);
    this.#more = Array.from({ length: this.targets }, (_, target) =>
      Array.from({ length: partitionsAtOnce - 1 }, (__, i) => [
        partition(target * partitionsAtOnce + 1 + i).done(),
        this.tail,
      ]).flat(),
    );
    this.#heads = this.#more.map((more, target) => {
      const request = header(PRODUCE, 3).i16(-1).i16(1).i32(10_000).i32(1).text(topic).i32(partitionsAtOnce);
      const first = partition(target * partitionsAtOnce).done();
      return framed(request.bytes(first).done(), this.tail.length + more.reduce((sum, { length }) => sum + length, 0));
    });
  }

  head(target: number, token: number): Buffer {
    const copy = Buffer.from(this.#heads[target]!);
    copy.writeInt32BE(token, CORRELATION_AT);
    return copy;
  }

  more(target: number): readonly Buffer[] {
    return this.#more[target]!;
  }

  answerSize(bytes: Buffer, start: number, end: number): number {
    return frameSize(bytes, start, end);
  }

  /** size, correlationId, topics [name, partitions [index, errorCode …]] */
  answer(bytes: Buffer, start: number, _end: number, into: Answer): void {
    into.token = bytes.readInt32BE(start + 4);
    let errorAt = start + 14 + bytes.readInt16BE(start + 12) + 8;
    let error = 0;
    for (let i = 0; i < this.#partitions && error === 0; i++, errorAt += PRODUCED_SIZE) error = bytes.readInt16BE(errorAt);
    into.isOk = error === 0;
    into.remark = error === 0 ? "" : `error code ${error}`;
  }
}

function frameSize(bytes: Buffer, start: number, end: number): number {
  if (end - start < 4) return 0;
  const size = 4 + bytes.readInt32BE(start);
  return size <= end - start ? size : 0;
}

/** Fetch requests (version 4) of one partition each, 1 MiB at most; they never wait. */
export class KafkaFetches implements WireReader {
  readonly #topic: string;

  constructor({ topic }: WireShape) {
    this.#topic = topic;
  }

  request(queue: number, offset: number, token: number): Buffer {
    const request = header(FETCH, 4).i32(-1).i32(0).i32(0).i32(1_048_576).i8(0).i32(1).text(this.#topic).i32(1);
    const frame = framed(request.i32(queue).i64(offset).i32(1_048_576).done());
    frame.writeInt32BE(token, CORRELATION_AT);
    return frame;
  }

  answerSize(bytes: Buffer, start: number, end: number): number {
    return frameSize(bytes, start, end);
  }

  /** size, correlationId, throttle, topics [name, partitions [index, error, high, stable, aborted [], records]] */
  answer(bytes: Buffer, start: number, end: number, into: Answer): void {
    into.token = bytes.readInt32BE(start + 4);
    into.isOk = true;
    into.messages = 0;
    into.bytes = 0;
    into.nextOffset = -1;
    const partition = start + 16 + 2 + bytes.readInt16BE(start + 16) + 4;
    const error = bytes.readInt16BE(partition + 4);
    into.isOk = error === 0;
    into.remark = error === 0 ? "" : `error code ${error}`;
    const aborted = Math.max(0, bytes.readInt32BE(partition + 22));
    const records = partition + 26 + 16 * aborted;
    let at = records + 4;
    const last = Math.min(end, at + Math.max(0, bytes.readInt32BE(records)));
    while (last - at >= 61) {
      const size = 12 + bytes.readInt32BE(at + 8);
      if (size > last - at) break; // Cut off.
      into.nextOffset = Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23) + 1;
      into.messages += bytes.readInt32BE(at + 57);
      into.bytes += size;
      at += size;
    }
  }
}

/** @returns a request that makes the topic, and reads its answer's error code: 0, or 36 for one that is there */
export function createTopicRequest(topic: string, partitions: number): Buffer {
  const request = header(CREATE_TOPICS, 2).i32(1).text(topic).i32(partitions).i16(1).i32(0).i32(0).i32(CREATE_MS_MAX).i8(0);
  return framed(request.done());
}

/** Its answer begins as that of `createTopicRequest` does. */
export function deleteTopicRequest(topic: string): Buffer {
  return framed(header(DELETE_TOPICS, 1).i32(1).text(topic).i32(CREATE_MS_MAX).done());
}

/** Of a topic that has fewer: Kafka makes less than 10,000 at a time. */
export function createPartitionsRequest(topic: string, partitions: number): Buffer {
  const request = header(CREATE_PARTITIONS, 0).i32(1).text(topic).i32(partitions).i32(-1).i32(CREATE_MS_MAX).i8(0);
  return framed(request.done());
}

/** Record batch, version 2: `count` records of `size` bytes, without keys. */
function recordBatch(size: number, count: number): Buffer {
  const value = bodyOf(size);
  const records = new RequestWriter();
  for (let i = 0; i < count; i++) {
    const record = new RequestWriter().i8(0).varint(0).varint(i).varint(-1).varint(size).bytes(value).varint(0).done();
    records.varint(record.length).bytes(record);
  }
  const now = Date.now(); // A time long past would be deleted at once.
  const checked = new RequestWriter()
    .i16(0)
    .i32(count - 1)
    .i64(now)
    .i64(now)
    .i64(-1)
    .i16(-1)
    .i32(-1)
    .i32(count)
    .bytes(records.done())
    .done();
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32c(checked));
  const rest = Buffer.concat([new RequestWriter().i32(-1).i8(2).done(), crc, checked]);
  return new RequestWriter().i64(0).i32(rest.length).bytes(rest).done();
}

/** CRC-32C (Castagnoli), as record batches have it. */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f6_3b78);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
