/** A stream of numbers that its seed decides: the whole of a scenario's chance comes from one of these. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** @param seed any whole number */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 4_294_967_296) | 0;
    this.#c = 0x9e37_79b9 | 0;
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** sfc32. */
  u32(): number {
    const result = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + result) | 0;
    return result >>> 0;
  }

  /** 0 <= number < limit, whole. */
  below(limit: number): number {
    return Math.floor((this.u32() / 4_294_967_296) * limit);
  }

  /** first <= number <= last, whole. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  /** True once in `oneIn` times. */
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  /** A stream of its own, which what else is drawn from this one does not move. */
  fork(): Random {
    return new Random(this.u32());
  }
}
