// Goal: asking for short slices of the processor changes nothing else of the thread, and fails nowhere.
// Method: the system tells what has become of a thread that has asked.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import test from "ava";
import { runInShortSlices } from "../../src/os/short-slices.ts";

/** undefined: the system does not say. */
function sliceOf(tid: number | string): number | undefined {
  const file = `/proc/self/task/${tid}/sched`;
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  const slice = /^se\.slice\s*:\s*(\d+)/m.exec(text)?.[1];
  return slice === undefined ? undefined : Number(slice);
}

test("who asks for short slices keeps its nice value", (t) => {
  if (process.platform !== "linux") return t.false(runInShortSlices());
  const tid = Number(fs.readlinkSync("/proc/thread-self").split("/").pop());
  os.setPriority(tid, os.getPriority(tid) + 1);
  const before = os.getPriority(tid);
  const isShort = runInShortSlices();
  t.is(os.getPriority(tid), before);
  const slice = sliceOf(tid);
  if (slice !== undefined) t.is(slice === 100_000, isShort);
  t.is(runInShortSlices(), isShort);
});

test("what it starts then has slices as any other", async (t) => {
  if (process.platform !== "linux" || !runInShortSlices()) return t.pass();
  const child = spawn("sleep", ["60"]);
  try {
    const slice = sliceOf(`../../${child.pid}`);
    if (slice !== undefined && os.getPriority() >= 0) t.not(slice, 100_000);
    else t.pass();
  } finally {
    child.kill();
    await once(child, "exit");
  }
});
