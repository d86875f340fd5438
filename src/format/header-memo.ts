import { specialMarks } from "./json-bytes.ts";

/** Shorter and longer headers are scanned anew each time, bytes. */
const MEMO_SIZE_MIN = 64;
const MEMO_SIZE_MAX = 2048;
/** Headers that are remembered; a power of two. */
const MEMO_COUNT = 256;
/** Between places of senders. */
const SENDER_STRIDE = 37;
/** A memo that is thrown out with fewer hits was not worth making: the next PAUSE headers in its place make none. */
const HITS_MIN = 8;
const PAUSE = 250;

const ZERO = 0x30;
const QUOTE = 0x22;
/** Stands in for bytes that are not to be looked at. */
const PLAIN_WORD = 0x6161_6161;
const UNIQUE_KEY = "UNIQ_KEY";
const KEYS = "KEYS";

/** What a scan has found in a header; places count from the header's first byte. */
export interface ScannedHeader {
  code: number;
  flag: number;
  version: number;
  language: number;
  slots: Uint8Array;
  present: number;
  escaped: number;
  starts: Int32Array;
  ends: Int32Array;
  /** Digits of the opaque number, without a sign. */
  opaqueStart: number;
  opaqueEnd: number;
  /** Slots whose values change from message to message. */
  openSlots: readonly number[];
  /** Slot of the properties, whose UNIQ_KEY and KEYS change; -1: none. */
  propertiesSlot: number;
}

/**
 * A JSON header that was scanned before. A client's headers differ only in a few values of mostly the same length
 * (request number, time, queue, unique key): those are the open bytes, everything else is fixed. A header of the same
 * size with the same fixed bytes, and nothing in the open ones that would end a string, has all its fields where this
 * one has them. To see that costs a sixth of a scan.
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
  readonly #words: Int32Array;
  /** Bits of the fixed bytes. */
  readonly #masks: Int32Array;
  /** Places and masks of the words that have open bytes beside those of the opaque number. */
  readonly #openAt: Int32Array;
  readonly #openMasks: Int32Array;
  readonly #isNegative: boolean;

  /** @param at where the header, which was scanned well, begins in the view; its size is at least 4 */
  constructor(view: DataView, at: number, size: number, found: ScannedHeader) {
    this.size = size;
    this.found = found;
    this.#isNegative = found.opaqueStart > 0 && view.getUint8(at + found.opaqueStart - 1) === 0x2d;
    const open = new Uint8Array(size);
    for (const slot of found.openSlots) {
      this.numberStates[slot] = 2;
      const start = found.starts[slot]!;
      const end = found.ends[slot]!;
      // Only in a string may any plain byte stand for any other.
      const isString = view.getUint8(at + start - 1) === QUOTE && view.getUint8(at + end) === QUOTE;
      if (isString && ((found.escaped >>> slot) & 1) === 0) open.fill(0xff, start, end);
    }
    if (found.propertiesSlot >= 0) this.#openProperties(view, at, found.starts[found.propertiesSlot]!, open);
    const openPlain = Uint8Array.from(open);
    open.fill(0xff, found.opaqueStart, found.opaqueEnd);
    const places = wordPlaces(size);
    this.#words = Int32Array.from(places, (place) => view.getInt32(at + place, true));
    this.#masks = Int32Array.from(places, (place) => ~wordOf(open, place));
    const openPlaces = places.filter((place) => wordOf(openPlain, place) !== 0);
    this.#openAt = Int32Array.from(openPlaces);
    this.#openMasks = Int32Array.from(openPlaces, (place) => wordOf(openPlain, place));
  }

  #openProperties(view: DataView, at: number, start: number, open: Uint8Array): void {
    const end = this.found.ends[this.found.propertiesSlot]!;
    const raw = Buffer.from(view.buffer, view.byteOffset + at + start, end - start).toString("latin1");
    if (raw.includes("\\\\")) return; // What looks like an escape behind it is none.
    const ranges = new Map<string, { start: number; end: number } | undefined>();
    let from = start;
    for (const segment of raw.split("\\u0002")) {
      const nameEnd = segment.indexOf("\\u0001");
      const name = segment.slice(0, Math.max(0, nameEnd));
      const valueStart = from + nameEnd + 6;
      const valueEnd = from + segment.length;
      from = valueEnd + 6;
      if (name !== UNIQUE_KEY && name !== KEYS) continue;
      const isPlain = valueEnd > valueStart && /^[ !#-[\]-~]+$/.test(segment.slice(nameEnd + 6));
      // Of equal names the last one counts: such texts are left alone.
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
    const words = this.#words;
    const masks = this.#masks;
    const last = words.length - 1;
    let difference = 0;
    for (let i = 0; i < last; i++) difference |= (view.getInt32(at + 4 * i, true) ^ words[i]!) & masks[i]!;
    difference |= (view.getInt32(at + this.size - 4, true) ^ words[last]!) & masks[last]!;
    if (difference !== 0) return false;
    const openAt = this.#openAt;
    const openMasks = this.#openMasks;
    let marks = 0;
    for (let i = 0; i < openAt.length; i++) {
      const mask = openMasks[i]!;
      marks |= specialMarks((view.getInt32(at + openAt[i]!, true) & mask) | (PLAIN_WORD & ~mask));
    }
    return marks === 0 && this.#readOpaque(view, at);
  }

  #readOpaque(view: DataView, at: number): boolean {
    const { opaqueStart, opaqueEnd } = this.found;
    let value = 0;
    for (let place = opaqueStart; place < opaqueEnd; place++) {
      const digit = view.getUint8(at + place) - ZERO;
      if (digit < 0 || digit > 9) return false;
      value = value * 10 + digit;
    }
    // JSON has no 01, and JavaScript spells -0 as 0.
    if (view.getUint8(at + opaqueStart) === ZERO && (opaqueEnd - opaqueStart > 1 || this.#isNegative)) return false;
    this.opaque = (this.#isNegative ? -value : value) | 0;
    this.hits++;
    return true;
  }
}

/** Where the words of `size` bytes begin; the last one overlaps. */
function wordPlaces(size: number): number[] {
  const places: number[] = [];
  for (let place = 0; place + 4 < size; place += 4) places.push(place);
  places.push(size - 4);
  return places;
}

function wordOf(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** The memos of one thread, each in the place that the size of the header and its sender tell. */
export class HeaderMemos {
  readonly #memos: (HeaderMemo | undefined)[] = new Array(MEMO_COUNT).fill(undefined);
  /** By place: size of the last header that had no memo; headers still to come before one is made. */
  readonly #sizes = new Uint16Array(MEMO_COUNT);
  readonly #pauses = new Uint8Array(MEMO_COUNT);

  /** The memo that the header at `at` is like. */
  find(view: DataView, at: number, size: number, sender: number): HeaderMemo | undefined {
    const memo = this.#memos[placeOf(size, sender)];
    return memo !== undefined && memo.size === size && memo.matches(view, at) ? memo : undefined;
  }

  /** Asked for each header that was not found: whether it seems that more like it will come. */
  isWanted(size: number, sender: number): boolean {
    if (size < MEMO_SIZE_MIN || size > MEMO_SIZE_MAX) return false;
    const place = placeOf(size, sender);
    if (this.#pauses[place]! > 0) {
      this.#pauses[place]!--;
      return false;
    }
    if (this.#sizes[place] === size) return true;
    this.#sizes[place] = size;
    return false;
  }

  add(view: DataView, at: number, size: number, sender: number, found: ScannedHeader): void {
    const place = placeOf(size, sender);
    const known = this.#memos[place];
    if (known !== undefined && known.hits < HITS_MIN) this.#pauses[place] = PAUSE;
    this.#memos[place] = new HeaderMemo(view, at, size, found);
  }
}

function placeOf(size: number, sender: number): number {
  return (size + sender * SENDER_STRIDE) & (MEMO_COUNT - 1);
}
