// The newest entries of queues, in memory until they are written: what a reader finds, whatever is in which place, and
// whatever is put again.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import test, { type ExecutionContext } from "ava";
import { MillraceError } from "../../../src/base/errors.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize, entryTagsCode } from "../../../src/format/files/consume-queue.ts";
import type { Drive, StoreFile } from "../../../src/os/api.ts";
import { chooseDrive } from "../../../src/os/choose.ts";
import { ConsumeQueue, queueDirectory } from "../../../src/store/queue/consume-queue.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../../src/store/queue/queue-slots.ts";
import { QueueTails } from "../../../src/store/queue/queue-tails.ts";
import { TopicSlotsTable } from "../../../src/store/queue/topic-slots.ts";

const FILE_SIZE = 100 * ENTRY_SIZE;
const TAIL_SLOTS = 8;

interface Rig {
  slots: QueueSlots;
  tails: QueueTails;
  /** Another indexer over the same memory and files, as after the death of one. */
  again: () => QueueTails;
  put: (slot: number, queueOffset: number) => boolean;
  /** physicalOffsets of [from, to), as a reader finds them. */
  read: (slot: number, from: number, to: number) => number[];
  /** The same by files alone. */
  readFiles: (slot: number, from: number, to: number) => number[];
  disk: { isFull: boolean };
}

/** Where the entry's record lies: queues take turns in the log. */
const place = (slot: number, queueOffset: number): number => (queueOffset * TAIL_SLOTS + slot) * 1000;

async function rig(t: ExecutionContext, isNativeFree: boolean): Promise<Rig> {
  const root = mkdtempSync(join(tmpdir(), "millrace-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const { drive } = await chooseDrive(isNativeFree);
  const disk = { isFull: false };
  const full: Drive = {
    ...drive,
    openFile: (path, options) => {
      const file = drive.openFile(path, options);
      return new Proxy(file, {
        get: (_, name: keyof StoreFile) => {
          if (name === "write" && disk.isFull)
            return () => {
              throw new MillraceError("MILLRACE_STORE_FULL", "full", {});
            };
          const value = file[name];
          return typeof value === "function" ? value.bind(file) : value;
        },
      });
    },
  };
  const slots = new QueueSlots(createQueueSlotsMemory(TAIL_SLOTS));
  const all = Array.from({ length: TAIL_SLOTS + 1 }, (_, slot) => slot);
  const indexer = (): QueueTails => {
    const table = new TopicSlotsTable(full, root, FILE_SIZE, true);
    table.update({ topic: "T", slots: all });
    return new QueueTails(slots, table);
  };
  const tails = indexer();
  const reader = (slot: number, hasTail: boolean) => (from: number, to: number) => {
    const tail = hasTail ? { slots, slot } : undefined;
    const queue = new ConsumeQueue(drive, queueDirectory(root, "T", slot), FILE_SIZE, false, { tail });
    const entries = Buffer.alloc(30 * ENTRY_SIZE);
    const found: number[] = [];
    while (found.length < to - from) {
      const count = queue.read(from + found.length, Math.min(30, to - from - found.length), entries);
      if (count === 0) break;
      for (let at = 0; at < count * ENTRY_SIZE; at += ENTRY_SIZE) {
        const physicalOffset = entryPhysicalOffset(entries, at);
        if (physicalOffset !== 0 || slot === 0) {
          if (entrySize(entries, at) !== 77 && physicalOffset !== 0) throw new Error("a torn entry");
          if (entryTagsCode(entries, at) !== (physicalOffset === 0 && entrySize(entries, at) === 0 ? 0 : -slot))
            throw new Error("another tagsCode");
        }
        found.push(physicalOffset);
      }
    }
    queue.close();
    return found;
  };
  return {
    slots,
    tails,
    again: indexer,
    put: (slot, queueOffset) => tails.put(slot, queueOffset, place(slot, queueOffset), 77, -slot),
    read: (slot, from, to) => reader(slot, true)(from, to),
    readFiles: (slot, from, to) => reader(slot, false)(from, to),
    disk,
  };
}

const places = (slot: number, from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => place(slot, from + i));

for (const isNativeFree of [false, true]) {
  const on = isNativeFree ? "native-free" : "ffi";

  test(`${on}: entries are found where they are, in memory, in files, on both sides of a border`, async (t) => {
    const { slots, tails, put, read, readFiles } = await rig(t, isNativeFree);
    for (let end = 1; end <= 260; end++) {
      for (const slot of [1, 2]) {
        t.true(put(slot, end - 1));
        slots.setMaxOffset(slot, end);
      }
      if (end % 37 === 0) tails.write(2);
      t.is(slots.writtenOffset(1), end - (end % 64));
      if (end % 13 === 0) for (const slot of [1, 2]) t.deepEqual(read(slot, 0, end), places(slot, 0, end));
    }
    t.is(tails.waiting, 2);
    t.is(tails.writtenThrough(9e9), Math.min(place(1, 256), place(2, 259)));
    t.false(tails.writeOld(Number.POSITIVE_INFINITY, 2));
    t.is(tails.writtenThrough(9e9), 9e9);
    for (const slot of [1, 2]) t.deepEqual(readFiles(slot, 0, 260), places(slot, 0, 260));
  });

  test(`${on}: a reader beside the writer finds no entry but the right one`, async (t) => {
    const root = mkdtempSync(join(tmpdir(), "millrace-"));
    t.teardown(() => rmSync(root, { recursive: true, force: true }));
    const memory = createQueueSlotsMemory(1);
    const slots = new QueueSlots(memory);
    const { drive } = await chooseDrive(isNativeFree);
    const [count, fileSize] = [100_000, 6_000_000];
    const file = new URL("./tail-writer-thread.ts", import.meta.url);
    const writer = new Worker(file, { workerData: { memory, root, fileSize, count, drive: drive.name } });
    const failed = new Promise<never>((_, reject) => writer.once("error", reject));
    const queue = new ConsumeQueue(drive, queueDirectory(root, "T", 0), fileSize, false, { tail: { slots, slot: 0 } });
    t.teardown(() => queue.close());
    const entries = Buffer.alloc(40 * ENTRY_SIZE);
    let looks = 0;
    let mapped = 0;
    for (let max = 0; max < count; looks++) {
      if (looks % 64 === 0) await Promise.race([new Promise((resolve) => setImmediate(resolve)), failed]);
      max = slots.maxOffset(0);
      const from = Math.max(0, max - 1 - ((looks * 31) % 100));
      if (from >= max) continue;
      let found = queue.read(from, 40, entries);
      let bytes: Buffer = entries;
      let at = 0;
      const memoryOfFile = looks % 2 === 0 ? undefined : queue.mappedFor(from);
      if (memoryOfFile !== undefined) {
        mapped++;
        bytes = memoryOfFile;
        at = queue.positionInFile(from);
        found = Math.min(40, queue.mappedEnd - from, (bytes.length - at) / ENTRY_SIZE);
      }
      if (found === 0) throw new Error(`nothing at ${from} of ${max}`);
      for (let i = 0; i < found; i++, at += ENTRY_SIZE) {
        const place = entryPhysicalOffset(bytes, at);
        if (place !== (from + i) * 1000 || entryTagsCode(bytes, at) !== from + i || entrySize(bytes, at) !== 1000)
          throw new Error(`entry ${from + i} of ${max} says ${place}`);
      }
    }
    t.true(looks > 0);
    if (isNativeFree) t.is(mapped, 0);
    await writer.terminate();
  });

  test(`${on}: runs of records of one size, of any length`, async (t) => {
    const { slots, tails, read, readFiles } = await rig(t, isNativeFree);
    let end = 0;
    for (const count of [2, 61, 3, 64, 65, 200, 1, 1100, 7, 128, 30]) {
      t.is(tails.putRun(7, end, end * 77, 77, -7, count), count);
      end += count;
      slots.setMaxOffset(7, end);
      t.is(slots.writtenOffset(7), end - (end % 64));
    }
    t.is(tails.putRun(7, 10, 770, 77, -7, 5), 0, "these are in the file");
    const wanted = Array.from({ length: end }, (_, offset) => offset * 77);
    t.deepEqual(read(7, 0, end), wanted);
    tails.write(7);
    t.deepEqual(readFiles(7, 0, end), wanted);
  });

  test(`${on}: a queue without a tail, and entries that are in the file already, are for the caller to write`, async (t) => {
    const { slots, put } = await rig(t, isNativeFree);
    t.false(put(TAIL_SLOTS, 0));
    slots.setWrittenOffset(3, 10);
    slots.setMaxOffset(3, 10);
    t.false(put(3, 9));
    t.true(put(3, 10));
    t.is(slots.writtenOffset(3), 10);
  });

  test(`${on}: a full disk loses nothing, and what is put again changes nothing`, async (t) => {
    const { slots, tails, put, read, readFiles, disk } = await rig(t, isNativeFree);
    for (let offset = 0; offset < 50; offset++) put(4, offset);
    slots.setMaxOffset(4, 50);
    disk.isFull = true;
    t.throws(() => tails.writeOld(Number.POSITIVE_INFINITY, 9), { code: "MILLRACE_STORE_FULL" });
    for (let tries = 0; tries < 3; tries++) {
      const last = t.throws(() => {
        for (let offset = 50; offset < 70; offset++) put(4, offset);
      });
      t.is((last as MillraceError).code, "MILLRACE_STORE_FULL");
      t.is(slots.writtenOffset(4), 0);
      t.deepEqual(read(4, 0, 50), places(4, 0, 50));
    }
    disk.isFull = false;
    for (let offset = 50; offset < 70; offset++) put(4, offset);
    t.is(slots.writtenOffset(4), 64);
    // The pass is made again although a round of it was written.
    for (let offset = 50; offset < 70; offset++) t.is(put(4, offset), offset >= 64);
    slots.setMaxOffset(4, 70);
    t.deepEqual(read(4, 0, 70), places(4, 0, 70));
    t.false(tails.writeOld(Number.POSITIVE_INFINITY, 9));
    t.deepEqual(readFiles(4, 0, 70), places(4, 0, 70));
  });

  test(`${on}: after a gap the queue goes on where it was told to`, async (t) => {
    const { slots, tails, put, read } = await rig(t, isNativeFree);
    for (let offset = 0; offset < 5; offset++) put(5, offset);
    for (let offset = 8; offset < 12; offset++) t.true(put(5, offset));
    slots.setMaxOffset(5, 12);
    t.is(slots.writtenOffset(5), 8);
    tails.write(5);
    t.deepEqual(read(5, 0, 12), [...places(5, 0, 5), 0, 0, 0, ...places(5, 8, 12)]);
  });

  test(`${on}: the next indexer writes what the last one had in memory`, async (t) => {
    const { slots, put, again, readFiles } = await rig(t, isNativeFree);
    for (let offset = 0; offset < 70; offset++) put(6, offset);
    slots.setMaxOffset(6, 66); // It died before it had said so of the last ones.
    const next = again();
    next.adopt([5, 6, TAIL_SLOTS], 123);
    t.is(next.waiting, 1);
    t.is(next.writtenThrough(9e9), 123);
    for (let offset = 60; offset < 75; offset++) t.is(next.put(6, offset, place(6, offset), 77, -6), offset >= 64);
    next.writeOld(Number.POSITIVE_INFINITY, 9);
    t.deepEqual(readFiles(6, 0, 75), places(6, 0, 75));
  });

  test(`${on}: the oldest go first, as many as are asked for`, async (t) => {
    const { slots, tails, put } = await rig(t, isNativeFree);
    for (let slot = 0; slot < TAIL_SLOTS; slot++) {
      tails.nowMs = slot * 10;
      put(slot, 0);
    }
    t.true(tails.writeOld(35, 2));
    t.deepEqual(
      Array.from({ length: TAIL_SLOTS }, (_, slot) => slots.writtenOffset(slot)),
      [1, 1, 0, 0, 0, 0, 0, 0],
    );
    t.is(tails.writtenThrough(9e9), place(2, 0));
    t.false(tails.writeOld(35, 2));
    t.is(tails.waiting, 4);
  });
}
