/**
 * One unit of the timer log, 52 bytes: a message that waits for its time. All integers are big-endian.
 *   0      4          12      16             24            28                 36     40          44
 *   | size | previous | magic | writeTime ms | delay ms    | physicalOffset   | size | topicHash | reserved |
 * `previous` is the position of the unit before it in the same slot of the wheel, -1: it is the first. Its slot is
 * writeTime + delay. A file that has no room for one more unit and a marker ends with the marker: rest, 0 (8 bytes), magic.
 * Source: Apache `TimerLog`, `TimerMessageStore.doEnqueue`.
 */
export const UNIT_SIZE = 52;
export const UNIT_PREVIOUS = 4;
export const UNIT_MAGIC = 12;
export const UNIT_WRITE_TIME = 16;
export const UNIT_DELAY = 24;
export const UNIT_PHYSICAL_OFFSET = 28;
export const UNIT_RECORD_SIZE = 36;
export const UNIT_TOPIC_HASH = 40;

/** Bits of `magic`. */
export const UNIT_DEFAULT = 1;
/** Due beyond the window: to be put into the timer topic again when its slot comes. */
export const UNIT_ROLL = 2;
/** Marks another message as recalled. */
export const UNIT_DELETE = 4;
const UNIT_BITS = 0xf;

export const UNIT_BLANK_SIZE = 16;
export const UNIT_BLANK_MAGIC = 0xcbd43194;

/** Does a unit stand at `at`? */
export function isUnit(bytes: Buffer, at: number): boolean {
  const magic = bytes.readUInt32BE(at + UNIT_MAGIC);
  return bytes.readUInt32BE(at) === UNIT_SIZE && magic !== 0 && (magic & ~UNIT_BITS) === 0;
}

/** Is it a message that waits, and not a mark? A mark that is rolled leaves its slot like a message, and counts as one. */
export function countsAsWaiting(magic: number): boolean {
  return (magic & (UNIT_DELETE | UNIT_ROLL)) !== UNIT_DELETE;
}
