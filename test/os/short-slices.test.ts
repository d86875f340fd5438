// Goal: asking for short slices of the processor changes nothing else of the thread, and fails nowhere.
// Method: the system tells what has become of a thread that has asked.
import fs from "node:fs";
import os from "node:os";
import test from "ava";
import { runInShortSlices } from "../../src/os/short-slices.ts";

test("who asks for short slices keeps its nice value", (t) => {
  if (process.platform !== "linux") return t.false(runInShortSlices());
  const tid = Number(fs.readlinkSync("/proc/thread-self").split("/").pop());
  os.setPriority(tid, os.getPriority(tid) + 1);
  const before = os.getPriority(tid);
  const isShort = runInShortSlices();
  t.is(os.getPriority(tid), before);
  const slice = /^se\.slice\s*:\s*(\d+)/m.exec(fs.readFileSync(`/proc/self/task/${tid}/sched`, "utf8"))?.[1];
  if (slice !== undefined) t.is(Number(slice) === 100_000, isShort);
  t.is(runInShortSlices(), isShort);
});
