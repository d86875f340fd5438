const SIZE_MIN = 16_384;

/** How much is kept for the next, bytes in all, and of the largest buffer that is. */
export interface KeptLimits {
  total: number;
  each: number;
}

/** Of frames that come in more than one read, shared by the connections of an I/O worker. */
export const FRAME_BUFFERS: KeptLimits = { total: 8_388_608, each: 8_388_608 };
/** Of answers that a socket does not take at once: a consumer that is slower than we are leaves some 100 KiB with every pull. */
export const ANSWER_BUFFERS: KeptLimits = { total: 16_777_216, each: 524_288 };

/**
 * Memory outside of V8's heap that is needed again and again: as garbage it grows to gigabytes before it is collected, or makes V8
 * collect its whole heap for it. Sizes are powers of two; what is larger than `each` is rare, of the size asked for, and not kept.
 */
export class KeptBuffers {
  readonly #limits: KeptLimits;
  /** By the binary logarithm of their size. */
  readonly #free: Buffer[][] = [];
  #freeSize = 0;

  constructor(limits: KeptLimits) {
    this.#limits = limits;
  }

  /** @returns at least `size` bytes; what is in them is not told */
  take(size: number): Buffer {
    if (size > this.#limits.each) return Buffer.allocUnsafeSlow(size);
    const power = 32 - Math.clz32(Math.max(size, SIZE_MIN) - 1);
    const buffer = this.#free[power]?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(2 ** power);
    this.#freeSize -= buffer.length;
    return buffer;
  }

  /** Once nobody reads it any more. */
  give(buffer: Buffer): void {
    const { total, each } = this.#limits;
    if (buffer.length > each || this.#freeSize + buffer.length > total) return;
    this.#freeSize += buffer.length;
    (this.#free[31 - Math.clz32(buffer.length)] ??= []).push(buffer);
  }

  get freeSize(): number {
    return this.#freeSize;
  }

  clear(): void {
    this.#free.length = 0;
    this.#freeSize = 0;
  }
}
