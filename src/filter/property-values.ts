import { NAME_END, VALUE_END } from "../format/record/properties.ts";
import { NumberReader } from "./java-numbers.ts";

const UNREAD = 0;
const READ = 1;
const UNREADABLE = 2;

/** Bytes that may be looked at for one message, about 1 ms. */
const STEPS_MAX = 1_000_000;

/** Forms in which a value may be wanted as a number. */
export const AS_INT = 0;
export const AS_LONG = 1;
export const AS_DOUBLE = 2;

/**
 * The properties of one message that an expression names: where their values stand in the raw text, each found in the one walk
 * that `take` makes, and read as a number at most once in each form. Nothing is allocated per message.
 */
export class PropertyValues {
  readonly #names: readonly Buffer[];
  /** Slot + 1 by the hash of the name, open addressing. */
  readonly #table: Int32Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  /** By slot and form. */
  readonly #states: Uint8Array;
  readonly #numbers: Float64Array;
  readonly #bigs: (bigint | undefined)[];
  readonly #reader = new NumberReader();
  bytes: Buffer = Buffer.alloc(0);
  /** Bytes looked at, all in all. */
  steps = 0;
  #stepsMax = 0;

  constructor(names: readonly string[]) {
    this.#names = names.map((name) => Buffer.from(name));
    const size = 2 ** Math.ceil(Math.log2(Math.max(4, 2 * names.length)));
    this.#table = new Int32Array(size);
    this.#names.forEach((name, slot) => {
      let hash = 0;
      for (const byte of name) hash = nextHash(hash, byte);
      let at = spread(hash) & (size - 1);
      while (this.#table[at] !== 0) at = (at + 1) & (size - 1);
      this.#table[at] = slot + 1;
    });
    this.#starts = new Int32Array(names.length);
    this.#ends = new Int32Array(names.length);
    this.#states = new Uint8Array(3 * names.length);
    this.#numbers = new Float64Array(3 * names.length);
    this.#bigs = new Array(2 * names.length).fill(undefined);
  }

  /** Makes [start, end), a properties text, the message that is asked about. As decodeProperties reads it. */
  take(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.#starts.fill(-1);
    this.#states.fill(UNREAD);
    this.#stepsMax = this.steps + STEPS_MAX;
    this.steps += end - start + this.#names.length;
    for (let at = start; at < end; ) {
      let hash = 0;
      let nameEnd = at;
      let byte = 0;
      while (nameEnd < end && (byte = bytes[nameEnd]!) !== NAME_END && byte !== VALUE_END) {
        hash = nextHash(hash, byte);
        nameEnd++;
      }
      let valueEnd = nameEnd;
      while (valueEnd < end && bytes[valueEnd] !== VALUE_END) valueEnd++;
      if (nameEnd > at && valueEnd - nameEnd > 1) this.#keep(hash, at, nameEnd, valueEnd);
      at = valueEnd + 1;
    }
  }

  #keep(hash: number, start: number, nameEnd: number, valueEnd: number): void {
    const mask = this.#table.length - 1;
    for (let at = spread(hash) & mask; ; at = (at + 1) & mask) {
      const slot = this.#table[at]! - 1;
      if (slot < 0) return;
      this.steps++;
      if (!this.#isName(slot, start, nameEnd)) continue;
      this.#starts[slot] = nameEnd + 1;
      this.#ends[slot] = valueEnd;
      return;
    }
  }

  #isName(slot: number, start: number, end: number): boolean {
    const name = this.#names[slot]!;
    if (name.length !== end - start) return false;
    for (let i = 0; i < name.length; i++) if (name[i] !== this.bytes[start + i]) return false;
    return true;
  }

  /** More has been looked at for this message than one is worth. */
  get isExhausted(): boolean {
    return this.steps > this.#stepsMax;
  }

  has(slot: number): boolean {
    return this.#starts[slot]! >= 0;
  }

  start(slot: number): number {
    return this.#starts[slot]!;
  }

  end(slot: number): number {
    return this.#ends[slot]!;
  }

  /** Can the value be read as such a number? If so it is in `number`, and in `big` beyond the safe integers. */
  isNumber(slot: number, form: number): boolean {
    const at = 3 * slot + form;
    if (this.#states[at] === UNREAD) this.#read(slot, form);
    return this.#states[at] === READ;
  }

  number(slot: number, form: number): number {
    return this.#numbers[3 * slot + form]!;
  }

  big(slot: number): bigint | undefined {
    return this.#bigs[slot];
  }

  #read(slot: number, form: number): void {
    const reader = this.#reader;
    const start = this.#starts[slot]!;
    const end = this.#ends[slot]!;
    this.steps += end - start;
    const isRead =
      form === AS_INT
        ? reader.int(this.bytes, start, end)
        : form === AS_LONG
          ? reader.long(this.bytes, start, end)
          : reader.double(this.bytes, start, end);
    this.#states[3 * slot + form] = isRead ? READ : UNREADABLE;
    this.#numbers[3 * slot + form] = reader.value;
    if (form === AS_LONG) this.#bigs[slot] = reader.big;
  }
}

function nextHash(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}
