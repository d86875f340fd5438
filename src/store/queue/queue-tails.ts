import { ENTRY_SIZE, writeEntryTo } from "../../format/files/consume-queue.ts";
import { writeExtAddress } from "../../format/files/queue-ext.ts";
import { type QueueSlots, TAIL_COUNT } from "./queue-slots.ts";
import type { TopicSlotsTable } from "./topic-slots.ts";

/**
 * Of each slot three float64: 1 + one past the last entry in the tail, 0: not known; 1 + physicalOffset of the first that is
 * in no file, 0 without any; since when, ms.
 */
const STATE = 3;
const END = 0;
const FIRST = 1;
const SINCE = 2;

/** The entry holds its tags code itself. */
export const NO_UNIT = -1;

/** Entries that are written at once, at most. */
const STAGE_COUNT: number = 16 * TAIL_COUNT;

/**
 * The newest entries of plain queues, which stand in shared memory (QueueSlots) until enough of them have come together
 * for a write, or they have waited long enough: a store into memory costs an entry a tenth of a system call, and ten
 * thousand queues need neither mappings nor a write for each entry. Readers find entries in either place; after the death
 * of the process those that were in no file are made again from the log. Queue indexer (or recovery, while no threads run).
 */
export class QueueTails {
  readonly #slots: QueueSlots;
  readonly #topics: TopicSlotsTable;
  #state = new Float64Array(1024 * STATE);
  /** Slots by the time since when they have entries in no file, a circle; one stands in it again each time, the older mention is void. */
  #waiting = new Float64Array(1024 * 2);
  #head = 0;
  readonly #stage: Buffer = Buffer.alloc(STAGE_COUNT * ENTRY_SIZE);
  readonly #stageView = new DataView(this.#stage.buffer, this.#stage.byteOffset, this.#stage.length);
  #count = 0;
  /** Slots that have entries in no file. */
  waiting = 0;
  /** ms; of the pass that runs. */
  nowMs = 0;

  constructor(slots: QueueSlots, topics: TopicSlotsTable) {
    this.#slots = slots;
    this.#topics = topics;
  }

  /**
   * Puts an entry behind the last of its queue.
   * @param unit position of what the entry points at in place of the tags code, or NO_UNIT
   * @returns false: not this way, write it to the file; the queue has it already, or has no tail
   * @throws MillraceError MILLRACE_STORE_FULL; the entry is in the tail, and is to be put again
   */
  put(
    slot: number,
    queueOffset: number,
    physicalOffset: number,
    size: number,
    tagsCode: number,
    unit: number = NO_UNIT,
  ): boolean {
    const at = slot * STATE;
    if (this.#state[at + END] !== queueOffset + 1 && !this.#goOn(slot, queueOffset)) return false;
    const state = this.#state;
    this.#slots.putTail(slot, queueOffset, physicalOffset, size, tagsCode, 1);
    if (unit >= 0) writeExtAddress(this.#slots.tails, this.#slots.tailPosition(slot, queueOffset), unit);
    if (state[at + FIRST] === 0) this.#enter(slot, physicalOffset);
    state[at + END] = queueOffset + 2;
    if ((queueOffset & (TAIL_COUNT - 1)) === TAIL_COUNT - 1) this.write(slot);
    return true;
  }

  /**
   * The same for records of one size that follow each other in the log. Whole rounds of entries go to the file at once.
   * @returns how many of `count` it has put: all, or none
   */
  putRun(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number, count: number): number {
    const at = slot * STATE;
    if (this.#state[at + END] !== queueOffset + 1 && !this.#goOn(slot, queueOffset)) return 0;
    for (let done = 0; done < count; ) {
      const next = queueOffset + done;
      const physical = physicalOffset + done * size;
      const place = next & (TAIL_COUNT - 1);
      const put = Math.min(count - done, place === 0 && count - done >= TAIL_COUNT ? STAGE_COUNT : TAIL_COUNT - place);
      if (put >= TAIL_COUNT) done += this.#writeRounds(slot, next, physical, size, tagsCode, put - (put % TAIL_COUNT));
      else {
        this.#slots.putTail(slot, next, physical, size, tagsCode, put);
        if (this.#state[at + FIRST] === 0) this.#enter(slot, physical);
        this.#state[at + END] = next + put + 1;
        if (place + put === TAIL_COUNT) this.write(slot);
        done += put;
      }
    }
    return count;
  }

  /** Entries that begin a round, and end one. */
  #writeRounds(slot: number, queueOffset: number, physicalOffset: number, size: number, tagsCode: number, count: number): number {
    this.write(slot);
    const view = this.#stageView;
    for (let i = 0; i < count; i++) writeEntryTo(view, i * ENTRY_SIZE, physicalOffset + i * size, size, tagsCode);
    this.#topics.queueOfSlot(slot)?.write(queueOffset, this.#stage, 0, count * ENTRY_SIZE);
    this.#slots.setWrittenOffset(slot, queueOffset + count);
    this.#state[slot * STATE + END] = queueOffset + count + 1;
    return count;
  }

  /** An entry that does not follow the last one known here: the first, one that is put again, or one after a gap. */
  #goOn(slot: number, queueOffset: number): boolean {
    if (slot >= this.#slots.tailsMax) return false;
    if ((slot + 1) * STATE > this.#state.length) {
      const state = new Float64Array(2 ** Math.ceil(Math.log2(slot + 1)) * STATE);
      state.set(this.#state);
      this.#state = state;
    }
    const at = slot * STATE;
    const written = this.#slots.writtenOffset(slot);
    if (queueOffset < written) return false;
    const end = Math.max(this.#state[at + END]! - 1, written, this.#slots.maxOffset(slot));
    if (queueOffset > end) {
      this.write(slot);
      this.#slots.setWrittenOffset(slot, queueOffset);
    }
    this.#state[at + END] = queueOffset + 1;
    return true;
  }

  /** Takes over what an indexer before this one has left in the tails. @param from of the records that may lack entries */
  adopt(slots: readonly number[], from: number): void {
    for (const slot of slots) {
      const max = this.#slots.maxOffset(slot);
      if (slot >= this.#slots.tailsMax || max <= this.#slots.writtenOffset(slot)) continue;
      this.#goOn(slot, max);
      if (this.#state[slot * STATE + FIRST] === 0) this.#enter(slot, from);
    }
  }

  #enter(slot: number, physicalOffset: number): void {
    const at = slot * STATE;
    this.waiting++;
    this.#state[at + FIRST] = physicalOffset + 1;
    this.#state[at + SINCE] = this.nowMs;
    let size = this.#waiting.length / 2;
    if (this.#count === size) {
      const waiting = new Float64Array(4 * size);
      for (let i = 0; i < this.#count; i++) {
        const from = ((this.#head + i) % size) * 2;
        waiting[2 * i] = this.#waiting[from]!;
        waiting[2 * i + 1] = this.#waiting[from + 1]!;
      }
      this.#waiting = waiting;
      this.#head = 0;
      size *= 2;
    }
    const last = ((this.#head + this.#count++) % size) * 2;
    this.#waiting[last] = slot;
    this.#waiting[last + 1] = physicalOffset + 1;
  }

  /** Writes what the slot's tail has to the file. @throws MillraceError MILLRACE_STORE_FULL; all is as before */
  write(slot: number): void {
    const slots = this.#slots;
    const at = slot * STATE;
    const written = slots.writtenOffset(slot);
    const end = this.#state[at + END]! - 1;
    if (end > written) {
      const start = slots.tailPosition(slot, written);
      const queue = this.#topics.queueOfSlot(slot);
      if (queue !== undefined) queue.write(written, slots.tails, start, start + (end - written) * queue.entrySize);
      slots.setWrittenOffset(slot, end); // Of a topic that is gone as well: nobody reads it any more.
    }
    if (this.#state[at + FIRST]! > 0) this.waiting--;
    this.#state[at + FIRST] = 0;
  }

  /** The slot that has waited the longest; -1: none waits. */
  #oldest(): number {
    const size = this.#waiting.length / 2;
    while (this.#count > 0) {
      const slot = this.#waiting[2 * this.#head]!;
      if (this.#state[slot * STATE + FIRST] === this.#waiting[2 * this.#head + 1]) return slot;
      this.#head = (this.#head + 1) % size;
      this.#count--;
    }
    return -1;
  }

  /**
   * Writes at most `count` tails that have waited since `beforeMs` or longer.
   * @returns whether there are more of them
   * @throws MillraceError MILLRACE_STORE_FULL
   */
  writeOld(beforeMs: number, count: number): boolean {
    for (let done = 0; ; done++) {
      const slot = this.#oldest();
      if (slot < 0 || this.#state[slot * STATE + SINCE]! > beforeMs) return false;
      if (done >= count) return true;
      this.write(slot);
    }
  }

  /** Records below it have their entries in files. @param dispatched one past the last record that has an entry at all */
  writtenThrough(dispatched: number): number {
    const slot = this.#oldest();
    return slot < 0 ? dispatched : Math.min(dispatched, this.#state[slot * STATE + FIRST]! - 1);
  }
}
