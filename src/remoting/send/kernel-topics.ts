/*
 * The topics that the kernel of single sends knows, in its memory: a hash table of cells, each 0 or the place of an entry,
 * and entries one behind the other, each at a multiple of ALIGN:
 *
 *   words   hash of the name, its size, key hash seed, number of queues (0: of a topic that has changed), where the slots
 *           stand, how many there is room for, 2 unused
 *   name    and zeros up to a whole word
 *   slots   a word a queue
 *
 * A name stands in one of TOPIC_PROBES cells from the one on that its hash tells. Nothing is taken out but everything at once: what
 * has changed is marked, and has its cell when it comes back. Sends whose topic is not here are taken without the kernel.
 */
const HASH = 0;
const NAME_SIZE = 1;
const SEED = 2;
const QUEUE_COUNT = 3;
const SLOTS = 4;
const SLOTS_MAX = 5;
const NAME_AT = 32;
const ALIGN = 16;

/** A power of two. */
const CELLS = 65_536;
const CELL_SHIFT = 16;
export const TOPIC_PROBES = 8;
const MULTIPLIER = 0x9e37_79b1 | 0;

/** A full table begins anew after so many times its entries were turned away. */
const REFUSALS = 4;

/** Of the entries, bytes: 10,000 queues, however they are shared out among topics, take at most a fifth. */
export const TOPICS_SIZE_DEFAULT: number = 4 * 1_048_576;

export function topicsSize(entriesSize: number): number {
  return 4 * CELLS + entriesSize;
}

/** Words of the entry in the local `entry`. */
export const topicSeed = (entry: string): string => `(i32.load offset=${4 * SEED} ${entry})`;
export const topicQueueCount = (entry: string): string => `(i32.load offset=${4 * QUEUE_COUNT} ${entry})`;
export const topicSlots = (entry: string): string => `(i32.load offset=${4 * SLOTS} ${entry})`;

/** What remains of the name's last word, of which $left bytes are the name's. */
const lastWord = (word: string): string =>
  `(i32.and ${word} (i32.sub (i32.shl (i32.const 1) (i32.shl (local.get $left) (i32.const 3))) (i32.const 1)))`;

/** @param at where the table begins, a multiple of 16; three bytes behind a name must be in the memory */
export const topicsText = (at: number): string => `
;; Whether the entry is of the name of $size bytes at $at.
(func $isTopic (param $entry i32) (param $at i32) (param $size i32) (result i32) (local $left i32)
  (if (i32.ne (i32.load offset=${4 * NAME_SIZE} (local.get $entry)) (local.get $size)) (then (return (i32.const 0))))
  (local.set $left (local.get $size))
  (block $rest (loop $word
    (br_if $rest (i32.lt_u (local.get $left) (i32.const 4)))
    (if (i32.ne (i32.load offset=${NAME_AT} (local.get $entry)) (i32.load (local.get $at))) (then (return (i32.const 0))))
    (local.set $entry (i32.add (local.get $entry) (i32.const 4)))
    (local.set $at (i32.add (local.get $at) (i32.const 4)))
    (local.set $left (i32.sub (local.get $left) (i32.const 4)))
    (br $word)))
  (if (i32.eqz (local.get $left)) (then (return (i32.const 1))))
  (i32.eq (i32.load offset=${NAME_AT} (local.get $entry)) ${lastWord("(i32.load (local.get $at))")}))

;; The entry of the name of $size bytes at $at, or 0.
(func $findTopic (param $at i32) (param $size i32) (result i32)
  (local $hash i32) (local $from i32) (local $left i32) (local $word i32) (local $cell i32) (local $entry i32)
  (local.set $hash (local.get $size))
  (local.set $from (local.get $at))
  (local.set $left (local.get $size))
  (block $hashed (loop $next
    (br_if $hashed (i32.eqz (local.get $left)))
    (local.set $word (i32.load (local.get $from)))
    (if (i32.lt_u (local.get $left) (i32.const 4)) (then
      (local.set $word ${lastWord("(local.get $word)")})
      (local.set $left (i32.const 4))))
    (local.set $hash (i32.mul (i32.xor (local.get $hash) (local.get $word)) (i32.const ${MULTIPLIER})))
    (local.set $hash (i32.xor (local.get $hash) (i32.shr_u (local.get $hash) (i32.const 15))))
    (local.set $from (i32.add (local.get $from) (i32.const 4)))
    (local.set $left (i32.sub (local.get $left) (i32.const 4)))
    (br $next)))
  (local.set $cell (i32.shr_u (i32.mul (local.get $hash) (i32.const ${MULTIPLIER})) (i32.const ${32 - CELL_SHIFT})))
  (local.set $left (i32.const ${TOPIC_PROBES}))
  (loop $probe
    (local.set $entry (i32.load offset=${at} (i32.shl (local.get $cell) (i32.const 2))))
    (if (i32.eqz (local.get $entry)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load offset=${4 * HASH} (local.get $entry)) (local.get $hash)) (then
      (if (call $isTopic (local.get $entry) (local.get $at) (local.get $size)) (then (return (local.get $entry))))))
    (local.set $cell (i32.and (i32.add (local.get $cell) (i32.const 1)) (i32.const ${CELLS - 1})))
    (br_if $probe (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (i32.const 0))
`;

/** The hash of a name, as the kernel has it. */
export function topicNameHash(name: Buffer): number {
  let hash = name.length;
  for (let at = 0; at < name.length; at += 4) {
    let word = 0;
    for (let i = Math.min(4, name.length - at) - 1; i >= 0; i--) word = (word << 8) | name[at + i]!;
    hash = Math.imul(hash ^ word, MULTIPLIER);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Number of the cell where the probes for a name of this hash begin. */
export function topicCell(hash: number): number {
  return Math.imul(hash, MULTIPLIER) >>> (32 - CELL_SHIFT);
}

/** Fills the table. */
export class KernelTopics {
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  readonly #cellsAt: number;
  readonly #entriesAt: number;
  readonly #end: number;
  #next: number;
  /** Entries made, and topics turned away, since it began. */
  #count = 0;
  #refusals = 0;

  /** @param at a multiple of 16 */
  constructor(buffer: SharedArrayBuffer, at: number, entriesSize: number) {
    this.#words = new Int32Array(buffer);
    this.#bytes = Buffer.from(buffer);
    this.#cellsAt = at / 4;
    this.#entriesAt = at + 4 * CELLS;
    this.#end = this.#entriesAt + entriesSize;
    this.#next = this.#entriesAt;
    this.#words.fill(0, this.#cellsAt, this.#cellsAt + CELLS); // An I/O worker that ended may have left its topics.
  }

  /**
   * Enters a topic, or what has become of it. Where there is no room, mostly not: see `#makeRoom`.
   * @param slots  of its queues, at least queueCount of them
   */
  set(name: Buffer, seed: number, slots: readonly number[], queueCount: number): void {
    const words = this.#words;
    const nameSize = 4 * Math.ceil(name.length / 4);
    let entry = this.#find(name);
    if (entry > 0 && words[entry / 4 + QUEUE_COUNT] === queueCount) return;
    if (entry === 0 || words[entry / 4 + SLOTS_MAX]! < queueCount) {
      const size = Math.ceil((NAME_AT + nameSize + 4 * queueCount) / ALIGN) * ALIGN;
      if (this.#next + size > this.#end && !this.#makeRoom(size)) return;
      this.#count++;
      entry = this.#next;
      this.#next += size;
      const at = entry / 4;
      const hash = topicNameHash(name);
      words[at + HASH] = hash;
      words[at + NAME_SIZE] = name.length;
      words[at + SLOTS] = entry + NAME_AT + nameSize;
      words[at + SLOTS_MAX] = (size - NAME_AT - nameSize) / 4;
      words[(entry + NAME_AT + nameSize) / 4 - 1] = 0;
      name.copy(this.#bytes, entry + NAME_AT);
      words[this.#cellFor(name, hash)] = entry;
    }
    const at = entry / 4;
    words[at + SEED] = seed;
    words[at + QUEUE_COUNT] = queueCount;
    for (let i = 0; i < queueCount; i++) words[words[at + SLOTS]! / 4 + i] = slots[i]!;
  }

  /** The topic has changed: it is not known until it is set again. */
  forget(name: Buffer): void {
    const entry = this.#find(name);
    if (entry > 0) this.#words[entry / 4 + QUEUE_COUNT] = 0;
  }

  /**
   * Begins anew, once so many were turned away that those it has can be thought to have had their turns: more topics than
   * there is room for would otherwise drive each other out before they are sent to again.
   */
  #makeRoom(size: number): boolean {
    if (++this.#refusals < REFUSALS * this.#count || this.#entriesAt + size > this.#end) return false;
    this.#words.fill(0, this.#cellsAt, this.#cellsAt + CELLS);
    this.#next = this.#entriesAt;
    this.#count = 0;
    this.#refusals = 0;
    return true;
  }

  #find(name: Buffer): number {
    const cell = this.#cellFor(name, topicNameHash(name));
    const entry = this.#words[cell]!;
    return entry > 0 && this.#isOf(entry, name) ? entry : 0;
  }

  #isOf(entry: number, name: Buffer): boolean {
    const start = entry + NAME_AT;
    return this.#words[entry / 4 + NAME_SIZE] === name.length && name.compare(this.#bytes, start, start + name.length) === 0;
  }

  /** The word of the cell that the name has or, without one, is to have: another's, where all are taken. */
  #cellFor(name: Buffer, hash: number): number {
    const first = topicCell(hash);
    for (let i = 0; i < TOPIC_PROBES; i++) {
      const cell = this.#cellsAt + ((first + i) & (CELLS - 1));
      const entry = this.#words[cell]!;
      if (entry === 0 || this.#isOf(entry, name)) return cell;
    }
    return this.#cellsAt + first;
  }
}
