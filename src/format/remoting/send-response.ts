import { assert } from "../../base/assert.ts";
import { copyWords } from "../../base/words.ts";
import { DECIMAL_SIZE_MAX, writeDecimal } from "../text/decimal.ts";
import { specialMarks } from "../text/json-bytes.ts";
import { REMOTING_VERSION } from "./remoting-command.ts";
import { FRAME_SIZE_MAX, HEADER_OFFSET } from "./remoting-frame.ts";
import { Snippet } from "./snippet.ts";

/**
 * Answers to the hot requests, written straight into output buffers. JSON, which is legal whatever the
 * request's header was. What never changes stands first, so that it is one copy:
 *   {"flag":1,"language":"JAVA",...,"extFields":{...,"queueId":"3"},"code":0,"opaque":77}
 * Source: Apache `SendMessageResponseHeader`, `PullMessageResponseHeader`, `RemotingCommand`.
 */
const START = `{"flag":1,"language":"JAVA","serializeTypeCurrentRPC":"JSON","version":${REMOTING_VERSION}`;
const CODE: Buffer = Buffer.from(',"code":');
const OPAQUE: Buffer = Buffer.from(',"opaque":');
const REMARK: Buffer = Buffer.from(',"remark":"');
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const CLOSE = 0x7d;
const UPPER_HEX: Buffer = Buffer.from("0123456789ABCDEF");
/** A byte or UTF-16 unit as `\u0001`. */
const ESCAPE_SIZE = 6;
const OFFSET_HEX_SIZE = 16;
const HALF_HEX_SIZE = 8;
const LONG_SIZE_MAX = DECIMAL_SIZE_MAX;

/** Longest unique key that is answered as transactionId, bytes. Official ones have 32 or 56. */
export const UNIQUE_KEY_SIZE_MAX = 128;
/** Longer remarks are cut, UTF-16 units. */
export const REMARK_LENGTH_MAX = 512;

const EMPTY_HEAD: Buffer = Buffer.from(`${START},"code":0,"opaque":`);
export const EMPTY_RESPONSE_SIZE_MAX: number = HEADER_OFFSET + EMPTY_HEAD.length + LONG_SIZE_MAX + 1;

/** SUCCESS without fields and body. @returns the end of the frame */
export function writeEmptyResponse(target: Buffer, start: number, opaque: number): number {
  target.set(EMPTY_HEAD, start + HEADER_OFFSET);
  const at = writeDecimal(target, start + HEADER_OFFSET + EMPTY_HEAD.length, opaque);
  target[at] = CLOSE;
  return writeFrameSizes(target, start, at + 1, 0);
}

const ERROR_HEAD: Buffer = Buffer.from(START);
export const ERROR_RESPONSE_SIZE_MAX: number =
  HEADER_OFFSET +
  ERROR_HEAD.length +
  REMARK.length +
  ESCAPE_SIZE * REMARK_LENGTH_MAX +
  1 +
  CODE.length +
  OPAQUE.length +
  2 * LONG_SIZE_MAX +
  1;

/** Only a code and a remark. @returns the end of the frame */
export function writeErrorResponse(target: Buffer, start: number, opaque: number, code: number, remark: string): number {
  target.set(ERROR_HEAD, start + HEADER_OFFSET);
  const at = writeRemark(target, start + HEADER_OFFSET + ERROR_HEAD.length, remark);
  return writeFrameSizes(target, start, writeCodeAndOpaque(target, at, code, opaque), 0);
}

const PULL_HEAD: Buffer = Buffer.from(`${START},"extFields":{"suggestWhichBrokerId":"`);
const PULL_NEXT: Buffer = Buffer.from('","nextBeginOffset":"');
const PULL_MIN: Buffer = Buffer.from('","minOffset":"');
const PULL_MAX: Buffer = Buffer.from('","maxOffset":"');
const PULL_TOPIC_SYS_FLAG: Buffer = Buffer.from('","topicSysFlag":"');
const PULL_GROUP_SYS_FLAG: Buffer = Buffer.from('","groupSysFlag":"');
const FIELDS_END: Buffer = Buffer.from('"}');
const PULL_FIXED_SIZE: number =
  PULL_HEAD.length +
  PULL_NEXT.length +
  PULL_MIN.length +
  PULL_MAX.length +
  PULL_TOPIC_SYS_FLAG.length +
  PULL_GROUP_SYS_FLAG.length +
  FIELDS_END.length +
  6 * LONG_SIZE_MAX;
export const PULL_RESPONSE_SIZE_MAX: number = PULL_FIXED_SIZE + ERROR_RESPONSE_SIZE_MAX - ERROR_HEAD.length;

/**
 * Frame and header of the answer to a pull; `bodySize` bytes of records are to follow it.
 * @param remark name of the read's outcome, as FOUND
 * @returns the end of the header, where the body begins
 */
export function writePullResponse(
  target: Buffer,
  start: number,
  code: number,
  opaque: number,
  remark: string,
  suggestWhichBrokerId: number,
  nextBeginOffset: number,
  minOffset: number,
  maxOffset: number,
  topicSysFlag: number,
  groupSysFlag: number,
  bodySize: number,
): number {
  target.set(PULL_HEAD, start + HEADER_OFFSET);
  let at = writeDecimal(target, start + HEADER_OFFSET + PULL_HEAD.length, suggestWhichBrokerId);
  at = writeDecimal(target, writeBytes(target, at, PULL_NEXT), nextBeginOffset);
  at = writeDecimal(target, writeBytes(target, at, PULL_MIN), minOffset);
  at = writeDecimal(target, writeBytes(target, at, PULL_MAX), maxOffset);
  at = writeDecimal(target, writeBytes(target, at, PULL_TOPIC_SYS_FLAG), topicSysFlag);
  at = writeDecimal(target, writeBytes(target, at, PULL_GROUP_SYS_FLAG), groupSysFlag);
  at = writeRemark(target, writeBytes(target, at, FIELDS_END), remark);
  return writeFrameSizes(target, start, writeCodeAndOpaque(target, at, code, opaque), bodySize);
}

/** What stands between the values of the answer to a send that was stored. */
export const SEND_ANSWER_PARTS = {
  queueId: '","queueId":"',
  queueOffset: '","queueOffset":"',
  transactionId: '","transactionId":"',
  end: '"},"code":0,"opaque":',
} as const;
const SEND_QUEUE_ID = new Snippet(SEND_ANSWER_PARTS.queueId);
const SEND_QUEUE_OFFSET = new Snippet(SEND_ANSWER_PARTS.queueOffset);
const SEND_TRANSACTION_ID = new Snippet(SEND_ANSWER_PARTS.transactionId);
const SEND_BATCH_ID = new Snippet('","batchUniqId":"');
const SEND_CODE = new Snippet('"},"code":');
const SEND_OPAQUE = new Snippet(',"opaque":');

/** Writes the answers to sends of one broker. */
export class SendResponseWriter {
  /** A frame's first bytes up to the first message id, and what all ids of the broker begin with, in upper-case hex. */
  readonly #head: Buffer;
  readonly #hostHex: Snippet;
  readonly #fixedSize: number;
  /** All before the offset in the first message id; the frame's sizes are open. */
  readonly start: Buffer;

  /**
   * @param storeHost ip (4 or 16 bytes) and port as int32, as in the records
   */
  constructor(storeHost: Buffer, regionId: string, traceOn: boolean) {
    assert(storeHost.length === 8 || storeHost.length === 20, "a store host is an IPv4 or IPv6 address and a port");
    this.#hostHex = new Snippet(storeHost.toString("hex").toUpperCase());
    const sizes = "\0".repeat(HEADER_OFFSET);
    const fields = `"MSG_REGION":${JSON.stringify(regionId)},"TRACE_ON":"${traceOn}","msgId":"`;
    this.#head = Buffer.from(`${sizes}${START},"extFields":{${fields}`);
    this.start = Buffer.concat([this.#head, Buffer.from(storeHost.toString("hex").toUpperCase())]);
    this.#fixedSize =
      this.#head.length +
      SEND_QUEUE_ID.size +
      SEND_QUEUE_OFFSET.size +
      SEND_TRANSACTION_ID.size +
      SEND_BATCH_ID.size +
      2 * ESCAPE_SIZE * UNIQUE_KEY_SIZE_MAX +
      SEND_CODE.size +
      SEND_OPAQUE.size +
      4 * LONG_SIZE_MAX +
      1;
  }

  /** Room that an answer with `count` message ids needs at most, bytes. */
  sizeMax(count: number): number {
    return this.#fixedSize + count * (this.#hostHex.size + OFFSET_HEX_SIZE + 1);
  }

  /**
   * The answer to a single send.
   * @param view of `target`
   * @param keys keys[keyStart, keyEnd) is the unique key, answered as transactionId; none when empty
   * @param isInnerBatch the record is a whole batch: the client needs its key to know that its messages have no ids of their own
   * @returns the end of the frame
   */
  single(
    target: Buffer,
    view: DataView,
    start: number,
    code: number,
    opaque: number,
    queueId: number,
    queueOffset: number,
    physicalOffset: number,
    keys: DataView,
    keyStart: number,
    keyEnd: number,
    isInnerBatch = false,
  ): number {
    assert(keyEnd - keyStart <= UNIQUE_KEY_SIZE_MAX, "sizeMax counts on unique keys of at most UNIQUE_KEY_SIZE_MAX bytes");
    target.set(this.#head, start);
    let at = this.#writeId(view, start + this.#head.length, physicalOffset);
    at = writeDecimal(target, SEND_QUEUE_ID.write(view, at), queueId);
    at = writeDecimal(target, SEND_QUEUE_OFFSET.write(view, at), queueOffset);
    if (keyEnd > keyStart) {
      at = writeKey(target, view, SEND_TRANSACTION_ID.write(view, at), keys, keyStart, keyEnd);
      if (isInnerBatch) at = writeKey(target, view, SEND_BATCH_ID.write(view, at), keys, keyStart, keyEnd);
    }
    return this.#end(target, view, start, at, code, opaque);
  }

  #end(target: Buffer, view: DataView, start: number, from: number, code: number, opaque: number): number {
    let at = writeDecimal(target, SEND_CODE.write(view, from), code);
    at = writeDecimal(target, SEND_OPAQUE.write(view, at), opaque);
    target[at] = CLOSE;
    return writeFrameSizes(target, start, at + 1, 0);
  }

  /**
   * The answer to a batch: ids of all its records, joined by commas.
   * @param queueOffset of the first record
   * @param physicalOffset of the first record; the others follow it without a gap
   * @param sizes of the records, bytes: the first `count`
   * @returns the end of the frame
   */
  batch(
    target: Buffer,
    view: DataView,
    start: number,
    code: number,
    opaque: number,
    queueId: number,
    queueOffset: number,
    physicalOffset: number,
    sizes: Int32Array,
    count: number,
  ): number {
    target.set(this.#head, start);
    let at = this.#writeId(view, start + this.#head.length, physicalOffset);
    const sameSize = this.#hostHex.size + HALF_HEX_SIZE;
    const idSize = sameSize + HALF_HEX_SIZE;
    let offset = physicalOffset;
    let low = physicalOffset | 0;
    for (let i = 1; i < count; i++) {
      const size = sizes[i - 1]!;
      const before = low;
      offset += size;
      low = (low + size) | 0;
      target[at++] = COMMA;
      // As in the id before, but for its last four digits, or eight.
      if (before >>> 16 === low >>> 16) {
        copyWords(view, at - 1 - idSize, view, at, sameSize + 4);
        view.setUint16(at + sameSize + 4, HEX_PAIRS[(low >>> 8) & 0xff]!);
        view.setUint16(at + sameSize + 6, HEX_PAIRS[low & 0xff]!);
        at += idSize;
      } else if (low >>> 0 > before >>> 0) {
        copyWords(view, at - 1 - idSize, view, at, sameSize);
        writeHex32(view, at + sameSize, low);
        at += idSize;
      } else at = this.#writeId(view, at, offset);
    }
    at = writeDecimal(target, SEND_QUEUE_ID.write(view, at), queueId);
    at = writeDecimal(target, SEND_QUEUE_OFFSET.write(view, at), queueOffset);
    return this.#end(target, view, start, at, code, opaque);
  }

  #writeId(view: DataView, from: number, physicalOffset: number): number {
    const at = this.#hostHex.write(view, from);
    writeHex32(view, at, Math.floor(physicalOffset / 4_294_967_296));
    writeHex32(view, at + 8, physicalOffset | 0); // Modulo 2^32, also above 2^32.
    return at + OFFSET_HEX_SIZE;
  }
}

function writeKey(target: Buffer, view: DataView, start: number, keys: DataView, keyStart: number, keyEnd: number): number {
  let at = start;
  let from = keyStart;
  for (; from + 4 <= keyEnd; from += 4, at += 4) {
    const word = keys.getInt32(from, true);
    if (specialMarks(word) !== 0) break;
    view.setInt32(at, word, true);
  }
  for (; from < keyEnd; from++) at = writeJsonByte(target, at, keys.getUint8(from));
  return at;
}

/** Two upper-case hex digits for each byte. */
const HEX_PAIRS: Uint16Array = Uint16Array.from(
  { length: 256 },
  (_, byte) => (UPPER_HEX[byte >>> 4]! << 8) | UPPER_HEX[byte & 15]!,
);

function writeHex32(view: DataView, at: number, word: number): void {
  view.setUint16(at, HEX_PAIRS[word >>> 24]!);
  view.setUint16(at + 2, HEX_PAIRS[(word >>> 16) & 0xff]!);
  view.setUint16(at + 4, HEX_PAIRS[(word >>> 8) & 0xff]!);
  view.setUint16(at + 6, HEX_PAIRS[word & 0xff]!);
}

/** `,"code":0,"opaque":77}` */
function writeCodeAndOpaque(target: Buffer, from: number, code: number, opaque: number): number {
  let at = writeDecimal(target, writeBytes(target, from, CODE), code);
  at = writeDecimal(target, writeBytes(target, at, OPAQUE), opaque);
  target[at] = CLOSE;
  return at + 1;
}

function writeRemark(target: Buffer, from: number, remark: string): number {
  let at = writeBytes(target, from, REMARK);
  const length = Math.min(remark.length, REMARK_LENGTH_MAX);
  for (let i = 0; i < length; i++) {
    const unit = remark.charCodeAt(i);
    at = unit < 0x80 ? writeJsonByte(target, at, unit) : writeEscape(target, at, unit);
  }
  target[at] = QUOTE;
  return at + 1;
}

/** One byte of a JSON string; bytes above 0x7F are parts of UTF-8 and stand for themselves. */
function writeJsonByte(target: Buffer, at: number, byte: number): number {
  if (byte < 0x20 || byte === QUOTE || byte === BACKSLASH) return writeEscape(target, at, byte);
  target[at] = byte;
  return at + 1;
}

function writeEscape(target: Buffer, at: number, unit: number): number {
  target[at] = BACKSLASH;
  target[at + 1] = 0x75;
  for (let i = 0; i < 4; i++) target[at + 2 + i] = UPPER_HEX[(unit >>> (12 - 4 * i)) & 15]!;
  return at + ESCAPE_SIZE;
}

/** For short texts: a loop beats a call. */
function writeBytes(target: Buffer, at: number, bytes: Buffer): number {
  const size = bytes.length;
  for (let i = 0; i < size; i++) target[at + i] = bytes[i]!;
  return at + size;
}

/** @returns headerEnd */
function writeFrameSizes(target: Buffer, start: number, headerEnd: number, bodySize: number): number {
  assert(headerEnd <= target.length, "the caller has made room for the answer");
  const headerSize = headerEnd - start - HEADER_OFFSET;
  const length = 4 + headerSize + bodySize;
  assert(length + 4 <= FRAME_SIZE_MAX, "an answer fits into a frame");
  target[start] = length >>> 24;
  target[start + 1] = length >>> 16;
  target[start + 2] = length >>> 8;
  target[start + 3] = length;
  target[start + 4] = 0; // JSON.
  target[start + 5] = headerSize >>> 16;
  target[start + 6] = headerSize >>> 8;
  target[start + 7] = headerSize;
  return headerEnd;
}
