// Goal: how many messages wait, by topic, is known after a restart too, in the form that Apache's broker keeps it in; a file
// that says nothing sensible costs the counts and no more.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/observe/log.ts";
import { TimerCounts } from "../../src/runtime/timer-counts.ts";

const NOW = 1_800_000_000_000;

function fileOf(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), "timer-counts-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, "timermetrics");
}

test("counts go on after a restart", (t) => {
  const path = fileOf(t);
  const first = new TimerCounts(path, new VirtualClock(NOW), silentLog);
  first.close();
  t.false(existsSync(path), "nothing to tell");
  first.change(new Map([["A", 5], ["B", 2]]), 7); // biome-ignore format: a table.
  first.change(new Map([["A", -1]]), 6);
  first.close();
  const { timingCount, dataVersion } = JSON.parse(readFileSync(path, "utf8"));
  t.deepEqual(timingCount, { A: { count: 4, timeStamp: NOW }, B: { count: 2, timeStamp: NOW } });
  t.is(dataVersion.counter, 2);
  const second = new TimerCounts(path, new VirtualClock(NOW + 1), silentLog);
  second.change(new Map([["B", -3]]), 4);
  t.deepEqual([...second.counts], [["A", { count: 4, timeStamp: NOW }], ["B", { count: 0, timeStamp: NOW + 1 }]]); // biome-ignore format: a table.
  second.change(new Map([["B", 0]]), 0);
  t.is(second.counts.get("A")!.count, 0, "none waits at all");
});

test("a file without sense is none", (t) => {
  const path = fileOf(t);
  for (const text of ["{", "null", "[]", '{"timingCount":{"A":{"count":"many"}}}', '{"timingCount":{"A":null}}']) {
    writeFileSync(path, text);
    t.is(new TimerCounts(path, new VirtualClock(NOW), silentLog).counts.size, 0, text);
  }
});
