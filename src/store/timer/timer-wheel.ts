import { SLOT_COUNT, SLOT_FIRST, SLOT_LAST, SLOT_SIZE, WHEEL_SLOTS } from "../../format/files/timer-slot.ts";
import { readInt64, writeInt64 } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";

/** Slots of one page; the wheel is a whole number of them. */
const PAGE_SLOTS = 128;
const PAGE_SIZE = PAGE_SLOTS * SLOT_SIZE;
const PAGES = WHEEL_SLOTS / PAGE_SLOTS;
const CHUNK_PAGES = 225;

interface Page {
  bytes: Buffer;
  isDirty: boolean;
}

/**
 * The timer wheel (format/files/timer-slot.ts). Pages in use are in memory, at most those of the rolling window whatever the number
 * of messages; changed ones go to the file with `flush`. Times are slot numbers: ms divided by the step. Timer thread only.
 * Source: Apache `TimerWheel`.
 */
export class TimerWheel {
  readonly #file: StoreFile;
  /** By number since the epoch. */
  readonly #pages = new Map<number, Page>();

  /** @throws MillraceError MILLRACE_STORE_CORRUPT on a file of another size */
  constructor(drive: Drive, path: string) {
    this.#file = drive.openFile(path, { size: WHEEL_SLOTS * SLOT_SIZE, writable: true, mapped: false });
  }

  /** Takes from the file the slots from `fromTime` on. @returns messages in them */
  load(fromTime: number): number {
    let count = 0;
    const chunk = Buffer.alloc(CHUNK_PAGES * PAGE_SIZE);
    for (let first = 0; first < PAGES; first += CHUNK_PAGES) {
      const size = Math.min(chunk.length, (PAGES - first) * PAGE_SIZE);
      this.#file.read(first * PAGE_SIZE, chunk, 0, size);
      for (let at = 0; at < size; at += SLOT_SIZE) {
        const time = readInt64(chunk, at);
        if (time < fromTime || time >= fromTime + WHEEL_SLOTS || time % WHEEL_SLOTS !== first * PAGE_SLOTS + at / SLOT_SIZE)
          continue;
        const page = this.#pageFor(Math.floor(time / PAGE_SLOTS));
        chunk.copy(page.bytes, (time % PAGE_SLOTS) * SLOT_SIZE, at, at + SLOT_SIZE);
        count += chunk.readInt32BE(at + SLOT_COUNT);
      }
    }
    return count;
  }

  #pageFor(number: number): Page {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { bytes: Buffer.alloc(PAGE_SIZE), isDirty: false };
      this.#pages.set(number, page);
    }
    return page;
  }

  /** The page that holds the slot, and where it stands there; undefined: the slot is empty. */
  #find(time: number): { page: Page; at: number } | undefined {
    const page = this.#pages.get(Math.floor(time / PAGE_SLOTS));
    const at = (time % PAGE_SLOTS) * SLOT_SIZE;
    return page === undefined || readInt64(page.bytes, at) !== time ? undefined : { page, at };
  }

  /** Position of the slot's last unit, -1: it is empty. */
  last(time: number): number {
    const found = this.#find(time);
    return found === undefined ? -1 : readInt64(found.page.bytes, found.at + SLOT_LAST);
  }

  count(time: number): number {
    const found = this.#find(time);
    return found === undefined ? 0 : found.page.bytes.readInt32BE(found.at + SLOT_COUNT);
  }

  /** Makes the unit at `position` the slot's last. @param added what it adds to the number of messages */
  add(time: number, position: number, added: number): void {
    const page = this.#pageFor(Math.floor(time / PAGE_SLOTS));
    const at = (time % PAGE_SLOTS) * SLOT_SIZE;
    const isNew = readInt64(page.bytes, at) !== time;
    if (isNew) {
      writeInt64(page.bytes, time, at);
      writeInt64(page.bytes, position, at + SLOT_FIRST);
    }
    writeInt64(page.bytes, position, at + SLOT_LAST);
    page.bytes.writeInt32BE((isNew ? 0 : page.bytes.readInt32BE(at + SLOT_COUNT)) + added, at + SLOT_COUNT);
    page.isDirty = true;
  }

  /** Empties the slot. */
  remove(time: number): void {
    const found = this.#find(time);
    if (found === undefined) return;
    found.page.bytes.fill(0, found.at, found.at + SLOT_SIZE);
    found.page.isDirty = true;
  }

  /** Times of the slots that are not empty. */
  times(): number[] {
    const times: number[] = [];
    for (const number of this.#pages.keys()) {
      for (let slot = 0; slot < PAGE_SLOTS; slot++)
        if (this.#find(number * PAGE_SLOTS + slot)) times.push(number * PAGE_SLOTS + slot);
    }
    return times;
  }

  /** First slot in [from, to) that is not empty, or `to`. */
  next(from: number, to: number): number {
    for (let time = from; time < to; ) {
      if (!this.#pages.has(Math.floor(time / PAGE_SLOTS))) time += PAGE_SLOTS - (time % PAGE_SLOTS);
      else if (this.#find(time) !== undefined) return time;
      else time++;
    }
    return to;
  }

  /** Brings changed pages to the disk, and forgets those wholly before `readTime`. */
  flush(readTime: number): void {
    let isChanged = false;
    for (const [number, page] of this.#pages) {
      if (page.isDirty) {
        this.#file.write((number % PAGES) * PAGE_SIZE, page.bytes, 0, PAGE_SIZE);
        page.isDirty = false;
        isChanged = true;
      }
      if ((number + 1) * PAGE_SLOTS <= readTime) this.#pages.delete(number);
    }
    if (isChanged) this.#file.sync();
  }

  /** Forgets all slots, in memory and, with the next flush, in the file. */
  clear(): void {
    this.#pages.clear();
    const zeros = Buffer.alloc(CHUNK_PAGES * PAGE_SIZE);
    for (let first = 0; first < PAGES; first += CHUNK_PAGES) {
      this.#file.write(first * PAGE_SIZE, zeros, 0, Math.min(zeros.length, (PAGES - first) * PAGE_SIZE));
    }
  }

  close(): void {
    this.#file.close();
  }
}
