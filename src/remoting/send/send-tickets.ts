import type { IoConnection } from "../io-connection.ts";

/** Unique keys up to this size are kept in place; longer ones are no official client's. */
const KEY_SIZE_MAX = 128;
const NO_SIZES = new Int32Array(0);
/** Room for the messages of a batch, at least, and kept at most. */
const SIZES_MIN = 32;
const SIZES_KEPT_MAX = 256;

/**
 * Sends on their way through the store: what the answer needs when the ack comes. A ticket is an index into
 * parallel arrays, so that a message costs no object. One instance a thread.
 */
export class SendTickets {
  readonly capacity: number;
  readonly connections: (IoConnection | undefined)[];
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
  /** Messages of a batch; 0: a single message. */
  readonly batchCounts: Int32Array;
  /** Sizes of a batch's records, in order: the first so many. Kept for the ticket's next batch. */
  readonly batchSizes: Int32Array[];
  /** 1: a batch in one record; the answer says so by repeating its key. */
  readonly innerBatches: Uint8Array;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.connections = new Array(capacity).fill(undefined);
    this.opaques = new Int32Array(capacity);
    this.queueIds = new Int32Array(capacity);
    this.oneways = new Uint8Array(capacity);
    this.noWaits = new Uint8Array(capacity);
    this.keys = Buffer.alloc(capacity * KEY_SIZE_MAX);
    this.keysView = new DataView(this.keys.buffer, this.keys.byteOffset, this.keys.length);
    this.keySizes = new Uint8Array(capacity);
    this.batchCounts = new Int32Array(capacity);
    this.batchSizes = Array.from({ length: capacity }, () => NO_SIZES);
    this.innerBatches = new Uint8Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#freeCount = capacity;
  }

  /** Sends under way. */
  get inFlight(): number {
    return this.capacity - this.#freeCount;
  }

  /** @returns a ticket, or -1 when all are out */
  take(): number {
    return this.#freeCount === 0 ? -1 : this.#free[--this.#freeCount]!;
  }

  /** The ticket's key is source[start, end). */
  setKey(ticket: number, source: DataView, start: number, end: number): void {
    const size = Math.min(end - start, KEY_SIZE_MAX);
    const at = ticket * KEY_SIZE_MAX;
    let i = 0;
    for (; i + 4 <= size; i += 4) this.keysView.setInt32(at + i, source.getInt32(start + i));
    for (; i < size; i++) this.keysView.setUint8(at + i, source.getUint8(start + i));
    this.keySizes[ticket] = size;
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
