import { crc32 } from "../../base/crc32.ts";
import { readInt64, writeInt64 } from "../record/message.ts";

/**
 * The `queuebounds` file, ours alone: what the queues held when it was written, so that a start can tell what is missing.
 *   0       4       8                  16              24                   32
 *   | magic | crc   | dispatchedOffset | coveredOffset   | physicMsgTimestamp | count u32 | queue ...
 * and for each queue
 *   | topicSize u16 | topic | queueId u32 | minOffset i64 | maxOffset i64 | fileCount u32 | (base i64, mtime ms f64) ... |
 * Integers are big-endian; the CRC covers all behind it.
 */
const MAGIC = 0x4d51_4232;
const HEAD_SIZE = 36;

export interface QueueBounds {
  topic: string;
  queueId: number;
  minOffset: number;
  maxOffset: number;
  /** Its files and when they were last written, after a clean stop; empty: unknown. */
  files: { base: number; modifiedMs: number }[];
}

export interface KnownQueues {
  /** Every record below has its entry: on the disk after a clean stop, else in the page cache. */
  dispatchedOffset: number;
  /** Of all records below it the entries are below the maxOffsets here. */
  coveredOffset: number;
  /** As in the checkpoint that was written together with it after a clean stop. */
  physicMsgTimestamp: number;
  queues: QueueBounds[];
}

export function encodeKnownQueues({ dispatchedOffset, coveredOffset, physicMsgTimestamp, queues }: KnownQueues): Buffer {
  const topics = queues.map(({ topic }) => Buffer.from(topic));
  const size = queues.reduce((sum, { files }, i) => sum + 26 + topics[i]!.length + 16 * files.length, HEAD_SIZE);
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(MAGIC, 0);
  writeInt64(bytes, dispatchedOffset, 8);
  writeInt64(bytes, coveredOffset, 16);
  writeInt64(bytes, physicMsgTimestamp, 24);
  bytes.writeUInt32BE(queues.length, 32);
  let at = HEAD_SIZE;
  for (const [i, { queueId, minOffset, maxOffset, files }] of queues.entries()) {
    at = bytes.writeUInt16BE(topics[i]!.length, at);
    at += topics[i]!.copy(bytes, at);
    at = bytes.writeUInt32BE(queueId, at);
    writeInt64(bytes, minOffset, at);
    writeInt64(bytes, maxOffset, at + 8);
    at = bytes.writeUInt32BE(files.length, at + 16);
    for (const { base, modifiedMs } of files) {
      writeInt64(bytes, base, at);
      bytes.writeDoubleBE(modifiedMs, at + 8);
      at += 16;
    }
  }
  bytes.writeUInt32BE(crc32(bytes, 8, bytes.length), 4);
  return bytes;
}

/** undefined: there is none, or it is not whole. */
export function decodeKnownQueues(bytes: Buffer | undefined): KnownQueues | undefined {
  if (bytes === undefined || bytes.length < HEAD_SIZE || bytes.readUInt32BE(0) !== MAGIC) return undefined;
  if (crc32(bytes, 8, bytes.length) !== bytes.readUInt32BE(4)) return undefined;
  const queues: QueueBounds[] = [];
  let at = HEAD_SIZE;
  for (let count = bytes.readUInt32BE(32); count > 0; count--) {
    const topicEnd = at + 2 + bytes.readUInt16BE(at);
    const topic = bytes.toString("utf8", at + 2, topicEnd);
    const queueId = bytes.readUInt32BE(topicEnd);
    const minOffset = readInt64(bytes, topicEnd + 4);
    const maxOffset = readInt64(bytes, topicEnd + 12);
    const fileCount = bytes.readUInt32BE(topicEnd + 20);
    at = topicEnd + 24;
    const files = Array.from({ length: fileCount }, (_, i) => ({
      base: readInt64(bytes, at + 16 * i),
      modifiedMs: bytes.readDoubleBE(at + 16 * i + 8),
    }));
    at += 16 * fileCount;
    queues.push({ topic, queueId, minOffset, maxOffset, files });
  }
  const [dispatchedOffset, coveredOffset, physicMsgTimestamp] = [8, 16, 24].map((field) => readInt64(bytes, field)) as [
    number,
    number,
    number,
  ];
  return { dispatchedOffset, coveredOffset, physicMsgTimestamp, queues };
}
