// Compiling hostile SQL92 expressions: as the first of its thread, where nothing is optimised yet, and again and again.
// 5 ms is what a consumer may cost the thread that serves others (README, Limits).
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { SqlFilter } from "../../src/filter/sql-filter.ts";
import { isSmoke, runBench, type Task } from "./harness.ts";
import { HOSTILE_SQL } from "./hostile-sql.ts";

const COLD_RUNS = isSmoke ? 1 : 7;

async function cold(expression: string): Promise<{ ms: number; outcome: string }> {
  const worker = new Worker(new URL("./sql-compile-thread.ts", import.meta.url), { workerData: expression });
  const [told] = (await once(worker, "message")) as [{ ms: number; outcome: string }];
  await worker.terminate();
  return told;
}

console.log(`SQL expressions, compiled as a thread's first; the least of ${COLD_RUNS} threads, ms of CPU`);
for (const [name, expression] of Object.entries(HOSTILE_SQL)) {
  const runs: { ms: number; outcome: string }[] = [];
  for (let run = 0; run < COLD_RUNS; run++) runs.push(await cold(expression));
  const ms = Math.min(...runs.map((run) => run.ms));
  console.log(`  ${name.padEnd(56)} ${ms.toFixed(2).padStart(8)} ms  ${runs[0]!.outcome.slice(0, 60)}`);
}

let work = 0;
const tasks: Record<string, Task> = {};
for (const [name, expression] of Object.entries(HOSTILE_SQL)) {
  const run = (): void => {
    try {
      work += new SqlFilter(expression).steps + 1;
    } catch (error) {
      work += (error as Error).message.length;
    }
  };
  tasks[name] = { run, count: 1 };
}
await runBench("SQL expressions, compiled again and again", tasks, () => work);
