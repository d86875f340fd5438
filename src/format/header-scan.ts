import { assert } from "../base/assert.ts";
import { parseDecimal } from "./decimal.ts";
import { FIELD_COUNT, FIELD_NAMES, LETTER_COUNT } from "./header-fields.ts";
import { copyUnescaped, isUtf8, stringEnd } from "./json-bytes.ts";
import { NAME_UNKNOWN, NameTable } from "./name-table.ts";
import { RequestCode } from "./remoting-codes.ts";
import { HEADER_OFFSET, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "./remoting-frame.ts";

export * from "./header-fields.ts";

/** Long names take the places [0, FIELD_COUNT) of the tables, letters [LETTERS, LETTERS + LETTER_COUNT). */
const LETTERS = 32;
/** A letter slot that nothing is ever stored in: where fields without a letter look when letters count. */
const NO_LETTER = 63;
assert(FIELD_COUNT === FIELD_NAMES.length && FIELD_COUNT <= LETTERS, "one bit of a word for each field");
assert(LETTERS + LETTER_COUNT <= NO_LETTER, "letters fit into the second word");

const SLOTS_OF_NAMES = Uint8Array.from({ length: FIELD_COUNT }, (_, field) => field);
const SLOTS_OF_LETTERS = Uint8Array.from({ length: FIELD_COUNT }, (_, field) =>
  field < LETTER_COUNT ? LETTERS + field : NO_LETTER,
);
const FIELDS = new NameTable(FIELD_NAMES);

const MEMBER_CODE = 0;
const MEMBER_FLAG = 1;
const MEMBER_OPAQUE = 2;
// 3: version, which the hot paths do not ask for.
const MEMBER_LANGUAGE = 4;
const MEMBER_EXT_FIELDS = 5;
const MEMBER_SERIALIZE_TYPE = 6;
const MEMBERS = new NameTable(["code", "flag", "opaque", "version", "language", "extFields", "serializeTypeCurrentRPC"]);

const LANGUAGE_NAMES = "JAVA CPP DOTNET PYTHON DELPHI ERLANG RUBY OTHER HTTP GO PHP OMS RUST NODE_JS".split(" ");
const LANGUAGES = new NameTable(LANGUAGE_NAMES);
const LANGUAGE_OTHER: number = LANGUAGE_NAMES.indexOf("OTHER");

const KIND_STRING = 0;
const KIND_ESCAPED = 1;
const KIND_NUMBER = 2;
const KIND_BOOLEAN = 3;
const KIND_NULL = 4;
/** A value of a binary header. */
const KIND_BINARY = 5;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const SMALL_A = 0x61;
const SMALL_Z = 0x7a;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const TRUE = Buffer.from("true");
const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");
/** A number of more digits may not be exact, so that JSON.parse would spell it differently. */
const EXACT_DIGITS = 15;

const GUESS_MASK = 31;

/** Sizes of a binary header without remark and fields, and of one field without name and value. */
const BINARY_SIZE_MIN = 21;
const BINARY_FIELD_SIZE_MIN = 6;

/**
 * Header of one remoting frame, read in place: no strings, no objects. One instance per thread, reused;
 * what it says is valid until the next `scan` and as long as the scanned bytes are not overwritten.
 *
 * Knows the fields of header-fields.ts; others are stepped over. Whatever is not plainly what the
 * official clients write (nesting, escapes in names, odd numbers, broken UTF-8) makes `scan` say false
 * rather than guess: decodeCommand then decides, and what both accept they understand alike.
 * Source: Apache `RemotingCommand`, `RemotingSerializable`, `RocketMQSerializable`.
 */
export class HeaderScan {
  code = 0;
  flag = 0;
  opaque = 0;
  version = 0;
  /** LanguageCode; unknown names and numbers read as OTHER. */
  language = 0;
  serializeType = 0;

  /**
   * The whole memory that the scanned Buffer is a part of, as bytes and as words. Kept as long as frames
   * come from the same memory. All places inside this class count from its first byte, not the Buffer's.
   */
  #bytes: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #base = 0;
  #target: Buffer = this.#bytes;
  #targetView: DataView = this.#view;

  #slots = SLOTS_OF_NAMES;
  /** A bit for each field: present; present with JSON escapes. Of the spelling that the code asks for. */
  #present = 0;
  #escaped = 0;
  #namesPresent = 0;
  #namesEscaped = 0;
  #lettersPresent = 0;
  #lettersEscaped = 0;
  readonly #starts = new Int32Array(64);
  readonly #ends = new Int32Array(64);

  /** Which name was the nth last time: a client writes the same ones in the same order. */
  readonly #memberGuesses = new Int8Array(GUESS_MASK + 1).fill(NAME_UNKNOWN);
  readonly #fieldGuesses = new Int8Array(GUESS_MASK + 1).fill(NAME_UNKNOWN);

  /** The JSON value read last; #number where it is one. */
  #kind = KIND_NULL;
  #number = 0;

  /** Reads the header of the whole frame at `start`. false: unusual; decode with decodeCommand, or close. */
  scan(bytes: Buffer, start: number): boolean {
    if (start < 0 || start + HEADER_OFFSET > bytes.length) return false;
    const headerSize = (bytes[start + 5]! << 16) | (bytes[start + 6]! << 8) | bytes[start + 7]!;
    if (start + HEADER_OFFSET + headerSize > bytes.length) return false;
    if (bytes.buffer !== this.#view.buffer) {
      this.#bytes = Buffer.from(bytes.buffer);
      this.#view = new DataView(bytes.buffer);
    }
    this.#base = bytes.byteOffset;
    this.code = 0;
    this.flag = 0;
    this.opaque = 0;
    this.version = 0;
    this.language = LANGUAGE_OTHER;
    this.serializeType = bytes[start + 4]!;
    this.#namesPresent = 0;
    this.#namesEscaped = 0;
    this.#lettersPresent = 0;
    this.#lettersEscaped = 0;
    this.#present = 0;
    const at = bytes.byteOffset + start + HEADER_OFFSET;
    if (this.serializeType === SERIALIZE_JSON) {
      if (!this.#scanJson(at, at + headerSize)) return false;
    } else if (this.serializeType !== SERIALIZE_ROCKETMQ || !this.#scanBinary(at, at + headerSize)) {
      return false;
    }
    // Only now: in JSON the code may stand behind the fields whose meaning depends on it.
    const code = this.code;
    if (
      code === RequestCode.SEND_MESSAGE_V2 ||
      code === RequestCode.SEND_BATCH_MESSAGE ||
      code === RequestCode.SEND_REPLY_MESSAGE_V2
    ) {
      this.#slots = SLOTS_OF_LETTERS;
      this.#present = this.#lettersPresent;
      this.#escaped = this.#lettersEscaped;
    } else {
      this.#slots = SLOTS_OF_NAMES;
      this.#present = this.#namesPresent;
      this.#escaped = this.#namesEscaped;
    }
    return true;
  }

  /** false also where JSON says null and where a binary header holds an empty value, as with decodeCommand. */
  has(field: number): boolean {
    return ((this.#present >>> this.#slots[field]!) & 1) === 1;
  }

  /** The raw value is bytes[rawStart, rawEnd) of what was scanned, in JSON without its quotes. Only for fields that are present. */
  rawStart(field: number): number {
    return this.#starts[this.#slots[field]!]! - this.#base;
  }

  rawEnd(field: number): number {
    return this.#ends[this.#slots[field]!]! - this.#base;
  }

  /** The raw value holds JSON escapes: read it with `text` or `copyText`. */
  isEscaped(field: number): boolean {
    return ((this.#escaped >>> this.#slots[field]!) & 1) === 1;
  }

  /**
   * A whole number; NaN when absent, malformed or outside 64 bits. Exact up to 2^53 - 1; what is larger
   * reads as that (or its negative).
   */
  integer(field: number): number {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return Number.NaN;
    if (((this.#escaped >>> slot) & 1) === 1) {
      const plain = new TextEncoder().encode(this.text(field));
      return parseDecimal(new DataView(plain.buffer), 0, plain.length);
    }
    return parseDecimal(this.#view, this.#starts[slot]!, this.#ends[slot]!);
  }

  /** "true" in any case, as Java reads it; false when absent. */
  boolean(field: number): boolean {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return false;
    if (((this.#escaped >>> slot) & 1) === 1) return this.text(field).toLowerCase() === "true";
    const at = this.#starts[slot]!;
    // 0x20 makes a letter small, and makes no letter of what is none.
    return this.#ends[slot]! - at === 4 && (this.#view.getInt32(at) | 0x2020_2020) === 0x7472_7565;
  }

  /** The value without escapes; "" when absent. */
  text(field: number): string {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return "";
    const raw = this.#bytes.toString("utf8", this.#starts[slot], this.#ends[slot]);
    return ((this.#escaped >>> slot) & 1) === 1 ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  /** Writes the value without escapes as UTF-8. Never more bytes than rawEnd - rawStart. @returns the end of what was written */
  copyText(field: number, target: Buffer, at: number): number {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return at;
    const start = this.#starts[slot]!;
    const end = this.#ends[slot]!;
    assert(at >= 0 && at + end - start <= target.length, "the raw value fits into the target");
    if (target.buffer !== this.#targetView.buffer) {
      this.#target = Buffer.from(target.buffer);
      this.#targetView = new DataView(target.buffer);
    }
    const to = target.byteOffset + at;
    if (((this.#escaped >>> slot) & 1) === 1)
      return copyUnescaped(this.#view, start, end, this.#targetView, to) - target.byteOffset;
    copyBytes(this.#bytes, start, end, this.#target, to);
    return at + end - start;
  }

  /** Whether the value without escapes is exactly the bytes of `other`. */
  equalsBytes(field: number, other: Buffer): boolean {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return false;
    if (((this.#escaped >>> slot) & 1) === 1) return other.equals(Buffer.from(this.text(field)));
    const start = this.#starts[slot]!;
    const size = other.length;
    if (this.#ends[slot]! - start !== size) return false;
    const bytes = this.#bytes;
    for (let i = 0; i < size; i++) {
      if (bytes[start + i] !== other[i]) return false;
    }
    return true;
  }

  #scanJson(from: number, end: number): boolean {
    const view = this.#view;
    let at = skipBlanks(view, from, end);
    if (at >= end || view.getUint8(at) !== OPEN) return false;
    at = skipBlanks(view, at + 1, end);
    if (at < end && view.getUint8(at) === CLOSE) return skipBlanks(view, at + 1, end) === end;
    let hasExtFields = false;
    for (let step = 0; ; step++) {
      if (at >= end || view.getUint8(at) !== QUOTE) return false;
      let member = this.#memberGuesses[step & GUESS_MASK]!;
      const guessEnd = member === NAME_UNKNOWN ? 0 : MEMBERS.endOfJsonName(view, at + 1, end, member);
      if (guessEnd > 0) {
        at = skipBlanks(view, guessEnd, end);
      } else {
        const nameEnd = stringEnd(view, at + 1, end);
        if (nameEnd <= 0) return false; // Also with escapes: unusual in a name.
        member = MEMBERS.find(view, at + 1, nameEnd);
        this.#memberGuesses[step & GUESS_MASK] = member;
        at = skipBlanks(view, nameEnd + 1, end);
        if (at >= end || view.getUint8(at) !== COLON) return false;
        at = skipBlanks(view, at + 1, end);
      }
      if (at >= end) return false;
      if (member === MEMBER_EXT_FIELDS && view.getUint8(at) === OPEN) {
        if (hasExtFields) return false; // JSON.parse would take the last one, whole.
        hasExtFields = true;
        at = this.#scanExtFields(at, end);
        if (at === 0) return false;
      } else {
        const valueStart = at;
        at = this.#readValue(at, end);
        if (at === 0 || (member !== NAME_UNKNOWN && !this.#setMember(member, valueStart, at))) return false;
      }
      at = skipBlanks(view, at, end);
      if (at >= end) return false;
      const byte = view.getUint8(at);
      at = skipBlanks(view, at + 1, end);
      if (byte === CLOSE) return at === end;
      if (byte !== COMMA) return false;
    }
  }

  /** Takes in the value just read. @returns false where it is not of the member's kind */
  #setMember(member: number, start: number, end: number): boolean {
    const kind = this.#kind;
    if (member < MEMBER_LANGUAGE) {
      if (kind !== KIND_NUMBER && kind !== KIND_NULL) return false;
      const value = kind === KIND_NULL ? 0 : this.#number | 0;
      if (member === MEMBER_CODE) this.code = value;
      else if (member === MEMBER_FLAG) this.flag = value;
      else if (member === MEMBER_OPAQUE) this.opaque = value;
      else this.version = value;
      return true;
    }
    // A null behind an object would undo it.
    if (member === MEMBER_EXT_FIELDS) return kind === KIND_NULL && (this.#namesPresent | this.#lettersPresent) === 0;
    if (member === MEMBER_SERIALIZE_TYPE) return true; // The frame's own type counts.
    if (kind !== KIND_STRING) return false;
    const language = LANGUAGES.find(this.#view, start + 1, end - 1);
    this.language = language === NAME_UNKNOWN ? LANGUAGE_OTHER : language;
    return true;
  }

  /** From the opening brace on. @returns one past the closing one, or 0 */
  #scanExtFields(from: number, end: number): number {
    const view = this.#view;
    let at = skipBlanks(view, from + 1, end);
    if (at < end && view.getUint8(at) === CLOSE) return at + 1;
    for (let step = 0; ; step++) {
      let slot: number;
      if (at < end - 4 && isLetterName(view.getInt32(at, true))) {
        slot = letterSlot(view.getUint8(at + 1));
        at += 4;
      } else {
        if (at >= end || view.getUint8(at) !== QUOTE) return 0;
        slot = this.#fieldGuesses[step & GUESS_MASK]!;
        const guessEnd = slot === NAME_UNKNOWN ? 0 : FIELDS.endOfJsonName(view, at + 1, end, slot);
        if (guessEnd > 0) {
          at = guessEnd;
        } else {
          const nameEnd = stringEnd(view, at + 1, end);
          if (nameEnd <= 0) return 0;
          slot = slotOf(view, at + 1, nameEnd);
          this.#fieldGuesses[step & GUESS_MASK] = slot < LETTERS ? slot : NAME_UNKNOWN;
          at = skipBlanks(view, nameEnd + 1, end);
          if (at >= end || view.getUint8(at) !== COLON) return 0;
          at++;
        }
      }
      const valueStart = skipBlanks(view, at, end);
      if (valueStart >= end) return 0;
      at = this.#readValue(valueStart, end);
      if (at === 0) return 0;
      if (slot !== NAME_UNKNOWN) this.#setField(slot, valueStart, at, this.#kind);
      at = skipBlanks(view, at, end);
      if (at >= end) return 0;
      const byte = view.getUint8(at);
      if (byte === CLOSE) return at + 1;
      if (byte !== COMMA) return 0;
      at = skipBlanks(view, at + 1, end);
    }
  }

  /** The last one of equal names wins, as with JSON.parse and Java's map. */
  #setField(slot: number, start: number, end: number, kind: number): void {
    const quotes = kind < KIND_NUMBER ? 1 : 0;
    this.#starts[slot] = start + quotes;
    this.#ends[slot] = end - quotes;
    const bit = 1 << slot; // Modulo 32.
    if (slot < LETTERS) {
      this.#namesPresent = kind === KIND_NULL ? this.#namesPresent & ~bit : this.#namesPresent | bit;
      this.#namesEscaped = kind === KIND_ESCAPED ? this.#namesEscaped | bit : this.#namesEscaped & ~bit;
    } else {
      this.#lettersPresent = kind === KIND_NULL ? this.#lettersPresent & ~bit : this.#lettersPresent | bit;
      this.#lettersEscaped = kind === KIND_ESCAPED ? this.#lettersEscaped | bit : this.#lettersEscaped & ~bit;
    }
  }

  /** A string, a short whole number or a literal; sets #kind and #number. @returns one past it, or 0 for anything else */
  #readValue(from: number, end: number): number {
    const view = this.#view;
    const first = view.getUint8(from);
    if (first === QUOTE) {
      const stop = stringEnd(view, from + 1, end);
      if (stop === 0) return 0;
      this.#kind = stop < 0 ? KIND_ESCAPED : KIND_STRING;
      return stop < 0 ? 1 - stop : 1 + stop;
    }
    if (first !== MINUS && (first < ZERO || first > NINE)) return this.#readLiteral(from, end);
    const digitsStart = first === MINUS ? from + 1 : from;
    let at = digitsStart;
    let value = 0;
    for (; at < end; at++) {
      const digit = view.getUint8(at) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const digits = at - digitsStart;
    if (digits === 0 || digits > EXACT_DIGITS) return 0;
    // JSON has no 01, and JavaScript spells -0 as 0.
    if (view.getUint8(digitsStart) === ZERO && (digits > 1 || first === MINUS)) return 0;
    // A dot or an exponent is left standing; the caller finds it where a comma or a brace should be.
    this.#kind = KIND_NUMBER;
    this.#number = first === MINUS ? -value : value;
    return at;
  }

  #readLiteral(at: number, end: number): number {
    const first = this.#view.getUint8(at);
    const literal = first === TRUE[0] ? TRUE : first === FALSE[0] ? FALSE : NULL;
    if (end - at < literal.length) return 0;
    for (let i = 0; i < literal.length; i++) {
      if (this.#view.getUint8(at + i) !== literal[i]) return 0;
    }
    this.#kind = literal === NULL ? KIND_NULL : KIND_BOOLEAN;
    return at + literal.length;
  }

  #scanBinary(from: number, end: number): boolean {
    if (end - from < BINARY_SIZE_MIN) return false;
    const view = this.#view;
    this.code = view.getInt16(from);
    const language = view.getUint8(from + 2);
    this.language = language < LANGUAGE_NAMES.length ? language : LANGUAGE_OTHER;
    this.version = view.getInt16(from + 3);
    this.opaque = view.getInt32(from + 5);
    this.flag = view.getInt32(from + 9);
    const remarkSize = view.getInt32(from + 13);
    if (remarkSize < 0 || remarkSize > end - from - BINARY_SIZE_MIN) return false;
    let at = from + BINARY_SIZE_MIN + remarkSize;
    const fieldsSize = view.getInt32(at - 4);
    if (fieldsSize < 0 || fieldsSize > end - at) return false;
    const fieldsEnd = at + fieldsSize;
    while (at < fieldsEnd) {
      if (fieldsEnd - at < BINARY_FIELD_SIZE_MIN) return false;
      const nameStart = at + 2;
      const nameEnd = nameStart + view.getUint16(at);
      if (nameEnd > fieldsEnd - 4) return false;
      const valueSize = view.getInt32(nameEnd);
      at = nameEnd + 4;
      if (valueSize < 0 || valueSize > fieldsEnd - at) return false;
      if (valueSize > 0) {
        if (!isUtf8(view, at, at + valueSize)) return false;
        const slot = slotOf(view, nameStart, nameEnd);
        if (slot !== NAME_UNKNOWN) this.#setField(slot, at, at + valueSize, KIND_BINARY);
      }
      at += valueSize;
    }
    return true;
  }
}

/** Above this many bytes the native copy is cheaper than a loop. */
const COPY_LOOP_MAX = 32;

function copyBytes(bytes: Buffer, start: number, end: number, target: Buffer, to: number): void {
  if (end - start > COPY_LOOP_MAX) {
    bytes.copy(target, to, start, end);
  } else {
    for (let i = 0; i < end - start; i++) target[to + i] = bytes[start + i]!;
  }
}

function letterSlot(letter: number): number {
  return letter >= SMALL_A && letter < SMALL_A + LETTER_COUNT ? LETTERS + letter - SMALL_A : NAME_UNKNOWN;
}

/** Place of a field's value in the tables, or NAME_UNKNOWN. */
function slotOf(view: DataView, nameStart: number, nameEnd: number): number {
  return nameEnd - nameStart === 1 ? letterSlot(view.getUint8(nameStart)) : FIELDS.find(view, nameStart, nameEnd);
}

/** Whether the four bytes (little-endian) are `"a":` or the like with another small letter. */
function isLetterName(word: number): boolean {
  const letter = (word >> 8) & 0xff;
  return (word & ~0xff00) === 0x3a22_0022 && letter >= SMALL_A && letter <= SMALL_Z;
}

function skipBlanks(view: DataView, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = view.getUint8(at);
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
    at++;
  }
  return at;
}
