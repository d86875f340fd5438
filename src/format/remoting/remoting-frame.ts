/**
 * RocketMQ remoting frame. All integers are big-endian.
 *   0        4        5             8            8+headerSize
 *   | length | type   | headerSize  | header ... | body ... |
 *   | u32    | u8     | u24         |            |          |
 * `length` counts the bytes after itself: 4 + headerSize + bodySize.
 * Source: Apache `NettyDecoder`, `RemotingCommand.decode`.
 */
export const HEADER_OFFSET = 8;
/** Largest frame, bytes with the length field. Source: Apache `NettyDecoder`, FRAME_MAX_LENGTH. */
export const FRAME_SIZE_MAX = 16_777_216;
export const FRAME_INCOMPLETE = -1;
export const FRAME_MALFORMED = -2;

export const SERIALIZE_JSON = 0;
export const SERIALIZE_ROCKETMQ = 1;

/** Size of the frame at `start`, or FRAME_INCOMPLETE (wait), or FRAME_MALFORMED (close the connection). */
export function frameSize(bytes: Buffer, start: number, end: number): number {
  if (end - start < HEADER_OFFSET) return FRAME_INCOMPLETE;
  const length = bytes.readUInt32BE(start);
  const headerSize = bytes.readUInt32BE(start + 4) & 0xff_ffff;
  const size = 4 + length;
  // Before waiting for the rest: a hostile length must not make us hold a buffer for it.
  if (size > FRAME_SIZE_MAX || headerSize > length - 4 || bytes[start + 4]! > SERIALIZE_ROCKETMQ) return FRAME_MALFORMED;
  return end - start < size ? FRAME_INCOMPLETE : size;
}

/** Size of the header of the frame at `start`, bytes. */
export function frameHeaderSize(bytes: Buffer, start: number): number {
  return bytes.readUInt32BE(start + 4) & 0xff_ffff;
}
