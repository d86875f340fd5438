/** Sizes are powers of two from the smallest to the largest; what is larger is rare and not kept. */
const SIZE_MIN = 16_384;
const CLASSES = 6;
/** Bytes that are kept for the next answers. */
const KEPT_SIZE_MAX = 16_777_216;

/**
 * Memory of answers that a socket does not take at once. A consumer that is slower than we are leaves a buffer of some
 * 100 KiB behind with every pull; as garbage these grow to gigabytes before they are collected, since hardly anything
 * else on the thread makes the collector run. One instance an I/O worker.
 */
export class AnswerBuffers {
  readonly #free: Buffer[][] = Array.from({ length: CLASSES }, () => []);
  #keptSize = 0;

  /** At least `size` bytes of any content. */
  take(size: number): Buffer {
    const kept = classOf(size);
    if (kept === CLASSES) return Buffer.allocUnsafeSlow(size);
    const buffer = this.#free[kept]!.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(SIZE_MIN << kept);
    this.#keptSize -= buffer.length;
    return buffer;
  }

  /** Once nobody reads it any more. */
  give(buffer: Buffer): void {
    const kept = classOf(buffer.length);
    if (kept === CLASSES || this.#keptSize + buffer.length > KEPT_SIZE_MAX) return;
    this.#keptSize += buffer.length;
    this.#free[kept]!.push(buffer);
  }
}

function classOf(size: number): number {
  let kept = 0;
  while (kept < CLASSES && size > SIZE_MIN << kept) kept++;
  return kept;
}
