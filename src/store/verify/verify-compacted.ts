import { crc32, nativeCrc32 } from "../../base/crc32.ts";
import { flippedBit } from "../../base/flipped-bit.ts";
import {
  COMPACTED_ENTRY_SIZE,
  COMPACTED_HEADER_SIZE,
  type CompactedEntry,
  readCompactedEntry,
} from "../../format/files/compacted-queue.ts";
import { BODY_CRC_OFFSET, QUEUE_OFFSET_OFFSET, RecordParts, readInt64, recordSizeAt } from "../../format/record/message.ts";
import { fieldAt } from "../../format/record/record-fields.ts";
import type { Drive } from "../../os/api.ts";
import { CompactedQueue } from "../queue/compacted-queue.ts";
import type { Finding, Findings } from "./verify-findings.ts";
import type { OnVerified } from "./verify-log.ts";

/** A file that compaction has left. Plain data. */
export interface CompactedFile {
  topic: string;
  queueId: number;
  path: string;
  size: number;
}

export interface VerifiedCompacted {
  messageCount: number;
}

/** Entries read at once. */
const BLOCK_COUNT = 4096;
/** The CRC of a body is compared without its sign, as RocketMQ stores it. */
const BODY_CRC_MASK = 0x7fff_ffff;

/** Checks one file of compacted messages: its header, its table, and each record. Writes nothing. */
export function verifyCompacted(
  drive: Drive,
  { topic, queueId, path, size }: CompactedFile,
  findings: Findings,
  onVerified: OnVerified,
): VerifiedCompacted {
  const where = { file: path, topic, queueId };
  const queue = CompactedQueue.open(drive, path);
  if (queue === undefined) {
    const text = `${path}, ${size} bytes, has a damaged header or is not all there: none of its messages is read`;
    findings.add({ kind: "compacted-file", text, ...where });
    return { messageCount: 0 };
  }
  try {
    const tableFault = faultOfTable(queue);
    if (tableFault !== undefined) findings.add({ kind: "compacted-table", ...where, ...tableFault });
    const { count, upTo } = queue.header;
    let position = COMPACTED_HEADER_SIZE;
    let queueOffset = -1;
    for (let i = 0; i < count; i++) {
      const entry = queue.entry(i);
      const isInOrder = entry.queueOffset > queueOffset && entry.queueOffset < upTo && entry.position === position;
      const fault = isInOrder ? faultOfRecord(queue, entry, topic, queueId) : { text: "its place is not behind the one before" };
      // What only the table has wrong was told above, for all of it.
      if (fault !== undefined && !(tableFault !== undefined && fault.byteOffset === undefined)) {
        const text = `${path}: message ${i} of ${count}, queueOffset ${entry.queueOffset}: ${fault.text}`;
        findings.add({ kind: "compacted-record", ...where, queueOffset: entry.queueOffset, ...fault, text });
      }
      position = entry.position + entry.size;
      queueOffset = entry.queueOffset;
      if (i % BLOCK_COUNT === 0) onVerified(position, i);
    }
    return { messageCount: count };
  } finally {
    queue.close();
  }
}

type Fault = Pick<Finding, "text" | "byteOffset" | "bit">;

function faultOfTable(queue: CompactedQueue): Fault | undefined {
  const { count, dataSize, tableCrc } = queue.header;
  const size = count * COMPACTED_ENTRY_SIZE;
  const block = Buffer.allocUnsafe(Math.min(size, BLOCK_COUNT * COMPACTED_ENTRY_SIZE));
  let crc = 0;
  for (let start = 0; start < size; start += block.length) {
    const bytes = block.subarray(0, Math.min(block.length, size - start));
    queue.readTable(start, bytes);
    crc = nativeCrc32(bytes, 0, bytes.length, crc);
  }
  if (crc === tableCrc) return undefined;
  const table = Buffer.allocUnsafe(size);
  queue.readTable(0, table);
  const flip = flippedBit(table, 0, size, tableCrc);
  if (flip === undefined) return { text: `${queue.path}: the table of its ${count} messages has changed, by more than one bit` };
  const at = flip.at % COMPACTED_ENTRY_SIZE;
  const restored = Buffer.from(table.subarray(flip.at - at, flip.at - at + COMPACTED_ENTRY_SIZE));
  restored[at]! ^= flip.mask;
  const { queueOffset } = readCompactedEntry(restored, 0);
  const byteOffset = COMPACTED_HEADER_SIZE + dataSize + flip.at;
  const text = `${queue.path}: one bit of byte ${byteOffset}, in the table's entry of queueOffset ${queueOffset}, was flipped`;
  return { text, byteOffset, bit: flip.mask };
}

function faultOfRecord(queue: CompactedQueue, entry: CompactedEntry, topic: string, queueId: number): Fault | undefined {
  const bytes = queue.bytesOf(entry);
  if (bytes === undefined) return { text: "its place is outside of the file" };
  const { size } = entry;
  if (nativeCrc32(bytes, 0, size) !== entry.crc) {
    const flip = flippedBit(bytes, 0, size, entry.crc);
    if (flip === undefined) return { text: `its record of ${size} bytes has changed, by more than one bit` };
    const found = bytes[flip.at]!;
    bytes[flip.at] = found ^ flip.mask;
    const field = fieldAt(bytes, 0, size, flip.at) ?? "no field";
    const was = `it is 0x${found.toString(16)} and was 0x${bytes[flip.at]!.toString(16)}`;
    const text = `one bit of byte ${flip.at} (${field}) of its record, byte ${entry.position + flip.at} of the file, was flipped: ${was}`;
    return { text, byteOffset: entry.position + flip.at, bit: flip.mask };
  }
  if (recordSizeAt(bytes, 0, size) !== size) return { text: `its ${size} bytes are no whole record` };
  const parts = new RecordParts();
  parts.locate(bytes, 0);
  const foundTopic = bytes.toString("utf8", parts.topicStart, parts.topicEnd);
  const foundOffset = readInt64(bytes, QUEUE_OFFSET_OFFSET);
  if (foundTopic !== topic || parts.queueId !== queueId || foundOffset !== entry.queueOffset)
    return { text: `its record is of ${JSON.stringify(foundTopic)}/${parts.queueId}, queueOffset ${foundOffset}` };
  const bodyCrc = crc32(bytes, parts.bodyStart, parts.bodyEnd) & BODY_CRC_MASK;
  if (bodyCrc !== (bytes.readInt32BE(BODY_CRC_OFFSET) & BODY_CRC_MASK))
    return { text: "the CRC of its body does not match: it was damaged before it was compacted" };
  return undefined;
}
