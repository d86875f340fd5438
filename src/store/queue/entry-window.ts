import { BLANK_ENTRY_SIZE, ENTRY_SIZE, ENTRY_SIZE_OFFSET } from "../../format/files/consume-queue.ts";
import { RECORD_SIZE_MIN } from "../../format/record/message.ts";
import type { ConsumeQueue } from "./consume-queue.ts";

const TWO_32 = 4_294_967_296;
const SIGN = -2_147_483_648;
/** Entries read at once. */
const BLOCK_COUNT = 3276;

/** Entries of one queue at a time, read by the block: a start looks at some here and some there of a thousand queues. */
export class EntryWindow {
  readonly #block = Buffer.alloc(BLOCK_COUNT * ENTRY_SIZE);
  /** The same: its reads cost a third of the Buffer's, and a start does them for every entry of a killed store. */
  readonly view: DataView = new DataView(this.#block.buffer, this.#block.byteOffset, this.#block.length);
  #queue: ConsumeQueue | undefined;
  #start = 0;
  #end = 0;

  /** Whose entries are looked at from now on; nobody writes to it meanwhile. */
  show(queue: ConsumeQueue): void {
    this.#queue = queue;
    this.#start = 0;
    this.#end = 0;
  }

  /** Place of the entry in `view`, -1 when its file is gone. Good until the next call for an entry that is not there. */
  at(queueOffset: number): number {
    if (queueOffset < this.#start || queueOffset >= this.#end) {
      // Whole blocks, so that those who go on, or step back a little, find what they want.
      this.#start = queueOffset - (queueOffset % BLOCK_COUNT);
      this.#end = this.#start + this.#queue!.read(this.#start, BLOCK_COUNT, this.#block);
      if (queueOffset >= this.#end) {
        // The block reaches from one file into the next, or begins in one that is deleted.
        this.#start = queueOffset;
        this.#end = queueOffset + this.#queue!.read(queueOffset, BLOCK_COUNT, this.#block);
        if (this.#end === queueOffset) return -1;
      }
    }
    return (queueOffset - this.#start) * ENTRY_SIZE;
  }

  /** Entries from this one on, which `at` has found, that stand in `view`. */
  countFrom(queueOffset: number): number {
    return this.#end - queueOffset;
  }

  size(at: number): number {
    return this.view.getInt32(at + ENTRY_SIZE_OFFSET);
  }

  physicalOffset(at: number): number {
    return this.view.getInt32(at) * TWO_32 + this.view.getUint32(at + 4);
  }

  /**
   * How many entries from `at` on, of `count` and at least one, are of messages that follow each other in the log, within
   * the 4 GiB of the first one's. In integers of 32 bits: until this is compiled, every float would be an object, and a
   * start looks at ten million entries.
   */
  runLength(at: number, count: number): number {
    const { view } = this;
    const high = view.getInt32(at);
    // Unsigned numbers in the order of signed ones.
    let low = view.getInt32(at + 4) ^ SIGN;
    for (let i = 1; i < count; i++) {
      const size = view.getInt32(at + ENTRY_SIZE_OFFSET);
      at += ENTRY_SIZE;
      const next = view.getInt32(at + 4) ^ SIGN;
      const end = (low + size) | 0;
      if (size < RECORD_SIZE_MIN || size >= BLANK_ENTRY_SIZE || end < low || next < end || view.getInt32(at) !== high) return i;
      low = next;
    }
    return count;
  }

  /** An entry without a message. */
  isBlank(at: number): boolean {
    return this.size(at) === BLANK_ENTRY_SIZE && this.physicalOffset(at) === 0;
  }

  isZero(at: number): boolean {
    for (let end = at + ENTRY_SIZE; at < end; at += 4) if (this.view.getInt32(at) !== 0) return false;
    return true;
  }
}
