// Goal: a process that has become idle gives its memory back, and once more when it has been idle for a while: at the first time it
// may only have waited for a core.
// Method: this process is idle while it waits; what is counted is how often the other threads are told.
import test from "ava";
import { IdleMemory } from "../../src/runtime/idle-memory.ts";

test("an idle process gives its memory back twice", async (t) => {
  t.timeout(120_000);
  let told = 0;
  const memory = await IdleMemory.start("native-free", () => told++);
  t.teardown(() => memory.stop());
  while (told < 2) await new Promise((resolve) => setTimeout(resolve, 100));
  t.is(told, 2);
});
