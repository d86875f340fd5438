import type { IoConnection } from "../io-connection.ts";

/** Unique keys up to this size are kept in place; longer ones are no official client's. */
export const KEY_SIZE_MAX = 128;
const NO_SIZES = new Int32Array(0);
/** Room for the messages of a batch, at least, and kept at most. */
const SIZES_MIN = 32;
const SIZES_KEPT_MAX = 256;

/** Where the arrays of so many tickets stand, bytes from their start. */
export interface TicketPlaces {
  free: number;
  opaques: number;
  queueIds: number;
  owners: number;
  batchCounts: number;
  oneways: number;
  noWaits: number;
  innerBatches: number;
  keySizes: number;
  plainKeys: number;
  keys: number;
  size: number;
}

/** @param capacity a multiple of 16 */
export function ticketPlaces(capacity: number): TicketPlaces {
  const words = 4 * capacity;
  return {
    free: 0,
    opaques: words,
    queueIds: 2 * words,
    owners: 3 * words,
    batchCounts: 4 * words,
    oneways: 5 * words,
    noWaits: 5 * words + capacity,
    innerBatches: 5 * words + 2 * capacity,
    keySizes: 5 * words + 3 * capacity,
    plainKeys: 6 * words,
    keys: 6 * words + capacity,
    size: 6 * words + capacity + KEY_SIZE_MAX * capacity,
  };
}

/**
 * Sends on their way through the store: what the answer needs when the ack comes. A ticket is an index into
 * parallel arrays, so that a message costs no object. One instance a thread.
 */
export class SendTickets {
  readonly capacity: number;
  readonly connections: (IoConnection | undefined)[];
  /** Lower 32 bits of the connections' ids. */
  readonly owners: Int32Array;
  readonly opaques: Int32Array;
  readonly queueIds: Int32Array;
  /** 1: one-way, nobody is answered. */
  readonly oneways: Uint8Array;
  /** 1: the sender does not wait for the disk (WAIT=false). */
  readonly noWaits: Uint8Array;
  /** Unique keys, KEY_SIZE_MAX bytes a ticket. */
  readonly keys: Buffer;
  readonly keysView: DataView;
  readonly keySizes: Uint8Array;
  /** 1: nothing in the key needs an escape in JSON; 0: it is not known. */
  readonly plainKeys: Uint8Array;
  /** Messages of a batch; 0: a single message. */
  readonly batchCounts: Int32Array;
  /** Sizes of a batch's records, in order: the first so many. Kept for the ticket's next batch. */
  readonly batchSizes: Int32Array[];
  /** 1: a batch in one record; the answer says so by repeating its key. */
  readonly innerBatches: Uint8Array;
  readonly #free: Int32Array;
  #freeCount: number;

  /**
   * @param capacity  a multiple of 16
   * @param memory    has room for them from `at` on, which is a multiple of 4
   */
  constructor(capacity: number, memory?: { buffer: ArrayBuffer | SharedArrayBuffer; at: number }) {
    const places = ticketPlaces(capacity);
    const { buffer, at } = memory ?? { buffer: new ArrayBuffer(places.size), at: 0 };
    const bytes = (place: number): Uint8Array => new Uint8Array(buffer, at + place, capacity).fill(0);
    const words = (place: number): Int32Array => new Int32Array(buffer, at + place, capacity).fill(0);
    this.capacity = capacity;
    this.connections = new Array(capacity).fill(undefined);
    this.owners = words(places.owners);
    this.opaques = words(places.opaques);
    this.queueIds = words(places.queueIds);
    this.oneways = bytes(places.oneways);
    this.noWaits = bytes(places.noWaits);
    this.keys = Buffer.from(buffer, at + places.keys, capacity * KEY_SIZE_MAX);
    this.keysView = new DataView(buffer, at + places.keys, capacity * KEY_SIZE_MAX);
    this.keySizes = bytes(places.keySizes);
    this.plainKeys = bytes(places.plainKeys);
    this.batchCounts = words(places.batchCounts);
    this.batchSizes = Array.from({ length: capacity }, () => NO_SIZES);
    this.innerBatches = bytes(places.innerBatches);
    this.#free = words(places.free);
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
    this.#freeCount = capacity;
  }

  /** Sends under way. */
  get inFlight(): number {
    return this.capacity - this.#freeCount;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** @returns a ticket, or -1 when all are out */
  take(): number {
    return this.#freeCount === 0 ? -1 : this.#free[--this.#freeCount]!;
  }

  /** So many tickets that `take` would have given were filled in elsewhere, for one connection. */
  taken(count: number, connection: IoConnection): void {
    const { connections } = this;
    const free = this.#free;
    this.#freeCount -= count;
    for (let i = this.#freeCount + count - 1; i >= this.#freeCount; i--) connections[free[i]!] = connection;
  }

  /** So many tickets of single messages were put back elsewhere. */
  released(count: number): void {
    const { connections } = this;
    const free = this.#free;
    for (let i = this.#freeCount + count - 1; i >= this.#freeCount; i--) connections[free[i]!] = undefined;
    this.#freeCount += count;
  }

  /** The ticket's key is source[start, end). @param isPlain nothing in it needs an escape in JSON */
  setKey(ticket: number, source: DataView, start: number, end: number, isPlain = false): void {
    const size = Math.min(end - start, KEY_SIZE_MAX);
    const at = ticket * KEY_SIZE_MAX;
    let i = 0;
    for (; i + 4 <= size; i += 4) this.keysView.setInt32(at + i, source.getInt32(start + i));
    for (; i < size; i++) this.keysView.setUint8(at + i, source.getUint8(start + i));
    this.keySizes[ticket] = size;
    this.plainKeys[ticket] = isPlain ? 1 : 0;
  }

  keyStart(ticket: number): number {
    return ticket * KEY_SIZE_MAX;
  }

  /** The ticket is a batch's, whose records have the first `count` of these sizes. */
  setBatch(ticket: number, sizes: Int32Array, count: number): void {
    this.batchCounts[ticket] = count;
    if (this.batchSizes[ticket]!.length < count) this.batchSizes[ticket] = new Int32Array(Math.max(count, SIZES_MIN));
    const kept = this.batchSizes[ticket]!;
    for (let i = 0; i < count; i++) kept[i] = sizes[i]!;
  }

  release(ticket: number): void {
    this.connections[ticket] = undefined;
    this.batchCounts[ticket] = 0;
    if (this.batchSizes[ticket]!.length > SIZES_KEPT_MAX) this.batchSizes[ticket] = NO_SIZES;
    this.#free[this.#freeCount++] = ticket;
  }
}
