import { Buffer } from "node:buffer";
import { crc32 } from "../../base/crc32.ts";
import { PROPERTIES_SIZE_MAX, VALUE_END } from "./properties.ts";

/**
 * The checksum of a whole record, its last property. It covers all bytes of the record before itself.
 *   "__CRC32#" 0x01 digits 0x02
 * The digits are ten: the lower 31 bits of the CRC-32, decimal, the least significant digit first, filled up with 0.
 * Written with enabledAppendPropCRC. Source: Apache `MessageDecoder.createCrc32`, `CommitLog.CRC32_RESERVED_LEN`.
 */
const NAME = "__CRC32#\u0001";
const DIGITS = 10;
export const RECORD_CRC_SIZE: number = NAME.length + DIGITS + 1;
const NAME_BYTES: readonly number[] = Array.from(Buffer.from(NAME));

export const RECORD_CRC_NONE = 0;
export const RECORD_CRC_RIGHT = 1;
export const RECORD_CRC_WRONG = 2;

/** Leaves room for the checksum at `at`. @returns its end */
export function reserveRecordCrc(bytes: Buffer, at: number): number {
  for (let i = 0; i < NAME_BYTES.length; i++) bytes[at + i] = NAME_BYTES[i]!;
  const end = at + RECORD_CRC_SIZE;
  bytes[end - 1] = VALUE_END;
  return end;
}

/** Fills the room at the end of the record bytes[at, end), if there is one. The record is complete. */
export function fillRecordCrc(bytes: Buffer, at: number, end: number): void {
  const room = end - RECORD_CRC_SIZE;
  for (let i = 0; i < NAME_BYTES.length; i++) if (bytes[room + i] !== NAME_BYTES[i]) return;
  let rest = crc32(bytes, at, room) & 0x7fff_ffff;
  for (let i = room + NAME_BYTES.length; i < end - 1; i++) {
    bytes[i] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

/**
 * Whether the record bytes[at, end), whose properties begin at `propertiesStart`, is what its checksum says. What differs
 * from the form of a checksum by one byte is a damaged one: no other property looks so.
 */
export function recordCrcState(bytes: Buffer, at: number, end: number, propertiesStart: number): number {
  const room = end - RECORD_CRC_SIZE;
  if (room < propertiesStart) return RECORD_CRC_NONE;
  let strange = bytes[end - 1] === VALUE_END ? 0 : 1;
  for (let i = 0; i < NAME_BYTES.length; i++) if (bytes[room + i] !== NAME_BYTES[i] && ++strange > 1) return RECORD_CRC_NONE;
  let crc = 0;
  for (let i = end - 2; i >= room + NAME_BYTES.length; i--) {
    const digit = bytes[i]! - 0x30;
    if ((digit < 0 || digit > 9) && ++strange > 1) return RECORD_CRC_NONE;
    crc = crc * 10 + digit;
  }
  return strange === 0 && (crc32(bytes, at, room) & 0x7fff_ffff) === crc ? RECORD_CRC_RIGHT : RECORD_CRC_WRONG;
}

/** What is left for other properties, bytes. */
export function propertiesSizeMaxOf(settings: { enabledAppendPropCRC: boolean }): number {
  return PROPERTIES_SIZE_MAX - (settings.enabledAppendPropCRC ? RECORD_CRC_SIZE : 0);
}

/** Where a checksum property begins in the properties bytes[start, end), -1: nowhere. */
export function recordCrcStart(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at + NAME_BYTES.length <= end; at++) {
    if (bytes[at] !== NAME_BYTES[0] || (at > start && bytes[at - 1] !== VALUE_END)) continue;
    let same = 1;
    while (same < NAME_BYTES.length && bytes[at + same] === NAME_BYTES[same]) same++;
    if (same === NAME_BYTES.length) return at;
  }
  return -1;
}

/** The properties text without the checksum of the record that it was taken from. */
export function withoutRecordCrc(properties: string): string {
  if (!properties.includes(NAME)) return properties;
  const segments = properties.split("\u0002").filter((segment) => !segment.startsWith(NAME));
  return segments.join("\u0002");
}
