/**
 * Texts as numbers, as Java reads them, straight from the bytes of a property.
 * Source: `java.lang.Integer.parseInt`, `Long.parseLong`, `Double.parseDouble` (of which `valueOf` is made).
 */
const INT_MIN = -2_147_483_648;
const INT_MAX = 2_147_483_647;
const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;
/** Any number of so many digits is exact as a `number`. */
const EXACT_DIGITS = 15;
const LONG_DIGITS = 19;

const MINUS = 0x2d;
const PLUS = 0x2b;
const ZERO = 0x30;
const NINE = 0x39;

/** What the last successful read found; `big` only beyond the safe integers, where `value` is rounded. One a thread. */
export class NumberReader {
  value = 0;
  big: bigint | undefined;

  /** @returns false where Java throws NumberFormatException */
  int(bytes: Buffer, start: number, end: number): boolean {
    return this.long(bytes, start, end) && this.big === undefined && this.value >= INT_MIN && this.value <= INT_MAX;
  }

  /** @returns false where Java throws NumberFormatException */
  long(bytes: Buffer, start: number, end: number): boolean {
    this.big = undefined;
    const sign = bytes[start];
    let at = sign === MINUS || sign === PLUS ? start + 1 : start;
    if (at >= end) return false;
    while (at < end - 1 && bytes[at] === ZERO) at++;
    let value = 0;
    for (let i = at; i < end; i++) {
      const byte = bytes[i]!;
      if (byte < ZERO || byte > NINE) return byte >= 0x80 && this.#longOfOtherScript(bytes, start, end);
      value = value * 10 + (byte - ZERO);
    }
    if (end - at > EXACT_DIGITS) return this.#bigLong(bytes.toString("latin1", at, end), sign === MINUS);
    this.value = sign === MINUS && value !== 0 ? -value : value;
    return true;
  }

  #bigLong(digits: string, isNegative: boolean): boolean {
    if (digits.length > LONG_DIGITS) return false;
    const big = isNegative ? -BigInt(digits) : BigInt(digits);
    if (big < LONG_MIN || big > LONG_MAX) return false;
    this.value = Number(big);
    this.big = Number.isSafeInteger(this.value) ? undefined : big;
    return true;
  }

  /** Java takes the decimal digits of every script of the basic plane. */
  #longOfOtherScript(bytes: Buffer, start: number, end: number): boolean {
    let text = "";
    for (const character of bytes.toString("utf8", start, end)) text += asciiDigit(character);
    const ascii = Buffer.from(text, "latin1");
    return ascii.every((byte) => byte < 0x80) && this.long(ascii, 0, ascii.length);
  }

  /** @returns false where Java throws NumberFormatException */
  double(bytes: Buffer, start: number, end: number): boolean {
    this.big = undefined;
    // As String.trim.
    while (start < end && bytes[start]! <= 0x20) start++;
    while (start < end && bytes[end - 1]! <= 0x20) end--;
    const sign = bytes[start];
    const isNegative = sign === MINUS;
    const at = isNegative || sign === PLUS ? start + 1 : start;
    const decimalEnd = endOfDecimal(bytes, at, end);
    const isDecimal = decimalEnd === end || (decimalEnd === end - 1 && isTypeLetter(bytes[decimalEnd]!));
    const value = isDecimal ? Number(bytes.toString("latin1", at, decimalEnd)) : specialDouble(bytes.toString("latin1", at, end));
    if (value === undefined) return false;
    this.value = isNegative ? -value : value;
    return true;
  }
}

function asciiDigit(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x80 || character.length > 1 || !/\p{Nd}/u.test(character)) return character;
  // The ten digits of a script start at a multiple of 16, or 6 after one.
  const base = code & 0xfff0;
  return String.fromCharCode(ZERO + (/\p{Nd}/u.test(String.fromCharCode(base)) ? code - base : code - base - 6));
}

/** End of `digits [. digits] [e [sign] digits]`, or -1: not a decimal number. */
function endOfDecimal(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && isDigit(bytes[at]!)) at++;
  let digits = at - start;
  if (at < end && bytes[at] === 0x2e) {
    const fraction = ++at;
    while (at < end && isDigit(bytes[at]!)) at++;
    digits += at - fraction;
  }
  if (digits === 0) return -1;
  if (at < end && (bytes[at]! | 0x20) === 0x65) {
    let exponent = at + 1;
    if (bytes[exponent] === MINUS || bytes[exponent] === PLUS) exponent++;
    if (exponent >= end || !isDigit(bytes[exponent]!)) return -1;
    at = exponent;
    while (at < end && isDigit(bytes[at]!)) at++;
  }
  return at;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

/** `1d`, `1.5F`. */
function isTypeLetter(byte: number): boolean {
  const lower = byte | 0x20;
  return lower === 0x64 || lower === 0x66;
}

const HEXADECIMAL = /^0x(?:([\da-f]+)\.?|([\da-f]*)\.([\da-f]+))p([+-]?\d+)[fd]?$/i;

function specialDouble(text: string): number | undefined {
  if (text === "NaN") return Number.NaN;
  if (text === "Infinity") return Number.POSITIVE_INFINITY;
  const parts = HEXADECIMAL.exec(text);
  if (parts === null) return undefined;
  const [, whole, before = "", fraction = "", exponent] = parts;
  const significand = BigInt(`0x${whole ?? before + fraction}`);
  return scaled(significand, Number(exponent) - 4 * fraction.length);
}

/** significand * 2^exponent, rounded once, half to even. */
function scaled(significand: bigint, exponent: number): number {
  if (significand === 0n) return 0;
  const size = significand.toString(2).length;
  const top = size - 1 + exponent;
  if (top > 1023) return Number.POSITIVE_INFINITY;
  const precision = Math.min(53, top + 1075);
  if (precision < 0) return 0;
  const cut = Math.max(0, size - precision);
  const half = 1n << BigInt(Math.max(0, cut - 1));
  let kept = significand >> BigInt(cut);
  const rest = significand - (kept << BigInt(cut));
  if (cut > 0 && (rest > half || (rest === half && (kept & 1n) === 1n))) kept++;
  return Number(kept) * 2 ** Math.max(-1074, exponent + cut) * 2 ** Math.min(0, exponent + cut + 1074);
}
