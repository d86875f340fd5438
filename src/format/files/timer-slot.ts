/**
 * The timer wheel: 1 209 600 slots of 32 bytes, one for each step of the clock, used in turn. All integers are big-endian.
 *   0             8       16     24      28
 *   | time / step | first | last | count | magic (unused) |
 * A slot whose time is not the one that is asked for counts as empty. `first` and `last` are positions in the timer log.
 * Source: Apache `TimerWheel`, `Slot`.
 */
export const SLOT_SIZE = 32;
export const SLOT_FIRST = 8;
export const SLOT_LAST = 16;
export const SLOT_COUNT = 24;
/** Twice seven days of seconds, whatever the step is. */
export const WHEEL_SLOTS: number = 2 * 7 * 86_400;
/** Slots that are kept free between the furthest one in use and the one being read. */
export const WHEEL_BLANK_SLOTS = 60;
