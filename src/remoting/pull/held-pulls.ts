import type { PullRequest } from "./pull-path.ts";

/** Grain of the deadlines, ms. */
const TICK_MS = 100;

/** Held pulls, by slot and by deadline. A request stands in both; `isDone` marks it gone in the other one. */
export class HeldPulls {
  readonly #bySlot = new Map<number, PullRequest[]>();
  readonly #byTick = new Map<number, PullRequest[]>();
  #doneTick = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a request, also again after `takeSlot` gave it out. */
  add(request: PullRequest): void {
    const held = this.#bySlot.get(request.slot);
    if (held === undefined) this.#bySlot.set(request.slot, [request]);
    else held.push(request);
    this.#size++;
    const tick = Math.max(this.#doneTick + 1, Math.ceil(request.deadlineMs / TICK_MS));
    if (request.isTimed) return;
    request.isTimed = true;
    const timed = this.#byTick.get(tick);
    if (timed === undefined) this.#byTick.set(tick, [request]);
    else timed.push(request);
  }

  takeSlot(slot: number): PullRequest[] | undefined {
    const held = this.#bySlot.get(slot);
    if (held === undefined) return undefined;
    this.#bySlot.delete(slot);
    this.#size -= held.length;
    return held;
  }

  slotsHeld(): number[] {
    return [...this.#bySlot.keys()];
  }

  /** Calls `expire` for each request due at `nowMs` and forgets it. */
  takeExpired(nowMs: number, expire: (request: PullRequest) => void): void {
    const tick = Math.floor(nowMs / TICK_MS);
    if (this.#doneTick === 0) this.#doneTick = tick - 1;
    if (tick - this.#doneTick > this.#byTick.size) {
      // A clock that has jumped: look at what is there instead of at every tick on the way.
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
      if (request.isDone) continue;
      request.isDone = true;
      const held = this.#bySlot.get(request.slot);
      const at = held?.indexOf(request) ?? -1;
      if (at >= 0) {
        held!.splice(at, 1);
        this.#size--;
        if (held!.length === 0) this.#bySlot.delete(request.slot);
      }
      expire(request);
    }
  }
}
