import { specialMarks } from "../text/json-bytes.ts";

/** Stands in for bytes that are not to be looked at. */
const PLAIN_WORD = 0x6161_6161;

/**
 * A text some of whose bytes are open: others of the same size match it if the fixed bytes are the same, and the open
 * ones are printable ASCII other than quotes and backslashes. Some may be skipped, which are not looked at.
 */
export class TextPattern {
  readonly size: number;
  readonly #words: Int32Array;
  /** Bits of the fixed bytes. */
  readonly #masks: Int32Array;
  /** Places and masks of the words that have open bytes. */
  readonly #openAt: Int32Array;
  readonly #openMasks: Int32Array;

  /**
   * @param open      as many bytes as the text at `at` has, four at least: 0xff where it is open, else 0
   * @param skipFrom  where the bytes are that are skipped, none of which is open
   */
  constructor(view: DataView, at: number, open: Uint8Array, skipFrom = 0, skipEnd = 0) {
    this.size = open.length;
    const places: number[] = [];
    for (let place = 0; place + 4 < open.length; place += 4) places.push(place);
    places.push(open.length - 4); // The last word overlaps the one before.
    const free = open.slice().fill(0xff, skipFrom, skipEnd);
    const maskOf = (place: number, marks = open): number =>
      marks[place]! | (marks[place + 1]! << 8) | (marks[place + 2]! << 16) | (marks[place + 3]! << 24);
    this.#words = Int32Array.from(places, (place) => view.getInt32(at + place, true));
    this.#masks = Int32Array.from(places, (place) => ~maskOf(place, free));
    const openPlaces = places.filter((place) => maskOf(place) !== 0);
    this.#openAt = Int32Array.from(openPlaces);
    this.#openMasks = Int32Array.from(openPlaces, (place) => maskOf(place));
  }

  /** Whether the text of the same size at `at` matches. */
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
    return marks === 0;
  }
}
