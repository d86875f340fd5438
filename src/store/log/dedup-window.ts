/**
 * The unique keys of the last messages of topics that ask for de-duplication, with the place where each is stored.
 * One table for all such topics of a store, in shared memory: the control thread fills it from the log while nobody
 * appends yet, afterwards the log writer alone reads and writes it.
 *
 *   counters  float64 x 2          entries ever added, entries ever dropped
 *   buckets   int32 x 2 capacity   1 + place of the newest entry with that hash; 0 = none
 *   entries   parallel arrays, a ring in the order of appending
 *
 * Keys stand here by a 64-bit hash of topic and key only: who finds one compares it with the record's own key.
 * Memory is taken lazily by the operating system: unused entries cost address space only.
 */
export interface DedupWindowMemory {
  readonly buffer: SharedArrayBuffer;
  /** Entries; a power of two. */
  readonly capacity: number;
}

/** Bytes of one entry: hash 8, physicalOffset 8, queueOffset 8, storeTimestamp 8, queueId 4, next 4, two buckets 8. */
const ENTRY_SIZE = 48;
const COUNTERS_SIZE = 16;
const ADDED = 0;
const DROPPED = 1;

/** @param entriesMin how many messages it remembers at least; 0: no de-duplication, no memory */
export function createDedupWindowMemory(entriesMin: number): DedupWindowMemory | undefined {
  if (entriesMin === 0) return undefined;
  let capacity = 1024;
  while (capacity < entriesMin) capacity *= 2;
  return { buffer: new SharedArrayBuffer(COUNTERS_SIZE + capacity * ENTRY_SIZE), capacity };
}

/** FNV-1a over the key, from two starting points: 64 bits in two halves. Results in `low` and `high`. */
export class DedupHash {
  low = 0;
  high = 0;

  /** @param group distinguishes topics: the slot of the topic's queue 0 */
  of(group: number, bytes: Uint8Array, start: number, end: number): void {
    let low = Math.imul(0x811c9dc5 ^ group, 0x01000193);
    let high = Math.imul(0x2f8a3d61 ^ group, 0x85ebca6b);
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!;
      low = Math.imul(low ^ byte, 0x01000193);
      high = Math.imul(high ^ byte, 0x85ebca6b);
      high ^= high >>> 13;
    }
    this.low = low ^ (low >>> 15);
    this.high = high;
  }
}

/** One thread at a time. */
export class DedupWindow {
  readonly #capacity: number;
  readonly #mask: number;
  readonly #counters: Float64Array;
  readonly #physicalOffsets: Float64Array;
  readonly #queueOffsets: Float64Array;
  readonly #timestamps: Float64Array;
  readonly #lows: Int32Array;
  readonly #highs: Int32Array;
  readonly #queueIds: Int32Array;
  readonly #next: Int32Array;
  readonly #buckets: Int32Array;
  #found = -1;

  constructor({ buffer, capacity }: DedupWindowMemory) {
    this.#capacity = capacity;
    this.#mask = 2 * capacity - 1;
    let at = 0;
    const cells = (count: number): Float64Array => {
      const array = new Float64Array(buffer, at, count);
      at += array.byteLength;
      return array;
    };
    const words = (count: number): Int32Array => {
      const array = new Int32Array(buffer, at, count);
      at += array.byteLength;
      return array;
    };
    this.#counters = cells(COUNTERS_SIZE / 8);
    this.#physicalOffsets = cells(capacity);
    this.#queueOffsets = cells(capacity);
    this.#timestamps = cells(capacity);
    this.#lows = words(capacity);
    this.#highs = words(capacity);
    this.#queueIds = words(capacity);
    this.#next = words(capacity);
    this.#buckets = words(2 * capacity);
  }

  get size(): number {
    return this.#counters[ADDED]! - this.#counters[DROPPED]!;
  }

  /**
   * Goes to the newest entry with the hash that was stored at `sinceMs` or later; after a first find, `findNext` goes
   * to the next older one. What it found stands in the getters below.
   */
  find(low: number, high: number, sinceMs: number): boolean {
    return this.#seek(this.#buckets[low & this.#mask]! - 1, low, high, sinceMs);
  }

  findNext(low: number, high: number, sinceMs: number): boolean {
    return this.#seek(this.#next[this.#found]! - 1, low, high, sinceMs);
  }

  #seek(from: number, low: number, high: number, sinceMs: number): boolean {
    for (let place = from; place >= 0; place = this.#next[place]! - 1) {
      if (this.#lows[place] !== low || this.#highs[place] !== high) continue;
      if (this.#timestamps[place]! < sinceMs) return false; // Older ones follow only.
      this.#found = place;
      return true;
    }
    return false;
  }

  get physicalOffset(): number {
    return this.#physicalOffsets[this.#found]!;
  }

  get queueOffset(): number {
    return this.#queueOffsets[this.#found]!;
  }

  get queueId(): number {
    return this.#queueIds[this.#found]!;
  }

  /** Remembers a message; when full, in place of the oldest. */
  add(low: number, high: number, physicalOffset: number, queueId: number, queueOffset: number, storeTimestamp: number): void {
    if (this.size === this.#capacity) this.#dropOldest();
    const place = this.#counters[ADDED]! % this.#capacity;
    const bucket = low & this.#mask;
    this.#lows[place] = low;
    this.#highs[place] = high;
    this.#physicalOffsets[place] = physicalOffset;
    this.#queueIds[place] = queueId;
    this.#queueOffsets[place] = queueOffset;
    this.#timestamps[place] = storeTimestamp;
    this.#next[place] = this.#buckets[bucket]!;
    this.#buckets[bucket] = place + 1;
    this.#counters[ADDED]!++;
  }

  /** Forgets the message that was added last: it was not stored after all. */
  takeBack(): void {
    const place = (this.#counters[ADDED]! - 1) % this.#capacity;
    this.#buckets[this.#lows[place]! & this.#mask] = this.#next[place]!;
    this.#counters[ADDED]!--;
  }

  /** It is the last of its chain. */
  #dropOldest(): void {
    const place = this.#counters[DROPPED]! % this.#capacity;
    const bucket = this.#lows[place]! & this.#mask;
    let at = this.#buckets[bucket]! - 1;
    if (at === place) this.#buckets[bucket] = 0;
    else {
      while (this.#next[at] !== place + 1) at = this.#next[at]! - 1;
      this.#next[at] = 0;
    }
    this.#counters[DROPPED]!++;
  }
}
