import { assert } from "../../base/assert.ts";

/** A short constant text, written by words: neither a call into native code nor a byte at a time. */
export class Snippet {
  readonly size: number;
  readonly #words: Int32Array;

  /** @param text at least four bytes of UTF-8 */
  constructor(text: string) {
    const bytes = Buffer.from(text);
    assert(bytes.length >= 4, "a snippet has a word at least");
    this.size = bytes.length;
    const count = Math.ceil(bytes.length / 4);
    // The last word overlaps the one before.
    this.#words = Int32Array.from({ length: count }, (_, i) => bytes.readInt32LE(Math.min(4 * i, bytes.length - 4)));
  }

  /** @returns the end of what was written */
  write(view: DataView, at: number): number {
    const words = this.#words;
    const last = words.length - 1;
    for (let i = 0; i < last; i++) view.setInt32(at + 4 * i, words[i]!, true);
    const end = at + this.size;
    view.setInt32(end - 4, words[last]!, true);
    return end;
  }
}
