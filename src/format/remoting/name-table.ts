import { assert } from "../../base/assert.ts";

/** Table sizes tried, in slots; at 64 or more slots a few dozen names find a free arrangement at once. */
const TABLE_BITS_MIN = 6;
const TABLE_BITS_MAX = 12;
const SEEDS_MAX = 4096;
export const NAME_UNKNOWN = -1;
const JSON_NAME_END: Buffer = Buffer.from('":');

/**
 * Finds which of a fixed set of ASCII names stands in a range of bytes, without making a string.
 * A perfect hash of (size, first byte, last byte) gives the only candidate, which is then compared.
 */
export class NameTable {
  /** The names one behind the other, each with `":` at its end as JSON goes on. */
  readonly #names: DataView;
  readonly #nameStart: Int32Array;
  readonly #candidates: Int8Array;
  readonly #shift: number;
  readonly #seed: number;

  /** `names[i]` gets the number `i`; at most 127 names of at least one byte. */
  constructor(names: readonly string[]) {
    assert(names.length <= 127, "name numbers fit into a signed byte");
    const encoded = names.map((name) => Buffer.from(name, "latin1"));
    assert(
      encoded.every((name) => name.length > 0 && name.every((byte) => byte < 0x80)),
      "names are ASCII and not empty",
    );
    this.#names = new DataView(Uint8Array.from(Buffer.concat(encoded.flatMap((name) => [name, JSON_NAME_END]))).buffer);
    this.#nameStart = new Int32Array(names.length + 1);
    for (const [index, name] of encoded.entries())
      this.#nameStart[index + 1] = this.#nameStart[index]! + name.length + JSON_NAME_END.length;
    for (let bits = TABLE_BITS_MIN; bits <= TABLE_BITS_MAX; bits++) {
      for (let seed = 1; seed < SEEDS_MAX; seed++) {
        const candidates = arrange(encoded, bits, seed);
        if (candidates === undefined) continue;
        this.#candidates = candidates;
        this.#shift = 32 - bits;
        this.#seed = seed;
        return;
      }
    }
    throw new Error("assertion failed: names differ in size, first or last byte");
  }

  /** Number of the name in [start, end) of `view`, or NAME_UNKNOWN. */
  find(view: DataView, start: number, end: number): number {
    const size = end - start;
    if (size <= 0) return NAME_UNKNOWN;
    const candidate = this.#candidates[slotOf(size, view.getUint8(start), view.getUint8(end - 1), this.#seed, this.#shift)]!;
    if (candidate < 0) return NAME_UNKNOWN;
    const names = this.#names;
    const nameStart = this.#nameStart[candidate]!;
    if (this.#nameStart[candidate + 1]! - nameStart - JSON_NAME_END.length !== size) return NAME_UNKNOWN;
    let i = 0;
    for (; i <= size - 4; i += 4) {
      if (names.getInt32(nameStart + i) !== view.getInt32(start + i)) return NAME_UNKNOWN;
    }
    for (; i < size; i++) {
      if (names.getUint8(nameStart + i) !== view.getUint8(start + i)) return NAME_UNKNOWN;
    }
    return candidate;
  }

  /**
   * End of `name":` if just that stands at `start`, else 0. For who knows which name is likely next:
   * a third of the cost of finding the name's end, the name and the colon.
   */
  endOfJsonName(view: DataView, start: number, end: number, name: number): number {
    const names = this.#names;
    const nameStart = this.#nameStart[name]!;
    const size = this.#nameStart[name + 1]! - nameStart;
    if (size < 4 || size > end - start) return 0;
    const lastWord = size - 4;
    // The last word overlaps the one before it, so that there are no single bytes to compare.
    if (names.getInt32(nameStart + lastWord) !== view.getInt32(start + lastWord)) return 0;
    for (let i = 0; i < lastWord; i += 4) {
      if (names.getInt32(nameStart + i) !== view.getInt32(start + i)) return 0;
    }
    return start + size;
  }
}

function slotOf(size: number, first: number, last: number, seed: number, shift: number): number {
  return Math.imul(size | (first << 8) | (last << 16), (seed << 1) + 0x1e37_79b1) >>> shift;
}

function arrange(names: readonly Buffer[], bits: number, seed: number): Int8Array | undefined {
  const candidates = new Int8Array(1 << bits).fill(NAME_UNKNOWN);
  for (const [index, name] of names.entries()) {
    const slot = slotOf(name.length, name[0]!, name[name.length - 1]!, seed, 32 - bits);
    if (candidates[slot] !== NAME_UNKNOWN) return undefined;
    candidates[slot] = index;
  }
  return candidates;
}
