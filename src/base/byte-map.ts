/**
 * A map keyed by byte strings, looked up by a range of a Buffer without making a string.
 * Open addressing with linear probing; grows at half load.
 */
export class ByteMap<V> {
  #keys: (Buffer | undefined)[] = new Array(64).fill(undefined);
  #values: (V | undefined)[] = new Array(64).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(bytes: Buffer, start: number, end: number): V | undefined {
    const mask = this.#keys.length - 1;
    for (let at = hash(bytes, start, end) & mask; ; at = (at + 1) & mask) {
      const key = this.#keys[at];
      if (key === undefined) return undefined;
      if (equals(key, bytes, start, end)) return this.#values[at];
    }
  }

  set(key: Buffer, value: V): void {
    if (2 * this.#size >= this.#keys.length) this.#grow();
    const mask = this.#keys.length - 1;
    for (let at = hash(key, 0, key.length) & mask; ; at = (at + 1) & mask) {
      const found = this.#keys[at];
      if (found !== undefined && !equals(found, key, 0, key.length)) continue;
      if (found === undefined) this.#size++;
      this.#keys[at] = key;
      this.#values[at] = value;
      return;
    }
  }

  delete(key: Buffer): void {
    const entries = this.#entries().filter(([other]) => !other.equals(key));
    if (entries.length === this.#size) return;
    this.#refill(this.#keys.length, entries);
  }

  #entries(): [Buffer, V][] {
    const entries: [Buffer, V][] = [];
    this.#keys.forEach((key, at) => {
      if (key !== undefined) entries.push([key, this.#values[at] as V]);
    });
    return entries;
  }

  #grow(): void {
    this.#refill(2 * this.#keys.length, this.#entries());
  }

  #refill(capacity: number, entries: [Buffer, V][]): void {
    this.#keys = new Array(capacity).fill(undefined);
    this.#values = new Array(capacity).fill(undefined);
    this.#size = 0;
    for (const [key, value] of entries) this.set(key, value);
  }
}

function equals(key: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (key.length !== end - start) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}

/** FNV-1a. */
function hash(bytes: Buffer, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let at = start; at < end; at++) value = Math.imul(value ^ bytes[at]!, 0x01000193);
  return value ^ (value >>> 15);
}
