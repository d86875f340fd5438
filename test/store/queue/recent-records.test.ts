import test from "ava";
import fc from "fast-check";
import { RECENT_STEPS_MAX, RecentRecords } from "../../../src/store/queue/recent-records.ts";

interface Kept {
  physicalOffset: number;
  size: number;
  tagsCode: number;
}

/** What is found, as an array; undefined: nothing is remembered. */
function find(recent: RecentRecords, slot: number, from: number, end: number): Kept[] | undefined {
  const count = recent.find(slot, from, end);
  if (count === 0) return undefined;
  return Array.from({ length: count }, (_, i) => ({
    physicalOffset: recent.physicalOffset(i),
    size: recent.size(i),
    tagsCode: recent.tagsCode(i),
  }));
}

// Goal: what is found is what was written, from the place asked for to the queue's end, or nothing: never less, never another queue's.
test("finds what was added and settled, whatever was taken back or left out between", (t) => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constant("add" as const), slot: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("skip" as const), slot: fc.nat(3) }) },
    { weight: 3, arbitrary: fc.constant({ kind: "settle" as const, slot: 0 }) },
    { weight: 2, arbitrary: fc.constant({ kind: "undo" as const, slot: 0 }) },
    { weight: 1, arbitrary: fc.constant({ kind: "clear" as const, slot: 0 }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const recent = new RecentRecords();
      recent.find(0, 0, 1); // Somebody reads.
      let queues: (Kept | undefined)[][] = [[], [], [], []];
      let settled = queues.map((queue) => [...queue]);
      let physicalOffset = 0;
      for (const { kind, slot } of steps) {
        const queue = queues[slot]!;
        if (kind === "add") {
          const record = { physicalOffset: (physicalOffset += 100), size: 100 + slot, tagsCode: physicalOffset % 7 };
          recent.add(slot, queue.length, record.physicalOffset, record.size, record.tagsCode);
          queue.push(record);
        } else if (kind === "skip") queue.push(undefined);
        else if (kind === "undo") {
          recent.undo();
          queues = settled.map((kept) => [...kept]);
        } else {
          recent.settle();
          if (kind === "clear") {
            recent.clear();
            queues = queues.map((kept) => kept.map(() => undefined));
          }
          settled = queues.map((kept) => [...kept]);
        }
      }
      for (const [slot, queue] of queues.entries()) {
        for (let from = 0; from < queue.length; from++) {
          const wanted = queue.slice(from).filter((record) => record !== undefined);
          const isWhole = wanted.length === queue.length - from;
          t.deepEqual(find(recent, slot, from, queue.length), isWhole ? wanted : undefined);
        }
        t.is(recent.find(slot, queue.length, queue.length), 0);
      }
    }),
    { numRuns: 300 },
  );
});

test("the oldest are forgotten, and so is what nobody has asked for in a while", (t) => {
  const recent = new RecentRecords();
  recent.find(0, 0, 1);
  const count = 20_000;
  for (let i = 0; i < count; i++) recent.add(i % 2, Math.floor(i / 2), i, 1, 0);
  recent.settle();
  const end = count / 2;
  t.is(recent.find(1, end - 5, end), 5);
  t.is(recent.find(1, end - RECENT_STEPS_MAX - 1, end), 0);
  recent.add(5, 0, count, 1, 0);
  for (let i = 0; i < 10_000; i++) recent.add(6, i, count + 1 + i, 1, 0);
  t.is(recent.find(5, 0, 1), 0);
  for (let i = 0; i < 100; i++) recent.tick();
  recent.add(1, end, 0, 1, 0);
  t.is(recent.find(1, end, end + 1), 0, "nobody had asked");
  recent.add(1, end + 1, 77, 1, 0);
  t.is(recent.find(1, end + 1, end + 2), 1, "now somebody has");
  t.is(recent.find(1, end, end + 2), 0, "a gap");
});

test("a run of more records than are remembered is taken back", (t) => {
  const recent = new RecentRecords();
  recent.find(0, 0, 1);
  recent.add(0, 0, 1, 1, 0);
  recent.settle();
  for (let i = 0; i < 9000; i++) recent.add(1 + (i % 3), Math.floor(i / 3), i, 1, 0);
  recent.undo();
  t.is(recent.find(0, 0, 1), 0);
  for (let slot = 1; slot <= 3; slot++) t.is(recent.find(slot, 2999, 3000), 0);
  recent.add(2, 0, 5, 1, 0);
  recent.settle();
  t.is(recent.find(2, 0, 1), 1);
  t.is(recent.find(1, 0, 1), 0);
});

test("each watched slot that grows is told once", (t) => {
  const recent = new RecentRecords();
  const told: number[] = [];
  const take = (): number[] => {
    told.length = 0;
    recent.takeGrown((slot) => told.push(slot));
    return told.toSorted((a, b) => a - b);
  };
  recent.watch(1);
  recent.watch(2);
  t.true(recent.isWatched(1));
  for (let i = 0; i < 3; i++) for (const slot of [1, 2, 3]) recent.add(slot, i, i, 1, 0);
  t.false(recent.isWatched(1));
  t.deepEqual(take(), [1, 2]);
  t.deepEqual(take(), []);
  recent.watch(1);
  recent.add(1, 3, 3, 1, 0);
  t.deepEqual(take(), [1]);
});

test("a watched slot that grows is told however long ago it was watched, and its record is found", (t) => {
  const recent = new RecentRecords();
  const told: number[] = [];
  recent.watch(7);
  for (let i = 0; i < 1000; i++) recent.tick();
  recent.add(6, 0, 50, 1, 0);
  recent.add(7, 3, 100, 10, 0);
  recent.settle();
  recent.takeGrown((slot) => told.push(slot));
  t.deepEqual(told, [7]);
  t.deepEqual(find(recent, 7, 3, 4), [{ physicalOffset: 100, size: 10, tagsCode: 0 }]);
});
