/** What is kept for the next, bytes. */
const FREE_SIZE_MAX = 8_388_608;
const SIZE_MIN = 16_384;

/**
 * Memory for frames that come in more than one read, shared by the connections of an I/O worker: what one gives back the next
 * takes. New memory for each large frame is garbage outside of V8's heap, for which it collects all of that again and again.
 */
export class FrameBuffers {
  /** By the binary logarithm of their size. */
  readonly #free: Buffer[][] = [];
  #freeSize = 0;

  /** @returns at least `size` bytes; what is in them is not told */
  take(size: number): Buffer {
    const power = 32 - Math.clz32(Math.max(size, SIZE_MIN) - 1);
    const buffer = this.#free[power]?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(2 ** power);
    this.#freeSize -= buffer.length;
    return buffer;
  }

  /** @param buffer one that was taken, which nobody uses any more */
  give(buffer: Buffer): void {
    if (this.#freeSize + buffer.length > FREE_SIZE_MAX) return;
    this.#freeSize += buffer.length;
    (this.#free[31 - Math.clz32(buffer.length)] ??= []).push(buffer);
  }

  /** Of what is free. */
  get freeSize(): number {
    return this.#freeSize;
  }

  /** Leaves all that is free to the collector. */
  clear(): void {
    this.#free.length = 0;
    this.#freeSize = 0;
  }
}
