import type { PullRequest } from "./pull-path.ts";

/** Grain of the deadlines, ms. */
const TICK_MS = 100;

/** The first is held longest; each knows the next and the one before. */
interface SlotPulls {
  first: PullRequest | undefined;
  last: PullRequest | undefined;
}

/**
 * Held pulls, by slot and by deadline. A request stands in both, and leaves both when it is answered: 20,000 a second, left
 * behind until their time is over, are so many objects that each collection of garbage takes milliseconds. A slot's entry
 * stays for the next one: a Map in which keys come and go is made anew all the time, and each of its tables that has grown
 * old keeps all that followed it.
 */
export class HeldPulls {
  readonly #bySlot = new Map<number, SlotPulls>();
  readonly #byTick = new Map<number, PullRequest[]>();
  #doneTick = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Of those that have a deadline. */
  get timedCount(): number {
    let count = 0;
    for (const timed of this.#byTick.values()) count += timed.length;
    return count;
  }

  /** Adds a request, also again after `takeSlot` gave it out. */
  add(request: PullRequest): void {
    const held = this.#bySlot.get(request.slot);
    if (held === undefined) this.#bySlot.set(request.slot, { first: request, last: request });
    else {
      if (held.last === undefined) held.first = request;
      else {
        held.last.nextHeld = request;
        request.previousHeld = held.last;
      }
      held.last = request;
    }
    this.#size++;
    if (request.tick !== 0) return;
    const tick = Math.max(this.#doneTick + 1, Math.ceil(request.deadlineMs / TICK_MS));
    let timed = this.#byTick.get(tick);
    if (timed === undefined) this.#byTick.set(tick, (timed = []));
    request.tick = tick;
    request.tickAt = timed.push(request) - 1;
  }

  /** A request that `takeSlot` gave out is answered. */
  settle(request: PullRequest): void {
    const timed = this.#byTick.get(request.tick);
    request.tick = 0;
    if (timed?.[request.tickAt] !== request) return;
    const last = timed.pop()!;
    if (last === request) return;
    timed[request.tickAt] = last;
    last.tickAt = request.tickAt;
  }

  /** @returns the first of those held there; each one's `nextHeld` is the next, and to be undefined before it is added again */
  takeSlot(slot: number): PullRequest | undefined {
    const held = this.#bySlot.get(slot);
    const first = held?.first;
    if (first === undefined) return undefined;
    held!.first = undefined;
    held!.last = undefined;
    for (let at: PullRequest | undefined = first; at !== undefined; at = at.nextHeld) {
      at.previousHeld = undefined;
      this.#size--;
    }
    return first;
  }

  slotsHeld(): number[] {
    return [...this.#bySlot.keys()].filter((slot) => this.#bySlot.get(slot)!.first !== undefined);
  }

  /** Calls `expire` for each request due at `nowMs` and forgets it. */
  takeExpired(nowMs: number, expire: (request: PullRequest) => void): void {
    const tick = Math.floor(nowMs / TICK_MS);
    if (tick - this.#doneTick > this.#byTick.size) {
      // The first time, or a clock that has jumped: look at what is there instead of at every tick on the way.
      for (const due of [...this.#byTick.keys()].filter((key) => key <= tick).sort((a, b) => a - b))
        this.#expireTick(due, expire);
    } else {
      for (let due = this.#doneTick + 1; due <= tick; due++) this.#expireTick(due, expire);
    }
    this.#doneTick = Math.max(this.#doneTick, tick);
  }

  #expireTick(tick: number, expire: (request: PullRequest) => void): void {
    const timed = this.#byTick.get(tick);
    if (timed === undefined) return;
    this.#byTick.delete(tick);
    for (const request of timed) {
      request.tick = 0;
      this.#drop(request);
      expire(request);
    }
  }

  #drop(request: PullRequest): void {
    const held = this.#bySlot.get(request.slot);
    const { previousHeld, nextHeld } = request;
    if (held === undefined || (previousHeld === undefined && held.first !== request)) return; // Given out, and not back.
    if (previousHeld === undefined) held.first = nextHeld;
    else previousHeld.nextHeld = nextHeld;
    if (nextHeld === undefined) held.last = previousHeld;
    else nextHeld.previousHeld = previousHeld;
    request.previousHeld = undefined;
    request.nextHeld = undefined;
    this.#size--;
  }
}
