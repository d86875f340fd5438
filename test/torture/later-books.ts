// What is to come at a later time: when at the earliest, how often at most, and whether it has.
import { must } from "./scenario.ts";

interface Promised {
  /** Not before this, ms; of the earliest of the requests for it. */
  dueMs: number;
  /** Requests for it: each may have been done, answered or not. */
  asked: number;
  isAcked: boolean;
  isRecalled: boolean;
  arrivals: number;
  /** Store time of the first one that arrived, ms. */
  storedMs: number;
}

/**
 * Messages that a broker has been asked to deliver later. At least once: each that was acknowledged must arrive. Never early, by
 * the broker's stamps and by our own clock. More often than it was asked for only where the broker was killed since the first copy.
 */
export class LaterBooks {
  readonly #promised = new Map<string, Promised>();
  readonly #killsMs: number[] = [];
  #open = 0;
  repeated = 0;
  recalled = 0;
  lateMsMax = 0;

  /** Before the request is sent, so that no answer can come first. */
  ask(key: string, dueMs: number): void {
    const known = this.#promised.get(key);
    if (known === undefined) {
      this.#promised.set(key, { dueMs, asked: 1, isAcked: false, isRecalled: false, arrivals: 0, storedMs: 0 });
      return;
    }
    known.asked++;
    known.dueMs = Math.min(known.dueMs, dueMs);
  }

  acknowledged(key: string): void {
    const promised = this.#promised.get(key)!;
    if (promised.isAcked) return;
    promised.isAcked = true;
    if (promised.arrivals === 0) this.#open++;
  }

  /** The broker has said that it will not come. */
  recall(key: string): void {
    const promised = this.#promised.get(key)!;
    must(promised.arrivals === 0, `${key} has come, and was recalled after that`);
    promised.isRecalled = true;
    this.recalled++;
    this.#open--;
  }

  killed(atMs: number): void {
    this.#killsMs.push(atMs);
  }

  arrived(key: string, storedMs: number, seenMs: number): void {
    const promised = this.#promised.get(key);
    must(promised !== undefined, `${key} has come, and nobody asked for it`);
    const { dueMs, asked } = promised;
    must(storedMs >= dueMs && seenMs >= dueMs, `${key} is early: due ${dueMs}, stored ${storedMs}, seen ${seenMs}`);
    must(!promised.isRecalled, `${key} was recalled, and has come`);
    if (++promised.arrivals === 1) {
      promised.storedMs = storedMs;
      this.lateMsMax = Math.max(this.lateMsMax, storedMs - dueMs);
      if (promised.isAcked) this.#open--;
      return;
    }
    // Each kill may bring each of them once more.
    const kills = this.#killsMs.filter((ms) => ms >= promised.storedMs && ms <= storedMs).length;
    const text = `${key} was asked for ${asked} times, and has come ${promised.arrivals} times with ${kills} kills since`;
    must(promised.arrivals <= asked * (1 + kills), text);
    if (promised.arrivals > asked) this.repeated++;
  }

  /** Acknowledged, and not there yet. */
  get open(): number {
    return this.#open;
  }

  get acked(): number {
    let count = 0;
    for (const { isAcked } of this.#promised.values()) if (isAcked) count++;
    return count;
  }

  openKeys(): string[] {
    const open = [...this.#promised].filter(([, { isAcked, isRecalled, arrivals }]) => isAcked && !isRecalled && arrivals === 0);
    return open.map(([key]) => key);
  }
}
