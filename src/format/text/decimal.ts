/**
 * Whole numbers as decimal digits in bytes, read and written without making strings.
 */
const PLUS = 0x2b;
const MINUS = 0x2d;
const ZERO = 0x30;
/** A sign and the digits of 2^53 - 1. */
export const DECIMAL_SIZE_MAX = 17;
const LOW_PART = 1_000_000_000;
const LOW_DIGITS = 9;
/** What the digits of Long.MAX_VALUE may add up to, rounded at each step: 2^63 and one unit of its last place. */
const LONG_MAX_ROUNDED: number = 2 ** 63 + 2048;

/**
 * Number of digits with an optional sign; NaN when malformed or outside Java's long. Exact up to
 * 2^53 - 1; what is larger reads as that (or its negative): Long.MAX_VALUE is a usual way to say "the end".
 */
export function parseDecimal(view: DataView, start: number, end: number): number {
  if (start >= end) return Number.NaN;
  const sign = view.getUint8(start);
  let at = sign === MINUS || sign === PLUS ? start + 1 : start;
  if (at >= end) return Number.NaN;
  let value = 0;
  for (; at < end; at++) {
    const digit = view.getUint8(at) - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  if (value > Number.MAX_SAFE_INTEGER) value = value <= LONG_MAX_ROUNDED ? Number.MAX_SAFE_INTEGER : Number.NaN;
  return sign === MINUS && value !== 0 ? -value : value;
}

/** Writes a whole number of at most 2^53 - 1 in size. @returns the end of what was written */
export function writeDecimal(target: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  if (rest < 0) {
    target[at++] = MINUS;
    rest = -rest;
  }
  if (rest < LOW_PART) return writeSmall(target, at, rest | 0, digitCount(rest | 0));
  // Two halves, so that the digits come from 32-bit divisions.
  const high = Math.floor(rest / LOW_PART);
  at = writeSmall(target, at, high, digitCount(high));
  return writeSmall(target, at, (rest - high * LOW_PART) | 0, LOW_DIGITS);
}

function writeSmall(target: Uint8Array, at: number, value: number, digits: number): number {
  let rest = value;
  for (let place = at + digits - 1; place >= at; place--) {
    const tenth = (rest / 10) | 0;
    target[place] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return at + digits;
}

function digitCount(value: number): number {
  if (value < 10) return 1;
  if (value < 100) return 2;
  if (value < 1000) return 3;
  if (value < 10_000) return 4;
  if (value < 100_000) return 5;
  if (value < 1_000_000) return 6;
  if (value < 10_000_000) return 7;
  return value < 100_000_000 ? 8 : 9;
}
