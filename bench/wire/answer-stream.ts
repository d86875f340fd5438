/** Bytes that one read may bring. */
export const INPUT_SIZE = 262_144;
const HELD_SIZE_MIN = 65_536;

/**
 * Cuts what a connection receives into answers. What is whole is read where it arrived; only what is cut off is copied, once, so
 * that large answers cost the generator no more than their bytes.
 */
export class AnswerStream {
  #held: Buffer = Buffer.alloc(0);
  #size = 0;

  /**
   * @param input   what has just come; it is used no longer after the call
   * @param consume takes whole answers from [0, size) and returns how many bytes they were
   */
  take(input: Buffer, consume: (bytes: Buffer, size: number) => number): void {
    if (this.#size === 0) {
      const taken = consume(input, input.length);
      this.#hold(input, taken);
      return;
    }
    this.#hold(input, 0);
    const taken = consume(this.#held, this.#size);
    if (taken === 0) return;
    this.#held.copyWithin(0, taken, this.#size);
    this.#size -= taken;
  }

  #hold(input: Buffer, from: number): void {
    const size = this.#size + input.length - from;
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(HELD_SIZE_MIN, 2 * size));
      this.#held.copy(larger, 0, 0, this.#size);
      this.#held = larger;
    }
    input.copy(this.#held, this.#size, from);
    this.#size = size;
  }
}
