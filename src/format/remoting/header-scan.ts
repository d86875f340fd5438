import { assert } from "../../base/assert.ts";
import { parseDecimal } from "../text/decimal.ts";
import { copyBytes, copyUnescaped, isUtf8, literalEnd, stringEnd } from "../text/json-bytes.ts";
import * as fields from "./header-fields.ts";
import { type HeaderMemo, HeaderMemos } from "./header-memo.ts";
import * as names from "./header-names.ts";
import { NAME_UNKNOWN } from "./name-table.ts";
import { RequestCode } from "./remoting-codes.ts";
import { HEADER_OFFSET, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "./remoting-frame.ts";

export * from "./header-fields.ts";

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
const OPEN = 0x7b;
const CLOSE = 0x7d;
const SMALL_N = 0x6e;
/** A number of more digits may not be exact, so that JSON.parse would spell it differently. */
const EXACT_DIGITS = 15;

const GUESS_MASK = 31;

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
  /** The header is like one that came before. */
  memo: HeaderMemo | undefined;

  /**
   * The whole memory that the scanned Buffer is a part of, as bytes and as words. Kept as long as frames
   * come from the same memory. All places inside this class count from its first byte, not the Buffer's.
   */
  #bytes: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #base = 0;
  /** The Buffer last scanned: to compare it is cheaper than to ask for its memory. */
  #source: Buffer = this.#bytes;
  /** Where the present header begins. */
  #origin = 0;
  #target: Buffer = this.#bytes;
  #targetView: DataView = this.#view;

  #slots: Uint8Array = names.SLOTS_OF_NAMES;
  /** A bit for each field: present; present with JSON escapes. Of the spelling that the code asks for. */
  #present = 0;
  #escaped = 0;
  #namesPresent = 0;
  #namesEscaped = 0;
  #lettersPresent = 0;
  #lettersEscaped = 0;
  /** Places of the values, from the header's first byte on: of the last scan, or of the memo. */
  #starts: Int32Array = new Int32Array(64);
  #ends: Int32Array = new Int32Array(64);
  #scannedStarts: Int32Array = this.#starts;
  #scannedEnds: Int32Array = this.#ends;
  #opaqueStart = 0;
  #opaqueEnd = 0;
  readonly #memos = new HeaderMemos();

  /** Which name was the nth last time: a client writes the same ones in the same order. */
  readonly #memberGuesses = new Int8Array(GUESS_MASK + 1).fill(NAME_UNKNOWN);
  readonly #fieldGuesses = new Int8Array(GUESS_MASK + 1).fill(NAME_UNKNOWN);

  /** The JSON value read last; #number where it is one. */
  #kind = KIND_NULL;
  #number = 0;

  /**
   * Reads the header of the whole frame at `start`. false: unusual; decode with decodeCommand, or close.
   * @param sender any number; headers of one sender are likely to be alike
   */
  scan(bytes: Buffer, start: number, sender = 0): boolean {
    if (start < 0 || start + HEADER_OFFSET > bytes.length) return false;
    const headerSize = (bytes[start + 5]! << 16) | (bytes[start + 6]! << 8) | bytes[start + 7]!;
    if (start + HEADER_OFFSET + headerSize > bytes.length) return false;
    if (bytes !== this.#source) {
      this.#source = bytes;
      this.#bytes = Buffer.from(bytes.buffer);
      this.#view = new DataView(bytes.buffer);
      this.#base = bytes.byteOffset;
    }
    const at = this.#base + start + HEADER_OFFSET;
    this.#origin = at;
    const type = bytes[start + 4]!;
    const memo = this.#memos.find(this.#view, at, headerSize, sender, type);
    if (memo !== undefined) {
      this.#remember(memo);
      return true;
    }
    this.memo = undefined;
    this.#starts = this.#scannedStarts;
    this.#ends = this.#scannedEnds;
    this.code = 0;
    this.flag = 0;
    this.opaque = 0;
    this.version = 0;
    this.language = names.LANGUAGE_OTHER;
    this.serializeType = type;
    this.#namesPresent = 0;
    this.#namesEscaped = 0;
    this.#lettersPresent = 0;
    this.#lettersEscaped = 0;
    this.#present = 0;
    this.#opaqueStart = 0;
    this.#opaqueEnd = 0;
    if (type === SERIALIZE_JSON) {
      if (!this.#scanJson(at, at + headerSize)) return false;
    } else if (type !== SERIALIZE_ROCKETMQ || !this.#scanBinary(at, at + headerSize)) {
      return false;
    }
    // Only now: in JSON the code may stand behind the fields whose meaning depends on it.
    const code = this.code;
    if (
      code === RequestCode.SEND_MESSAGE_V2 ||
      code === RequestCode.SEND_BATCH_MESSAGE ||
      code === RequestCode.SEND_REPLY_MESSAGE_V2
    ) {
      this.#slots = names.SLOTS_OF_LETTERS;
      this.#present = this.#lettersPresent;
      this.#escaped = this.#lettersEscaped;
    } else {
      this.#slots = names.SLOTS_OF_NAMES;
      this.#present = this.#namesPresent;
      this.#escaped = this.#namesEscaped;
    }
    if (this.#memos.isWanted(headerSize, sender)) this.#learn(headerSize, sender);
    return true;
  }

  #remember(memo: HeaderMemo): void {
    const { found } = memo;
    this.memo = memo;
    this.code = found.code;
    this.flag = found.flag;
    this.opaque = memo.opaque;
    this.version = found.version;
    this.language = found.language;
    this.serializeType = found.serializeType;
    this.#slots = found.slots;
    this.#present = found.present;
    this.#escaped = found.escaped;
    this.#starts = found.starts;
    this.#ends = found.ends;
  }

  #learn(size: number, sender: number): void {
    const isThere = (slot: number): boolean => slot !== names.NO_LETTER && ((this.#present >>> slot) & 1) === 1;
    const propertiesSlot = this.#slots[fields.FIELD_PROPERTIES]!;
    this.#memos.add(this.#view, this.#origin, size, sender, {
      serializeType: this.serializeType,
      code: this.code,
      flag: this.flag,
      version: this.version,
      language: this.language,
      slots: this.#slots,
      present: this.#present,
      escaped: this.#escaped,
      starts: this.#starts,
      ends: this.#ends,
      opaqueStart: this.#opaqueStart,
      opaqueEnd: this.#opaqueEnd,
      openSlots: fields.CHANGING_FIELDS.map((field) => this.#slots[field]!).filter(isThere),
      propertiesSlot: isThere(propertiesSlot) ? propertiesSlot : -1,
    });
    // The memo keeps these.
    this.#scannedStarts = new Int32Array(64);
    this.#scannedEnds = new Int32Array(64);
  }

  /** Where byte `at` of the Buffer that was scanned stands in `view`. */
  placeInView(at: number): number {
    return this.#base + at;
  }

  /** Where the header begins in `view`. */
  get headerInView(): number {
    return this.#origin;
  }

  /** The memory that was scanned. */
  get view(): DataView {
    return this.#view;
  }

  /** false also where JSON says null and where a binary header holds an empty value, as with decodeCommand. */
  has(field: number): boolean {
    return ((this.#present >>> this.#slots[field]!) & 1) === 1;
  }

  /** The raw value is bytes[rawStart, rawEnd) of what was scanned, in JSON without its quotes. Only for fields that are present. */
  rawStart(field: number): number {
    return this.#origin + this.#starts[this.#slots[field]!]! - this.#base;
  }

  rawEnd(field: number): number {
    return this.#origin + this.#ends[this.#slots[field]!]! - this.#base;
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
    const memo = this.memo;
    if (memo !== undefined && memo.numberStates[slot] === 1) return memo.numbers[slot]!;
    const value = this.#integer(slot);
    if (memo !== undefined && memo.numberStates[slot] === 0) {
      memo.numbers[slot] = value;
      memo.numberStates[slot] = 1;
    }
    return value;
  }

  #integer(slot: number): number {
    if (((this.#present >>> slot) & 1) === 0) return Number.NaN;
    if (((this.#escaped >>> slot) & 1) === 1) {
      const plain = new TextEncoder().encode(this.#text(slot));
      return parseDecimal(new DataView(plain.buffer), 0, plain.length);
    }
    return parseDecimal(this.#view, this.#origin + this.#starts[slot]!, this.#origin + this.#ends[slot]!);
  }

  /** "true" in any case, as Java reads it; false when absent. */
  boolean(field: number): boolean {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return false;
    if (((this.#escaped >>> slot) & 1) === 1) return this.text(field).toLowerCase() === "true";
    const at = this.#origin + this.#starts[slot]!;
    // 0x20 makes a letter small, and makes no letter of what is none.
    return this.#origin + this.#ends[slot]! - at === 4 && (this.#view.getInt32(at) | 0x2020_2020) === 0x7472_7565;
  }

  /** The value without escapes; "" when absent. */
  text(field: number): string {
    return this.#text(this.#slots[field]!);
  }

  #text(slot: number): string {
    if (((this.#present >>> slot) & 1) === 0) return "";
    const raw = this.#bytes.toString("utf8", this.#origin + this.#starts[slot]!, this.#origin + this.#ends[slot]!);
    return ((this.#escaped >>> slot) & 1) === 1 ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  /** Writes the value without escapes as UTF-8. Never more bytes than rawEnd - rawStart. @returns the end of what was written */
  copyText(field: number, target: Buffer, at: number): number {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return at;
    const start = this.#origin + this.#starts[slot]!;
    const end = this.#origin + this.#ends[slot]!;
    assert(at >= 0 && at + end - start <= target.length, "the raw value fits into the target");
    if (target !== this.#target) {
      this.#target = target;
      this.#targetView = new DataView(target.buffer, target.byteOffset, target.byteLength);
    }
    if (((this.#escaped >>> slot) & 1) === 1) return copyUnescaped(this.#view, start, end, this.#targetView, at);
    copyBytes(this.#bytes, start, end, target, at);
    return at + end - start;
  }

  /** Whether the value without escapes is exactly the bytes of `other`. */
  equalsBytes(field: number, other: Buffer): boolean {
    const slot = this.#slots[field]!;
    if (((this.#present >>> slot) & 1) === 0) return false;
    if (((this.#escaped >>> slot) & 1) === 1) return other.equals(Buffer.from(this.text(field)));
    const start = this.#origin + this.#starts[slot]!;
    const size = other.length;
    if (this.#origin + this.#ends[slot]! - start !== size) return false;
    const bytes = this.#bytes;
    for (let i = 0; i < size; i++) {
      if (bytes[start + i] !== other[i]) return false;
    }
    return true;
  }

  #scanJson(from: number, end: number): boolean {
    const view = this.#view;
    let at = names.skipBlanks(view, from, end);
    if (at >= end || view.getUint8(at) !== OPEN) return false;
    at = names.skipBlanks(view, at + 1, end);
    if (at < end && view.getUint8(at) === CLOSE) return names.skipBlanks(view, at + 1, end) === end;
    let hasExtFields = false;
    for (let step = 0; ; step++) {
      if (at >= end || view.getUint8(at) !== QUOTE) return false;
      let member = this.#memberGuesses[step & GUESS_MASK]!;
      const guessEnd = member === NAME_UNKNOWN ? 0 : names.MEMBERS.endOfJsonName(view, at + 1, end, member);
      if (guessEnd > 0) {
        at = names.skipBlanks(view, guessEnd, end);
      } else {
        const nameEnd = stringEnd(view, at + 1, end);
        if (nameEnd <= 0) return false; // Also with escapes: unusual in a name.
        member = names.MEMBERS.find(view, at + 1, nameEnd);
        this.#memberGuesses[step & GUESS_MASK] = member;
        at = names.skipBlanks(view, nameEnd + 1, end);
        if (at >= end || view.getUint8(at) !== COLON) return false;
        at = names.skipBlanks(view, at + 1, end);
      }
      if (at >= end) return false;
      if (member === names.MEMBER_EXT_FIELDS && view.getUint8(at) === OPEN) {
        if (hasExtFields) return false; // JSON.parse would take the last one, whole.
        hasExtFields = true;
        at = this.#scanExtFields(at, end);
        if (at === 0) return false;
      } else {
        const valueStart = at;
        at = this.#readValue(at, end);
        if (at === 0 || (member !== NAME_UNKNOWN && !this.#setMember(member, valueStart, at))) return false;
      }
      at = names.skipBlanks(view, at, end);
      if (at >= end) return false;
      const byte = view.getUint8(at);
      at = names.skipBlanks(view, at + 1, end);
      if (byte === CLOSE) return at === end;
      if (byte !== COMMA) return false;
    }
  }

  /** Takes in the value just read. @returns false where it is not of the member's kind */
  #setMember(member: number, start: number, end: number): boolean {
    const kind = this.#kind;
    if (member < names.MEMBER_LANGUAGE) {
      if (kind !== KIND_NUMBER && kind !== KIND_NULL) return false;
      const value = kind === KIND_NULL ? 0 : this.#number | 0;
      if (member === names.MEMBER_CODE) this.code = value;
      else if (member === names.MEMBER_FLAG) this.flag = value;
      else if (member === names.MEMBER_OPAQUE) {
        this.opaque = value;
        this.#opaqueStart = (kind === KIND_NUMBER && value < 0 ? start + 1 : start) - this.#origin;
        this.#opaqueEnd = (kind === KIND_NUMBER ? end : start) - this.#origin;
      } else this.version = value;
      return true;
    }
    // A null behind an object would undo it.
    if (member === names.MEMBER_EXT_FIELDS) return kind === KIND_NULL && (this.#namesPresent | this.#lettersPresent) === 0;
    if (member === names.MEMBER_SERIALIZE_TYPE) return true; // The frame's own type counts.
    if (kind !== KIND_STRING) return false;
    const language = names.LANGUAGES.find(this.#view, start + 1, end - 1);
    this.language = language === NAME_UNKNOWN ? names.LANGUAGE_OTHER : language;
    return true;
  }

  /** From the opening brace on. @returns one past the closing one, or 0 */
  #scanExtFields(from: number, end: number): number {
    const view = this.#view;
    let at = names.skipBlanks(view, from + 1, end);
    if (at < end && view.getUint8(at) === CLOSE) return at + 1;
    for (let step = 0; ; step++) {
      let slot: number;
      if (at < end - 4 && names.isLetterName(view.getInt32(at, true))) {
        slot = names.letterSlot(view.getUint8(at + 1));
        at += 4;
      } else {
        if (at >= end || view.getUint8(at) !== QUOTE) return 0;
        slot = this.#fieldGuesses[step & GUESS_MASK]!;
        const guessEnd = slot === NAME_UNKNOWN ? 0 : names.FIELDS.endOfJsonName(view, at + 1, end, slot);
        if (guessEnd > 0) {
          at = guessEnd;
        } else {
          const nameEnd = stringEnd(view, at + 1, end);
          if (nameEnd <= 0) return 0;
          slot = names.slotOf(view, at + 1, nameEnd);
          this.#fieldGuesses[step & GUESS_MASK] = slot < names.LETTERS ? slot : NAME_UNKNOWN;
          at = names.skipBlanks(view, nameEnd + 1, end);
          if (at >= end || view.getUint8(at) !== COLON) return 0;
          at++;
        }
      }
      const valueStart = names.skipBlanks(view, at, end);
      if (valueStart >= end) return 0;
      at = this.#readValue(valueStart, end);
      if (at === 0) return 0;
      if (slot !== NAME_UNKNOWN) this.#setField(slot, valueStart, at, this.#kind);
      at = names.skipBlanks(view, at, end);
      if (at >= end) return 0;
      const byte = view.getUint8(at);
      if (byte === CLOSE) return at + 1;
      if (byte !== COMMA) return 0;
      at = names.skipBlanks(view, at + 1, end);
    }
  }

  /** The last one of equal names wins, as with JSON.parse and Java's map. */
  #setField(slot: number, start: number, end: number, kind: number): void {
    const quotes = kind < KIND_NUMBER ? 1 : 0;
    this.#starts[slot] = start + quotes - this.#origin;
    this.#ends[slot] = end - quotes - this.#origin;
    const bit = 1 << slot; // Modulo 32.
    if (slot < names.LETTERS) {
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
    this.#kind = this.#view.getUint8(at) === SMALL_N ? KIND_NULL : KIND_BOOLEAN;
    return literalEnd(this.#view, at, end);
  }

  #scanBinary(from: number, end: number): boolean {
    if (end - from < names.BINARY_SIZE_MIN) return false;
    const view = this.#view;
    this.code = view.getInt16(from);
    const language = view.getUint8(from + 2);
    this.language = language < names.LANGUAGE_NAMES.length ? language : names.LANGUAGE_OTHER;
    this.version = view.getInt16(from + 3);
    this.opaque = view.getInt32(from + names.BINARY_OPAQUE_AT);
    this.#opaqueStart = names.BINARY_OPAQUE_AT;
    this.#opaqueEnd = names.BINARY_OPAQUE_AT + 4;
    this.flag = view.getInt32(from + 9);
    const remarkSize = view.getInt32(from + 13);
    if (remarkSize < 0 || remarkSize > end - from - names.BINARY_SIZE_MIN) return false;
    let at = from + names.BINARY_SIZE_MIN + remarkSize;
    const fieldsSize = view.getInt32(at - 4);
    if (fieldsSize < 0 || fieldsSize > end - at) return false;
    const fieldsEnd = at + fieldsSize;
    while (at < fieldsEnd) {
      if (fieldsEnd - at < names.BINARY_FIELD_SIZE_MIN) return false;
      const nameStart = at + 2;
      const nameEnd = nameStart + view.getUint16(at);
      if (nameEnd > fieldsEnd - 4) return false;
      const valueSize = view.getInt32(nameEnd);
      at = nameEnd + 4;
      if (valueSize < 0 || valueSize > fieldsEnd - at) return false;
      if (valueSize > 0) {
        if (!isUtf8(view, at, at + valueSize)) return false;
        const slot = names.slotOf(view, nameStart, nameEnd);
        if (slot !== NAME_UNKNOWN) this.#setField(slot, at, at + valueSize, KIND_BINARY);
      }
      at += valueSize;
    }
    return true;
  }
}
