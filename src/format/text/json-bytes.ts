/**
 * JSON strings as bytes, for scanners that must not make strings. Most bytes of a header lie in strings
 * without anything special, so they are read four at a time: a third of the cost of one by one.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SMALL_U = 0x75;
/** `\\u00` as a little-endian word. */
const ESCAPE_00 = 0x3030_755c;

/** What the byte behind a backslash stands for; 0 = no such escape. `u` apart. */
const ESCAPED = new Uint8Array(128);
for (const [letter, meaning] of ['""', "\\\\", "//", "b\b", "f\f", "n\n", "r\r", "t\t"]) {
  ESCAPED[letter!.charCodeAt(0)] = meaning!.charCodeAt(0);
}
const NOT_HEX = 0xff;
const HEX = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/**
 * Place of the quote that ends the string whose first byte is at `from`; negated if the string holds
 * escapes; 0 if it does not end before `end` or is no correct JSON and UTF-8. Every accepted string
 * unescapes to well-formed Unicode: a half of a surrogate pair is refused too.
 */
export function stringEnd(view: DataView, from: number, end: number): number {
  let at = from;
  let sign = 1;
  const lastWord = end - 4;
  for (;;) {
    if (at <= lastWord) {
      const marks = specialMarks(view.getInt32(at, true));
      if (marks === 0) {
        at += 4;
        continue;
      }
      at += firstMark(marks);
    } else if (at >= end) {
      return 0;
    }
    const byte = view.getUint8(at);
    if (byte === QUOTE) return at * sign;
    if (byte === BACKSLASH) {
      sign = -1;
      at = escapeEnd(view, at, end);
    } else if (byte >= 0x80) {
      at = utf8End(view, at, end);
    } else {
      at = byte < 0x20 ? 0 : at + 1;
    }
    if (at === 0) return 0;
  }
}

/**
 * Marks the quotes, backslashes, control and non-ASCII bytes among four: the top bit of the byte is set.
 * Only the first mark (the lowest) is sure: a borrow may set it in bytes above that.
 */
export function specialMarks(word: number): number {
  return (
    (((word ^ 0x2222_2222) - 0x0101_0101) | ((word ^ 0x5c5c_5c5c) - 0x0101_0101) | (word - 0x2020_2020) | word) & 0x8080_8080
  );
}

/** Which of the four bytes has the lowest mark, 0 to 3. */
export function firstMark(marks: number): number {
  return (31 - Math.clz32(marks & -marks)) >> 3;
}

const LITERALS = ["true", "false", "null"].map((text) => Buffer.from(text));

/** One past the literal true, false or null at `at`, or 0. */
export function literalEnd(view: DataView, at: number, end: number): number {
  const first = view.getUint8(at);
  for (const literal of LITERALS) {
    if (literal[0] !== first) continue;
    if (end - at < literal.length) return 0;
    for (let i = 1; i < literal.length; i++) if (view.getUint8(at + i) !== literal[i]) return 0;
    return at + literal.length;
  }
  return 0;
}

/** One past the escape whose backslash is at `at` (a surrogate pair counts as one), or 0. */
function escapeEnd(view: DataView, at: number, end: number): number {
  // Nearly always \u0001 or \u0002, between properties.
  if (
    end - at >= 6 &&
    view.getInt32(at, true) === ESCAPE_00 &&
    (HEX[view.getUint8(at + 4)]! | HEX[view.getUint8(at + 5)]!) < NOT_HEX
  )
    return at + 6;
  if (end - at < 2) return 0;
  const letter = view.getUint8(at + 1);
  if (letter !== SMALL_U) return letter >= 0x80 || ESCAPED[letter] === 0 ? 0 : at + 2;
  const unit = unicodeEscape(view, at, end);
  if (unit < 0) return 0;
  if ((unit & 0xf800) !== 0xd800) return at + 6;
  if (unit >= 0xdc00) return 0;
  const low = unicodeEscape(view, at + 6, end);
  return low >= 0xdc00 && low <= 0xdfff ? at + 12 : 0;
}

/** The UTF-16 unit of the `\uXXXX` at `at`, or -1. */
function unicodeEscape(view: DataView, at: number, end: number): number {
  if (end - at < 6 || view.getUint8(at) !== BACKSLASH || view.getUint8(at + 1) !== SMALL_U) return -1;
  const a = HEX[view.getUint8(at + 2)]!;
  const b = HEX[view.getUint8(at + 3)]!;
  const c = HEX[view.getUint8(at + 4)]!;
  const d = HEX[view.getUint8(at + 5)]!;
  return (a | b | c | d) === NOT_HEX ? -1 : (a << 12) | (b << 8) | (c << 4) | d;
}

/** Whether the bytes are well-formed UTF-8. */
export function isUtf8(view: DataView, from: number, end: number): boolean {
  let at = from;
  while (at < end) {
    if (at <= end - 4 && (view.getInt32(at, true) & 0x8080_8080) === 0) {
      at += 4;
    } else if (view.getUint8(at) < 0x80) {
      at++;
    } else {
      at = utf8End(view, at, end);
      if (at === 0) return false;
    }
  }
  return true;
}

/** One past the UTF-8 sequence whose first byte (0x80 or more) is at `at`, or 0 where it is malformed (Unicode table 3-7). */
function utf8End(view: DataView, at: number, end: number): number {
  const first = view.getUint8(at);
  if (first < 0xc2 || first > 0xf4) return 0;
  const size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (end - at < size) return 0;
  const second = view.getUint8(at + 1);
  // The second byte's range excludes long forms, surrogates and what lies above U+10FFFF.
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < size; i++) {
    if ((view.getUint8(at + i) & 0xc0) !== 0x80) return 0;
  }
  return at + size;
}

/**
 * Writes a string that `stringEnd` accepted without its escapes, as UTF-8. Never more bytes than it
 * reads. @returns the end of what was written
 */
export function copyUnescaped(view: DataView, start: number, end: number, target: DataView, targetAt: number): number {
  let at = start;
  let to = targetAt;
  while (at < end) {
    if (at <= end - 4) {
      const word = view.getInt32(at, true);
      const backslashes = word ^ 0x5c5c_5c5c;
      if (((backslashes - 0x0101_0101) & ~backslashes & 0x8080_8080) === 0) {
        target.setInt32(to, word, true);
        at += 4;
        to += 4;
        continue;
      }
    }
    const byte = view.getUint8(at);
    if (byte !== BACKSLASH) {
      target.setUint8(to++, byte);
      at++;
      continue;
    }
    const letter = view.getUint8(at + 1);
    if (letter !== SMALL_U) {
      target.setUint8(to++, ESCAPED[letter]!);
      at += 2;
      continue;
    }
    let point = unicodeEscape(view, at, end);
    at += 6;
    if (point < 0x80) {
      target.setUint8(to++, point);
      continue;
    }
    if ((point & 0xfc00) === 0xd800) {
      point = 0x1_0000 + ((point & 0x3ff) << 10) + (unicodeEscape(view, at, end) & 0x3ff);
      at += 6;
    }
    to = writeCodePoint(point, target, to);
  }
  return to;
}

/** UTF-8 of a code point from U+0080 on. */
function writeCodePoint(point: number, target: DataView, from: number): number {
  let at = from;
  if (point < 0x800) {
    target.setUint8(at++, 0xc0 | (point >> 6));
  } else {
    if (point < 0x1_0000) {
      target.setUint8(at++, 0xe0 | (point >> 12));
    } else {
      target.setUint8(at++, 0xf0 | (point >> 18));
      target.setUint8(at++, 0x80 | ((point >> 12) & 0x3f));
    }
    target.setUint8(at++, 0x80 | ((point >> 6) & 0x3f));
  }
  target.setUint8(at++, 0x80 | (point & 0x3f));
  return at;
}

/** Above this many bytes the native copy is cheaper than a loop. */
const COPY_LOOP_MAX = 32;

export function copyBytes(bytes: Buffer, start: number, end: number, target: Buffer, to: number): void {
  if (end - start > COPY_LOOP_MAX) {
    bytes.copy(target, to, start, end);
  } else {
    for (let i = 0; i < end - start; i++) target[to + i] = bytes[start + i]!;
  }
}
