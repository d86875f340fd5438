import { SERIALIZE_JSON } from "./remoting-frame.ts";
import { TextPattern } from "./text-pattern.ts";

/** Shorter and longer headers are scanned anew each time, bytes. */
const MEMO_SIZE_MIN = 64;
const MEMO_SIZE_MAX = 2048;
/** Headers that are remembered; a power of two. */
export const MEMO_COUNT = 1024;
/** Between places of senders: topics' names and numbers make headers of some dozens of sizes. */
export const SENDER_STRIDE = 149;
/** A memo that is thrown out with fewer hits was not worth making: the next PAUSE headers in its place make none. */
const HITS_MIN = 8;
const PAUSE = 250;

const ZERO = 0x30;
const QUOTE = 0x22;
const UNIQUE_KEY = "UNIQ_KEY";
const KEYS = "KEYS";

/** What a scan has found in a header; places count from the header's first byte. */
export interface ScannedHeader {
  serializeType: number;
  code: number;
  flag: number;
  version: number;
  language: number;
  slots: Uint8Array;
  present: number;
  escaped: number;
  starts: Int32Array;
  ends: Int32Array;
  /** The opaque number: in JSON its digits, without a sign, in a binary header its four bytes. */
  opaqueStart: number;
  opaqueEnd: number;
  /** Slots whose values change from message to message. */
  openSlots: readonly number[];
  /** Slot of the properties, whose UNIQ_KEY and KEYS change; -1: none. */
  propertiesSlot: number;
}

/**
 * A header that was scanned before. A client's headers differ only in a few values of mostly the same length
 * (request number, time, queue, unique key): those are the open bytes, everything else is fixed. A header of the same
 * size with the same fixed bytes, and nothing in the open ones that would end a string, has all its fields where this
 * one has them. To see that costs a sixth of a scan. In a binary header the sizes of values are among the fixed bytes,
 * and the request number is four bytes that may be anything.
 */
export class HeaderMemo {
  readonly size: number;
  readonly found: ScannedHeader;
  /** Values of UNIQ_KEY and KEYS in the properties, raw; an end of 0: none, or not open. */
  uniqueKeyStart = 0;
  uniqueKeyEnd = 0;
  keysStart = 0;
  keysEnd = 0;
  /** Of the header last matched. */
  opaque = 0;
  hits = 0;
  /** What users make of the fixed bytes. */
  extra: unknown = undefined;
  /** Numbers in fixed fields, by slot, once somebody has asked for them. */
  readonly numbers: Float64Array = new Float64Array(64);
  /** By slot: 0 not known yet, 1 known, 2 open. */
  readonly numberStates: Uint8Array = new Uint8Array(64);
  /** For each byte of the header: 0xff where others may differ, else 0. */
  readonly open: Uint8Array;
  /** The opaque number is JSON, with a sign. */
  readonly isNegative: boolean;
  readonly isBinary: boolean;
  readonly #pattern: TextPattern;

  /** @param at where the header, which was scanned well, begins in the view; its size is at least 4 */
  constructor(view: DataView, at: number, size: number, found: ScannedHeader) {
    this.size = size;
    this.found = found;
    this.isBinary = found.serializeType !== SERIALIZE_JSON;
    this.isNegative = !this.isBinary && found.opaqueStart > 0 && view.getUint8(at + found.opaqueStart - 1) === 0x2d;
    const open = new Uint8Array(size);
    for (const slot of found.openSlots) {
      this.numberStates[slot] = 2;
      const start = found.starts[slot]!;
      const end = found.ends[slot]!;
      // Only in a string may any plain byte stand for any other.
      const isString = this.isBinary || (view.getUint8(at + start - 1) === QUOTE && view.getUint8(at + end) === QUOTE);
      if (isString && ((found.escaped >>> slot) & 1) === 0) open.fill(0xff, start, end);
    }
    if (found.propertiesSlot >= 0) this.#openProperties(view, at, found.starts[found.propertiesSlot]!, open);
    const { opaqueStart, opaqueEnd } = found;
    if (!this.isBinary) open.fill(0xff, opaqueStart, opaqueEnd);
    this.open = open;
    this.#pattern = this.isBinary ? new TextPattern(view, at, open, opaqueStart, opaqueEnd) : new TextPattern(view, at, open);
  }

  #openProperties(view: DataView, at: number, start: number, open: Uint8Array): void {
    const end = this.found.ends[this.found.propertiesSlot]!;
    const raw = Buffer.from(view.buffer, view.byteOffset + at + start, end - start).toString("latin1");
    const nameMark = this.isBinary ? "\u0001" : "\\u0001";
    const valueMark = this.isBinary ? "\u0002" : "\\u0002";
    if (!this.isBinary && raw.includes("\\\\")) return; // What looks like an escape behind it is none.
    const ranges = new Map<string, { start: number; end: number } | undefined>();
    let from = start;
    for (const segment of raw.split(valueMark)) {
      const nameEnd = segment.indexOf(nameMark);
      const rawName = segment.slice(0, Math.max(0, nameEnd));
      const name = !this.isBinary && rawName.includes("\\") ? (JSON.parse(`"${rawName}"`) as string) : rawName;
      const valueStart = from + nameEnd + nameMark.length;
      const valueEnd = from + segment.length;
      from = valueEnd + valueMark.length;
      if (name !== UNIQUE_KEY && name !== KEYS) continue;
      const isPlain = valueEnd > valueStart && /^[ !#-[\]-~]+$/.test(segment.slice(nameEnd + nameMark.length));
      // Of equal names, however they are spelt, the last one counts: such texts are left alone.
      ranges.set(name, isPlain && !ranges.has(name) ? { start: valueStart, end: valueEnd } : undefined);
    }
    const uniqueKey = ranges.get(UNIQUE_KEY);
    const keys = ranges.get(KEYS);
    if (uniqueKey !== undefined) {
      this.uniqueKeyStart = uniqueKey.start;
      this.uniqueKeyEnd = uniqueKey.end;
      open.fill(0xff, uniqueKey.start, uniqueKey.end);
    }
    if (keys !== undefined) {
      this.keysStart = keys.start;
      this.keysEnd = keys.end;
      open.fill(0xff, keys.start, keys.end);
    }
  }

  /** Whether the header of this size at `at` has this one's layout; then `opaque` is its number. */
  matches(view: DataView, at: number): boolean {
    return this.#pattern.matches(view, at) && this.#readOpaque(view, at);
  }

  #readOpaque(view: DataView, at: number): boolean {
    const { opaqueStart, opaqueEnd } = this.found;
    if (this.isBinary) {
      this.opaque = view.getInt32(at + opaqueStart);
      this.hits++;
      return true;
    }
    let value = 0;
    for (let place = opaqueStart; place < opaqueEnd; place++) {
      const digit = view.getUint8(at + place) - ZERO;
      if (digit < 0 || digit > 9) return false;
      value = value * 10 + digit;
    }
    // JSON has no 01, and JavaScript spells -0 as 0.
    if (view.getUint8(at + opaqueStart) === ZERO && (opaqueEnd - opaqueStart > 1 || this.isNegative)) return false;
    this.opaque = (this.isNegative ? -value : value) | 0;
    this.hits++;
    return true;
  }
}

/** The memos of one thread, each in the place that the size of the header and its sender tell. */
export class HeaderMemos {
  readonly #memos: (HeaderMemo | undefined)[] = new Array(MEMO_COUNT).fill(undefined);
  /** By place: size of the last header that had no memo; headers still to come before one is made. */
  readonly #sizes = new Uint16Array(MEMO_COUNT);
  readonly #pauses = new Uint8Array(MEMO_COUNT);

  /** The memo that the header at `at`, of this serialize type, is like. */
  find(view: DataView, at: number, size: number, sender: number, type: number): HeaderMemo | undefined {
    const memo = this.#memos[memoPlace(size, sender)];
    const isLikely = memo !== undefined && memo.size === size && memo.found.serializeType === type;
    return isLikely && memo.matches(view, at) ? memo : undefined;
  }

  /** Asked for each header that was not found: whether it seems that more like it will come. */
  isWanted(size: number, sender: number): boolean {
    if (size < MEMO_SIZE_MIN || size > MEMO_SIZE_MAX) return false;
    const place = memoPlace(size, sender);
    if (this.#pauses[place]! > 0) {
      this.#pauses[place]!--;
      return false;
    }
    if (this.#sizes[place] === size) return true;
    this.#sizes[place] = size;
    return false;
  }

  add(view: DataView, at: number, size: number, sender: number, found: ScannedHeader): void {
    const place = memoPlace(size, sender);
    const known = this.#memos[place];
    if (known !== undefined && known.hits < HITS_MIN) this.#pauses[place] = PAUSE;
    this.#memos[place] = new HeaderMemo(view, at, size, found);
  }
}

/** Of a header of this size from this sender. */
export function memoPlace(size: number, sender: number): number {
  return (size + sender * SENDER_STRIDE) & (MEMO_COUNT - 1);
}
