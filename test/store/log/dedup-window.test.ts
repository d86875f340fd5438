// Goal: the window is exactly a list of the last messages. Method: random additions, look-ups and take-backs beside a
// plain array, with so few different hashes that chains grow long and the ring goes round many times.
import test from "ava";
import fc from "fast-check";
import { createDedupWindowMemory, DedupHash, DedupWindow } from "../../../src/store/log/dedup-window.ts";

const CAPACITY = 1024;

interface Entry {
  low: number;
  high: number;
  physicalOffset: number;
  queueId: number;
  queueOffset: number;
  timestamp: number;
}

type Step = { kind: "add" | "find"; low: number; high: number } | { kind: "takeBack"; count: number };

test("as a list of the last messages", (t) => {
  const hash = { low: fc.integer({ min: 0, max: 40 }), high: fc.integer({ min: 0, max: 1 }) };
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant<"add">("add"), ...hash }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant<"find">("find"), ...hash }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant<"takeBack">("takeBack"), count: fc.integer({ min: 1, max: 5 }) }) },
  );
  const property = fc.property(fc.array(step, { minLength: 3000, maxLength: 4000 }), (steps) => {
    const window = new DedupWindow(createDedupWindowMemory(CAPACITY)!);
    const list: Entry[] = [];
    let now = 1000;
    for (const [i, step] of steps.entries()) {
      if (step.kind === "takeBack") {
        // What was dropped for the last ones does not come back: as many as were added since stay within the ring.
        for (let n = 0; n < step.count && list.length > 0; n++) {
          window.takeBack();
          list.pop();
        }
      } else if (step.kind === "add") {
        const entry = { ...step, physicalOffset: i * 100, queueId: i % 7, queueOffset: i, timestamp: now++ };
        window.add(entry.low, entry.high, entry.physicalOffset, entry.queueId, entry.queueOffset, entry.timestamp);
        list.push(entry);
        if (list.length > CAPACITY) list.shift();
      } else {
        const since = now - (i % 900);
        const expected = list.filter(({ low, high, timestamp }) => low === step.low && high === step.high && timestamp >= since);
        const found: number[] = [];
        for (let is = window.find(step.low, step.high, since); is; is = window.findNext(step.low, step.high, since)) {
          found.push(window.physicalOffset, window.queueOffset, window.queueId);
        }
        t.deepEqual(
          found,
          expected.toReversed().flatMap(({ physicalOffset, queueOffset, queueId }) => [physicalOffset, queueOffset, queueId]),
        );
      }
      if (window.size !== list.length) t.fail(`size ${window.size}, not ${list.length}`);
    }
  });
  fc.assert(property, { numRuns: 10, endOnFailure: true });
});

test("hashes spread, and differ by group", (t) => {
  const hash = new DedupHash();
  const seen = new Set<string>();
  const lows = new Set<number>();
  for (let i = 0; i < 20_000; i++) {
    const key = Buffer.from(`7F0000010B2C18B4AAC2${i.toString(16).padStart(12, "0").toUpperCase()}`);
    hash.of(i % 3, key, 0, key.length);
    seen.add(`${hash.low}.${hash.high}`);
    lows.add(hash.low & 0xffff);
  }
  t.is(seen.size, 20_000);
  t.true(lows.size > 15_000, `${lows.size} of 65536 buckets for 20000 keys`); // 17,264 are expected of a perfect hash.
  const key = Buffer.from("k");
  hash.of(1, key, 0, 1);
  const first = [hash.low, hash.high];
  hash.of(2, key, 0, 1);
  t.notDeepEqual([hash.low, hash.high], first);
});
