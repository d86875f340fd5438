import type { BitPlace } from "../../base/flipped-bit.ts";
import {
  BLANK_SIZE,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_OFFSET_OFFSET,
  RecordParts,
  readInt64,
  recordSizeAt,
} from "../../format/record/message.ts";
import { fieldAt } from "../../format/record/record-fields.ts";
import type { StoppedLog } from "./stopped-log.ts";

/** The record that a byte of the log belongs to. */
export interface RecordAround {
  physicalOffset: number;
  size: number;
  topic: string;
  queueId: number;
  queueOffset: number;
  /** That the byte is in. */
  field: string;
}

/** The three bytes that both magics begin with. */
const MAGIC_START = Buffer.of(MAGIC_V1 >>> 24, (MAGIC_V1 >>> 16) & 255, (MAGIC_V1 >>> 8) & 255);
const CHUNK_SIZE = 65_536;
/** Up to where a record tells of itself where it stands. */
const OWN_PLACE_END: number = PHYSICAL_OFFSET_OFFSET + 8;

/**
 * Where the record that holds the byte at `position` starts: the last place before it that has a magic and, behind it, its own
 * physicalOffset. Whatever else is damaged does not matter.
 * @param flip of a damaged bit, `at` in the log: what is found is as it was before
 * @returns -1: there is none in that file
 */
export function recordStart(log: StoppedLog, position: number, flip?: BitPlace): number {
  const base = log.baseOf(position);
  const limit = log.endAt(position);
  for (let end = Math.min(limit, position + OWN_PLACE_END); end - OWN_PLACE_END >= base; ) {
    const start = Math.max(base, end - CHUNK_SIZE);
    const bytes = readWith(log, start, end - start, flip);
    let found = bytes.lastIndexOf(MAGIC_START);
    for (; found >= 0; found = found === 0 ? -1 : bytes.lastIndexOf(MAGIC_START, found - 1)) {
      const at = found - MAGIC_OFFSET;
      if (at < 0 || at + OWN_PLACE_END > bytes.length || start + at > position) continue;
      const magic = bytes.readUInt32BE(found);
      if ((magic === MAGIC_V1 || magic === MAGIC_V2) && readInt64(bytes, at + PHYSICAL_OFFSET_OFFSET) === start + at)
        return start + at;
    }
    end = start + OWN_PLACE_END - 1; // A record that this chunk has only a part of.
    if (start === base) break;
  }
  return -1;
}

/** @returns undefined: the byte belongs to no record, or to one that cannot be read even with that bit as it was */
export function recordAround(log: StoppedLog, position: number, flip?: BitPlace): RecordAround | undefined {
  const physicalOffset = recordStart(log, position, flip);
  if (physicalOffset < 0) return undefined;
  const limit = log.endAt(physicalOffset);
  const size = readWith(log, physicalOffset, BLANK_SIZE, flip).readUInt32BE(0);
  if (size > limit - physicalOffset || physicalOffset + size <= position) return undefined;
  const bytes = readWith(log, physicalOffset, size, flip);
  const field = fieldAt(bytes, 0, bytes.length, position - physicalOffset);
  if (field === undefined || recordSizeAt(bytes, 0, size) !== size) return undefined;
  const parts = new RecordParts();
  parts.locate(bytes, 0);
  const topic = bytes.toString("utf8", parts.topicStart, parts.topicEnd);
  return { physicalOffset, size, topic, queueId: parts.queueId, queueOffset: readInt64(bytes, QUEUE_OFFSET_OFFSET), field };
}

function readWith(log: StoppedLog, start: number, size: number, flip: BitPlace | undefined): Buffer {
  log.load(start, size);
  const bytes = Buffer.from(log.bytes.subarray(log.at, log.end));
  const at = (flip?.at ?? -1) - start;
  if (flip !== undefined && at >= 0 && at < size) bytes[at]! ^= flip.mask;
  return bytes;
}
