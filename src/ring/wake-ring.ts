/**
 * Slot numbers from the queue indexer to one I/O worker: "queue n has grown and you hold a long poll there".
 * Single producer, single consumer. When it is full the producer sets OVERFLOW instead, and the worker looks
 * at everything that it holds. Same memory order as the lanes: plain stores, published by the tail.
 */
const TAIL = 0; // Written by the producer only.
const HEAD = 32; // Written by the consumer only.
const OVERFLOW = 64; // Set by the producer, cleared by the consumer.
const SLOTS = 96;
const CAPACITY = 4096;

export function createWakeRingMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer((SLOTS + CAPACITY) * 4);
}

export class WakeRing {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** Producer only; ring the worker's doorbell after the last push. */
  push(slot: number): void {
    const words = this.#words;
    const tail = words[TAIL]!;
    if (((tail - Atomics.load(words, HEAD)) | 0) >= CAPACITY) {
      Atomics.store(words, OVERFLOW, 1);
      return;
    }
    words[SLOTS + (tail & (CAPACITY - 1))] = slot;
    Atomics.store(words, TAIL, (tail + 1) | 0);
  }

  /** Producer only: the worker looks at everything that it holds. */
  pushAll(): void {
    Atomics.store(this.#words, OVERFLOW, 1);
  }

  /** Consumer only. Calls `visit` for each slot. @returns true if some were dropped: look at all */
  drain(visit: (slot: number) => void): boolean {
    const words = this.#words;
    const hasOverflowed = Atomics.load(words, OVERFLOW) !== 0 && Atomics.exchange(words, OVERFLOW, 0) !== 0;
    const tail = Atomics.load(words, TAIL);
    let head = words[HEAD]!;
    for (; head !== tail; head = (head + 1) | 0) visit(words[SLOTS + (head & (CAPACITY - 1))]!);
    Atomics.store(words, HEAD, head);
    return hasOverflowed;
  }
}
