import { RECORD_SIZE_MIN } from "../../format/record/message.ts";

/**
 * Tells, while queues are made anew from the log, whether a record stands in its queue's order. No checksum covers its
 * topic, queueId and queueOffset: a damaged one would take another message's place, or leave a hole of any size. Numbers
 * go up by one; more only where records were lost; and they begin again at 0 where a topic was removed and made anew.
 */
export class RebuildOrder {
  readonly #isWhole: boolean;
  /** Records that are lost, at most. */
  #lost = 0;
  /** By slot: the number after the last one that was taken, and the last that was not. */
  readonly #next = new Map<number, number>();
  readonly #suspects = new Map<number, number>();

  /** @param isWhole no record is missing before the first that is shown */
  constructor(isWhole: boolean) {
    this.#isWhole = isWhole;
  }

  /** A stretch of so many bytes is passed over. */
  addGap(size: number): void {
    this.#lost += Math.ceil(size / RECORD_SIZE_MIN);
  }

  /** A record is passed over. */
  addLost(): void {
    this.#lost++;
  }

  /** @param end of the queue so far, 0 without entries */
  takes(slot: number, queueOffset: number, end: number): boolean {
    if (this.#isInOrder(slot, queueOffset, end)) {
      this.#next.set(slot, queueOffset + 1);
      this.#suspects.delete(slot);
      return true;
    }
    this.#suspects.set(slot, queueOffset);
    this.#lost++;
    return false;
  }

  #isInOrder(slot: number, queueOffset: number, end: number): boolean {
    if (!Number.isSafeInteger(queueOffset) || queueOffset < 0) return false;
    // Two in a row that agree with each other: it was the queue that jumped.
    if (this.#suspects.get(slot) === queueOffset - 1) return true;
    const next = this.#next.get(slot);
    if (next === undefined) return queueOffset <= end + this.#lost || (end === 0 && !this.#isWhole);
    return queueOffset === 0 || (queueOffset >= next && queueOffset <= Math.max(next, end) + this.#lost);
  }
}
