import { isUtf8 } from "node:buffer";
import { crc32 } from "../../base/crc32.ts";
import {
  BODY_CRC_OFFSET,
  bodySizeOffset,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  PHYSICAL_OFFSET_OFFSET,
  RECORD_SIZE_MIN,
  RecordParts,
  readInt64,
  SYS_FLAG_OFFSET,
} from "../../format/record/message.ts";
import { NAME_END, VALUE_END } from "../../format/record/properties.ts";
import { RECORD_CRC_SIZE, RECORD_CRC_WRONG, recordCrcStart, recordCrcState } from "../../format/record/record-crc.ts";
import type { FindingKind } from "../verify/verify-findings.ts";

export interface RecordFault {
  kind: FindingKind;
  text: string;
}

/**
 * Names what is wrong with the bytes at `at`, where a record should start and none can be read.
 * @param end            one past the last byte that is there
 * @param physicalOffset of bytes[at] in the log
 */
export function recordFault(bytes: Buffer, at: number, end: number, physicalOffset: number): RecordFault {
  const available = end - at;
  if (available < RECORD_SIZE_MIN)
    return { kind: "record-cut", text: `only ${available} bytes are there, fewer than any record has` };
  const claimed = bytes.readUInt32BE(at);
  const magic = bytes.readUInt32BE(at + MAGIC_OFFSET);
  if (claimed === 0 && magic === 0) return { kind: "log-hole", text: "zeros stand where a record should" };
  if (magic !== MAGIC_V1 && magic !== MAGIC_V2) return { kind: "record-magic", text: `its magic is 0x${magic.toString(16)}` };
  const sum = sizeOfParts(bytes, at, end);
  if (claimed > available && (sum < 0 || sum === claimed)) {
    return { kind: "record-cut", text: `its size is ${claimed}, but only ${available} bytes are there` };
  }
  if (sum !== claimed) {
    const parts = sum < 0 ? "its parts go past the end of the file" : `its parts take ${sum} bytes`;
    return { kind: "record-size", text: `its size field says ${claimed}, but ${parts}` };
  }
  const own = readInt64(bytes, at + PHYSICAL_OFFSET_OFFSET);
  if (own !== physicalOffset) return { kind: "record-physical-offset", text: `its own physicalOffset field says ${own}` };
  const parts = new RecordParts();
  parts.locate(bytes, at);
  const crc = crc32(bytes, parts.bodyStart, parts.bodyEnd) & 0x7fff_ffff;
  const written = bytes.readUInt32BE(at + BODY_CRC_OFFSET);
  if (crc === written && recordCrcState(bytes, at, parts.propertiesEnd, parts.propertiesStart) === RECORD_CRC_WRONG) {
    const changed = "the checksum of the whole record is not its own: a field, or the checksum, was changed";
    return { kind: "record-checksum", text: changed };
  }
  const text = `the CRC of its body is 0x${crc.toString(16)}, but its CRC field says 0x${written.toString(16)}: one of them was changed`;
  return { kind: "record-crc", text };
}

/** What the sizes of the record's parts add up to, whatever its size field says; -1 when they go past `end`. */
export function sizeOfParts(bytes: Buffer, at: number, end: number): number {
  const bodySizeAt = at + bodySizeOffset(bytes.readInt32BE(at + SYS_FLAG_OFFSET));
  if (bodySizeAt + 4 > end) return -1;
  const topicSizeAt = bodySizeAt + 4 + bytes.readUInt32BE(bodySizeAt);
  if (topicSizeAt + 2 > end) return -1;
  const isV1 = bytes.readUInt32BE(at + MAGIC_OFFSET) === MAGIC_V1;
  const propertiesSizeAt = topicSizeAt + (isV1 ? 1 + bytes[topicSizeAt]! : 2 + bytes.readUInt16BE(topicSizeAt));
  if (propertiesSizeAt + 2 > end) return -1;
  const recordEnd = propertiesSizeAt + 2 + bytes.readUInt16BE(propertiesSizeAt);
  return recordEnd > end ? -1 : recordEnd - at;
}

/** Why the text is no list of properties, or undefined if it is one. No checksum covers it: a changed value still looks like one. */
export function propertiesFault(bytes: Buffer, start: number, end: number): string | undefined {
  // Of its own: a search in `bytes` would go on to the end of the log file.
  const text = bytes.subarray(start, end);
  for (let at = 0; at < text.length; ) {
    const found = text.indexOf(VALUE_END, at);
    const segmentEnd = found < 0 ? text.length : found;
    // What INNER_BASE leaves of its room (format/files/batch-consume-queue.ts) is at the end, or before the checksum.
    if (segmentEnd === at) {
      const behind = text.findIndex((byte, i) => i > at && byte !== VALUE_END);
      if (behind < 0) break;
      if (recordCrcStart(text, behind, text.length) === behind && text.length - behind === RECORD_CRC_SIZE) break;
    }
    const nameEnd = text.indexOf(NAME_END, at);
    if (nameEnd < 0 || nameEnd >= segmentEnd) return `byte ${at} of its properties begins one without a value`;
    if (nameEnd === at) return `byte ${at} of its properties begins one without a name`;
    at = segmentEnd + 1;
  }
  return isUtf8(text) ? undefined : "its properties are not UTF-8";
}
