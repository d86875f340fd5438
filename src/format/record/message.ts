import { Buffer } from "node:buffer";
import { decodeProperties } from "./properties.ts";
import { withoutRecordCrc } from "./record-crc.ts";

/**
 * One message as it stands in the CommitLog and in pull answers. All integers are big-endian.
 *   0         4       8         12        16     20            28               36
 *   | total   | magic | bodyCrc | queueId | flag | queueOffset | physicalOffset | sysFlag |
 *   40              48                 56               64                72               76
 *   | bornTimestamp | bornHost 8|20    | storeTimestamp | storeHost 8|20  | reconsumeTimes | preparedTransactionOffset |
 *   84
 *   | bodySize u32 | body | topicSize u8 (V1) or u16 (V2) | topic | propertiesSize u16 | properties |
 * From 48 on the offsets hold for IPv4 hosts; each IPv6 host adds 12 bytes.
 * Source: Apache `MessageDecoder.decode`, `MessageExtEncoder`.
 */
export const TOTAL_SIZE_OFFSET = 0;
export const MAGIC_OFFSET = 4;
export const BODY_CRC_OFFSET = 8;
export const QUEUE_ID_OFFSET = 12;
export const FLAG_OFFSET = 16;
export const QUEUE_OFFSET_OFFSET = 20;
export const PHYSICAL_OFFSET_OFFSET = 28;
export const SYS_FLAG_OFFSET = 36;
export const BORN_TIMESTAMP_OFFSET = 40;
export const BORN_HOST_OFFSET = 48;
export const STORE_TIMESTAMP_OFFSET_V4 = 56;

/** As unsigned 32-bit numbers. */
export const MAGIC_V1 = 0xdaa320a7;
export const MAGIC_V2 = 0xdaa320ab;
/** Closes a file: int remaining, then this magic; the rest of the file means nothing. */
export const MAGIC_BLANK = 0xcbd43194;
/** A file always keeps room for the blank marker. */
export const BLANK_SIZE = 8;
/** Topics longer than this are written with the V2 layout. */
export const TOPIC_SIZE_MAX_V1 = 127;
/** Size without body, topic and properties; V1, IPv4 hosts. */
export const RECORD_SIZE_MIN = 91;
/** Room beyond body, topic and properties that any record fits in (V2, both hosts IPv6). */
export const RECORD_OVERHEAD_MAX: number = 91 + 12 + 12 + 1;

export const SYS_FLAG_COMPRESSED = 0x1;
export const SYS_FLAG_MULTI_TAGS = 0x2;
export const SYS_FLAG_TRANSACTION_MASK = 0xc;
export const SYS_FLAG_PREPARED = 0x4;
export const SYS_FLAG_COMMIT = 0x8;
export const SYS_FLAG_ROLLBACK = 0xc;
export const SYS_FLAG_BORN_HOST_V6 = 0x10;
export const SYS_FLAG_STORE_HOST_V6 = 0x20;
export const SYS_FLAG_NEED_UNWRAP = 0x40;
export const SYS_FLAG_INNER_BATCH = 0x80;
export const SYS_FLAG_COMPRESSION_TYPE_MASK = 0x700;
export const SYS_FLAG_COMPRESSION_TYPE_SHIFT = 8;

const TWO_32 = 4_294_967_296;

/** Reads a non-negative 64-bit field below 2^53; larger values lose precision, negative ones come out negative. */
export function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
}

/** Writes a 64-bit field from a safe integer, negative ones in two's complement. */
export function writeInt64(bytes: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32);
  bytes.writeInt32BE(high | 0, at);
  bytes.writeUInt32BE(value - high * TWO_32, at + 4);
}

/** How far the fields behind the born host are moved by an IPv6 born host. */
export function bornHostShift(sysFlag: number): number {
  return (sysFlag & SYS_FLAG_BORN_HOST_V6) !== 0 ? 12 : 0;
}

/** Distance from the record's start to its body size field. */
export function bodySizeOffset(sysFlag: number): number {
  return 84 + bornHostShift(sysFlag) + ((sysFlag & SYS_FLAG_STORE_HOST_V6) !== 0 ? 12 : 0);
}

export const RECORD_INVALID = -1;
export const RECORD_BLANK = -2;

/**
 * Total size of the record at `at`, RECORD_BLANK at a file's closing marker, RECORD_INVALID if no whole,
 * consistent record stands there. Does not check the body's CRC. Source: Apache `CommitLog.checkMessageAndReturnSize`.
 */
export function recordSizeAt(bytes: Buffer, at: number, end: number): number {
  if (end - at < BLANK_SIZE) return RECORD_INVALID;
  const magic = bytes.readUInt32BE(at + MAGIC_OFFSET);
  if (magic === MAGIC_BLANK) return RECORD_BLANK;
  const size = bytes.readUInt32BE(at);
  if ((magic !== MAGIC_V1 && magic !== MAGIC_V2) || size < RECORD_SIZE_MIN || size > end - at) return RECORD_INVALID;
  const bodySizeAt = bodySizeOffset(bytes.readInt32BE(at + SYS_FLAG_OFFSET));
  let used = bodySizeAt + 4;
  if (used > size) return RECORD_INVALID;
  used += bytes.readUInt32BE(at + bodySizeAt);
  const topicSizeSize = magic === MAGIC_V1 ? 1 : 2;
  if (used + topicSizeSize > size) return RECORD_INVALID;
  used += topicSizeSize + (topicSizeSize === 1 ? bytes[at + used]! : bytes.readUInt16BE(at + used));
  if (used + 2 > size) return RECORD_INVALID;
  used += 2 + bytes.readUInt16BE(at + used);
  return used === size ? size : RECORD_INVALID;
}

/**
 * Positions of the variable parts of one valid record, filled in by `locate`; reused, so that walking
 * the log allocates nothing. All positions are absolute in the buffer given.
 */
export class RecordParts {
  sysFlag = 0;
  queueId = 0;
  bodyStart = 0;
  bodyEnd = 0;
  topicStart = 0;
  topicEnd = 0;
  propertiesStart = 0;
  propertiesEnd = 0;
  storeTimestampAt = 0;

  /** The record at `at` must have passed `recordSizeAt`. */
  locate(bytes: Buffer, at: number): void {
    const sysFlag = bytes.readInt32BE(at + SYS_FLAG_OFFSET);
    this.sysFlag = sysFlag;
    this.queueId = bytes.readInt32BE(at + QUEUE_ID_OFFSET);
    this.storeTimestampAt = at + STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag);
    const bodySizeAt = at + bodySizeOffset(sysFlag);
    this.bodyStart = bodySizeAt + 4;
    this.bodyEnd = this.bodyStart + bytes.readUInt32BE(bodySizeAt);
    if (bytes.readUInt32BE(at + MAGIC_OFFSET) === MAGIC_V1) {
      this.topicStart = this.bodyEnd + 1;
      this.topicEnd = this.topicStart + bytes[this.bodyEnd]!;
    } else {
      this.topicStart = this.bodyEnd + 2;
      this.topicEnd = this.topicStart + bytes.readUInt16BE(this.bodyEnd);
    }
    this.propertiesStart = this.topicEnd + 2;
    this.propertiesEnd = this.propertiesStart + bytes.readUInt16BE(this.topicEnd);
  }
}

/** One message, decoded whole. For clients and the control plane. */
export interface DecodedMessage {
  topic: string;
  queueId: number;
  queueOffset: number;
  physicalOffset: number;
  size: number;
  flag: number;
  sysFlag: number;
  bodyCrc: number;
  bornTimestamp: number;
  /** `ip:port`, IPv6 in brackets. */
  bornHost: string;
  storeTimestamp: number;
  storeHost: string;
  reconsumeTimes: number;
  preparedTransactionOffset: number;
  properties: Map<string, string>;
  /** As stored (still compressed where sysFlag says so); a view of the record. */
  body: Buffer;
}

/** Decodes the record at `at`, which must have passed `recordSizeAt`. */
export function decodeMessage(bytes: Buffer, at = 0): DecodedMessage {
  const parts = new RecordParts();
  parts.locate(bytes, at);
  const afterBorn = at + STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(parts.sysFlag);
  const storeHostSize = (parts.sysFlag & SYS_FLAG_STORE_HOST_V6) !== 0 ? 20 : 8;
  return {
    topic: bytes.toString("utf8", parts.topicStart, parts.topicEnd),
    queueId: parts.queueId,
    queueOffset: readInt64(bytes, at + QUEUE_OFFSET_OFFSET),
    physicalOffset: readInt64(bytes, at + PHYSICAL_OFFSET_OFFSET),
    size: bytes.readUInt32BE(at),
    flag: bytes.readInt32BE(at + FLAG_OFFSET),
    sysFlag: parts.sysFlag,
    bodyCrc: bytes.readInt32BE(at + BODY_CRC_OFFSET),
    bornTimestamp: readInt64(bytes, at + BORN_TIMESTAMP_OFFSET),
    bornHost: decodeHost(bytes, at + BORN_HOST_OFFSET, (parts.sysFlag & SYS_FLAG_BORN_HOST_V6) !== 0 ? 16 : 4),
    storeTimestamp: readInt64(bytes, afterBorn),
    storeHost: decodeHost(bytes, afterBorn + 8, storeHostSize - 4),
    reconsumeTimes: bytes.readInt32BE(afterBorn + 8 + storeHostSize),
    preparedTransactionOffset: readInt64(bytes, afterBorn + 12 + storeHostSize),
    properties: decodeProperties(bytes.toString("utf8", parts.propertiesStart, parts.propertiesEnd)),
    body: bytes.subarray(parts.bodyStart, parts.bodyEnd),
  };
}

/** Decodes a run of records, as in the body of a pull answer. Stops at the first byte that is no record. */
export function decodeMessages(bytes: Buffer): DecodedMessage[] {
  const messages: DecodedMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = recordSizeAt(bytes, at, bytes.length);
    if (size < 0) break;
    messages.push(decodeMessage(bytes, at));
    at += size;
  }
  return messages;
}

function decodeHost(bytes: Buffer, at: number, ipSize: number): string {
  const port = bytes.readInt32BE(at + ipSize);
  if (ipSize === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}:${port}`;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(at + i).toString(16));
  return `[${groups.join(":")}]:${port}`;
}

/**
 * Host bytes of the record: ip (4 or 16 bytes), port as int32.
 * @param address `ip:port`, `[ip]:port`; IPv4 mapped into IPv6 becomes IPv4
 */
export function encodeHost(address: string): Buffer {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1));
  let ip = address
    .slice(0, colon)
    .replace(/^\[|\]$/g, "")
    .replace(/%.*$/, "");
  if (/^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(ip)) ip = ip.slice(7);
  const isV4 = !ip.includes(":");
  const host = Buffer.alloc(isV4 ? 8 : 20);
  if (isV4) ip.split(".").forEach((part, i) => host.writeUInt8(Number(part) & 0xff, i));
  else expandV6(ip).forEach((group, i) => host.writeUInt16BE(group, 2 * i));
  host.writeInt32BE(port, host.length - 4);
  return host;
}

function expandV6(ip: string): number[] {
  const [left = "", right] = ip.split("::");
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16) & 0xffff);
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  return [...head, ...new Array<number>(Math.max(0, 8 - head.length - tail.length)).fill(0), ...tail].slice(0, 8);
}

/** What `encodeMessage` needs; offsets and store timestamp are filled in by the CommitLog writer. */
export interface MessageFields {
  topic: string;
  queueId: number;
  flag: number;
  sysFlag: number;
  bornTimestamp: number;
  bornHost: string;
  storeHost: string;
  reconsumeTimes: number;
  preparedTransactionOffset: number;
  /** Properties text. */
  properties: string;
  body: Buffer;
  /** CRC-32 of the body. */
  bodyCrc: number;
}

/** Encodes one record with queueOffset, physicalOffset and storeTimestamp left 0. Cold path. */
export function encodeMessage(fields: MessageFields): Buffer {
  const topic = Buffer.from(fields.topic);
  const properties = Buffer.from(withoutRecordCrc(fields.properties));
  const bornHost = encodeHost(fields.bornHost);
  const storeHost = encodeHost(fields.storeHost);
  const isV2 = topic.length > TOPIC_SIZE_MAX_V1;
  const size =
    RECORD_SIZE_MIN +
    (bornHost.length - 8) +
    (storeHost.length - 8) +
    (isV2 ? 1 : 0) +
    fields.body.length +
    topic.length +
    properties.length;
  const record = Buffer.alloc(size);
  let sysFlag = fields.sysFlag & ~(SYS_FLAG_BORN_HOST_V6 | SYS_FLAG_STORE_HOST_V6);
  if (bornHost.length > 8) sysFlag |= SYS_FLAG_BORN_HOST_V6;
  if (storeHost.length > 8) sysFlag |= SYS_FLAG_STORE_HOST_V6;
  record.writeUInt32BE(size, TOTAL_SIZE_OFFSET);
  record.writeUInt32BE(isV2 ? MAGIC_V2 : MAGIC_V1, MAGIC_OFFSET);
  record.writeUInt32BE(fields.bodyCrc & 0x7fff_ffff, BODY_CRC_OFFSET);
  record.writeInt32BE(fields.queueId, QUEUE_ID_OFFSET);
  record.writeInt32BE(fields.flag, FLAG_OFFSET);
  record.writeInt32BE(sysFlag, SYS_FLAG_OFFSET);
  writeInt64(record, fields.bornTimestamp, BORN_TIMESTAMP_OFFSET);
  let at = BORN_HOST_OFFSET + bornHost.copy(record, BORN_HOST_OFFSET);
  at += 8;
  at += storeHost.copy(record, at);
  at = record.writeInt32BE(fields.reconsumeTimes, at);
  writeInt64(record, fields.preparedTransactionOffset, at);
  at = record.writeUInt32BE(fields.body.length, at + 8);
  at += fields.body.copy(record, at);
  at = isV2 ? record.writeUInt16BE(topic.length, at) : record.writeUInt8(topic.length, at);
  at += topic.copy(record, at);
  at = record.writeUInt16BE(properties.length, at);
  properties.copy(record, at);
  return record;
}
