import test from "ava";
import fc from "fast-check";
import { BLANK_ENTRY_SIZE, ENTRY_SIZE, writeEntry } from "../../../src/format/files/consume-queue.ts";
import { RECORD_SIZE_MIN } from "../../../src/format/record/message.ts";
import type { ConsumeQueue } from "../../../src/store/queue/consume-queue.ts";
import { EntryWindow } from "../../../src/store/queue/entry-window.ts";

const TWO_32 = 4_294_967_296;

/** A queue of which only the entries from `first` on are in files, `perFile` in each. */
function queueOf(entries: Buffer, first = 0, perFile = Number.MAX_SAFE_INTEGER): ConsumeQueue {
  const read = (queueOffset: number, count: number, target: Buffer): number => {
    if (queueOffset < first) return 0;
    const left = Math.min(count, perFile - (queueOffset % perFile), first + entries.length / ENTRY_SIZE - queueOffset);
    if (left <= 0) return 0;
    const start = (queueOffset - first) * ENTRY_SIZE;
    return entries.copy(target, 0, start, start + left * ENTRY_SIZE) / ENTRY_SIZE;
  };
  return { read } as unknown as ConsumeQueue;
}

const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: RECORD_SIZE_MIN, max: 5_000_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -1, -2_147_483_648, RECORD_SIZE_MIN - 1, BLANK_ENTRY_SIZE - 1, BLANK_ENTRY_SIZE) },
);
const starts = fc.constantFrom(0, 2_147_483_000, TWO_32 - 3_000_000, TWO_32 - 200, 3 * TWO_32 - 1000);

test("a run of entries in order ends where one after the other says that it does, also at 2 and 4 GiB", (t) => {
  const steps = fc.array(fc.record({ size: sizes, gap: fc.oneof(fc.constant(0), fc.integer({ min: -300, max: 300 })) }), {
    minLength: 1,
  });
  const property = fc.property(starts, steps, (start, all) => {
    const entries = Buffer.alloc(all.length * ENTRY_SIZE);
    let offset = start;
    const offsets = all.map(({ size, gap }, i) => {
      const at = Math.max(0, offset + gap);
      writeEntry(entries, i * ENTRY_SIZE, at, size, 0);
      offset = at + Math.max(0, Math.min(size, 5_000_000));
      return at;
    });
    const isNext = (i: number): boolean => {
      const { size } = all[i - 1]!;
      const end = offsets[i - 1]! + size;
      const high = Math.floor(offsets[0]! / TWO_32);
      const isSameHigh = Math.floor(offsets[i]! / TWO_32) === high && Math.floor(end / TWO_32) === high;
      return size >= RECORD_SIZE_MIN && size < BLANK_ENTRY_SIZE && offsets[i]! >= end && isSameHigh;
    };
    let expected = 1;
    while (expected < all.length && isNext(expected)) expected++;
    const window = new EntryWindow();
    window.show(queueOf(entries));
    return window.runLength(window.at(0), all.length) === expected;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 500 }));
});

test("entries are found wherever files begin and end, and none is where no file is", (t) => {
  const property = fc.property(
    fc.nat(9000),
    fc.integer({ min: 1, max: 8000 }),
    fc.integer({ min: 1, max: 5000 }),
    fc.array(fc.nat(20_000)),
    (first, count, perFile, looks) => {
      const entries = Buffer.alloc(count * ENTRY_SIZE);
      for (let i = 0; i < count; i++) writeEntry(entries, i * ENTRY_SIZE, 1000 * (first + i), 100, 0);
      const window = new EntryWindow();
      window.show(queueOf(entries, first, perFile));
      return looks.every((queueOffset) => {
        const at = window.at(queueOffset);
        const isThere = queueOffset >= first && queueOffset < first + count;
        if (!isThere) return at === -1;
        return (
          at >= 0 &&
          window.physicalOffset(at) === 1000 * queueOffset &&
          window.size(at) === 100 &&
          window.countFrom(queueOffset) >= 1
        );
      });
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});
