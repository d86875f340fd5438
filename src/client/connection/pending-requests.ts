import { assert } from "../../base/assert.ts";
import type { MillraceError } from "../../base/errors.ts";

/** Takes the answer to one request. Exactly one of the two methods is called, once. */
export interface ResponseSink {
  /**
   * The response frame is bytes[start, end). The bytes are overwritten after the call unless `owned`,
   * in which case the sink may keep views of them.
   */
  onResponse(bytes: Buffer, start: number, end: number, owned: boolean): void;
  onFailure(error: MillraceError): void;
}

const CAPACITY_MIN = 64;
const OPAQUE_MASK = 0x7fff_ffff;

/**
 * Requests in flight on one connection, by opaque.
 *
 * A table of 2^n slots, slot = opaque & (2^n - 1). An opaque whose slot is taken (by a long poll, say)
 * is skipped, not chained: so a look-up is one index and one compare, and nothing is allocated per request.
 * At most half the slots are used, hence the skip is short. Deadlines are counted in ticks of the owner.
 */
export class PendingRequests {
  readonly #limit: number;
  #sinks: (ResponseSink | undefined)[] = Array.from({ length: CAPACITY_MIN });
  #opaques: Int32Array = new Int32Array(CAPACITY_MIN);
  #deadlines: Float64Array = new Float64Array(CAPACITY_MIN);
  #mask: number = CAPACITY_MIN - 1;
  #nextOpaque = 0;
  #count = 0;

  /** @param limit most requests in flight */
  constructor(limit: number) {
    assert(limit >= 1, "a limit of at least one request");
    this.#limit = limit;
  }

  get count(): number {
    return this.#count;
  }

  /** @returns the opaque for the request, or -1 when `limit` requests are in flight */
  add(sink: ResponseSink, deadlineTick: number): number {
    if (this.#count >= this.#limit) return -1;
    if (this.#count * 2 > this.#mask) this.#grow();
    let opaque = this.#nextOpaque;
    while (this.#sinks[opaque & this.#mask] !== undefined) opaque = (opaque + 1) & OPAQUE_MASK;
    this.#nextOpaque = (opaque + 1) & OPAQUE_MASK;
    const slot = opaque & this.#mask;
    this.#sinks[slot] = sink;
    this.#opaques[slot] = opaque;
    this.#deadlines[slot] = deadlineTick;
    this.#count++;
    return opaque;
  }

  /** An opaque that no request in flight has, for a request without an answer. */
  spareOpaque(): number {
    const opaque = this.#nextOpaque;
    this.#nextOpaque = (opaque + 1) & OPAQUE_MASK;
    return opaque;
  }

  /** Removes and returns the sink of `opaque`; undefined when nobody waits for it (any more). */
  take(opaque: number): ResponseSink | undefined {
    const slot = opaque & this.#mask;
    const sink = this.#sinks[slot];
    if (sink === undefined || this.#opaques[slot] !== opaque) return undefined;
    this.#sinks[slot] = undefined;
    this.#count--;
    return sink;
  }

  /** Removes and returns the sinks whose deadline is at or before `tick`. */
  takeExpired(tick: number): ResponseSink[] {
    const expired: ResponseSink[] = [];
    if (this.#count === 0) return expired;
    for (let slot = 0; slot <= this.#mask; slot++) {
      if (this.#deadlines[slot]! > tick) continue;
      const sink = this.#sinks[slot];
      if (sink === undefined) continue;
      this.#sinks[slot] = undefined;
      this.#count--;
      expired.push(sink);
    }
    return expired;
  }

  takeAll(): ResponseSink[] {
    return this.takeExpired(Number.POSITIVE_INFINITY);
  }

  #grow(): void {
    const sinks = this.#sinks;
    const opaques = this.#opaques;
    const deadlines = this.#deadlines;
    const capacity = sinks.length * 2;
    this.#mask = capacity - 1;
    this.#sinks = Array.from({ length: capacity });
    this.#opaques = new Int32Array(capacity);
    this.#deadlines = new Float64Array(capacity);
    // Distinct slots stay distinct under a longer mask.
    for (let from = 0; from < sinks.length; from++) {
      const sink = sinks[from];
      if (sink === undefined) continue;
      const to = opaques[from]! & this.#mask;
      this.#sinks[to] = sink;
      this.#opaques[to] = opaques[from]!;
      this.#deadlines[to] = deadlines[from]!;
    }
  }
}
