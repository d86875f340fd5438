import { Bench } from "tinybench";

/** Operations inside one timed call: one call of the timer costs about as much as what is measured. */
const REPEATS = 200;

/**
 * Measures each task and prints the median time of one operation. With `--smoke` on the command line
 * it only shows that the tasks run. `work` makes sure that what the tasks computed is used.
 */
export async function runBench(title: string, tasks: Readonly<Record<string, () => void>>, work: () => number): Promise<void> {
  const smoke = process.argv.includes("--smoke");
  const bench = new Bench({
    time: smoke ? 1 : 500,
    iterations: smoke ? 2 : 64,
    warmupTime: smoke ? 1 : 250,
    warmupIterations: smoke ? 1 : 16,
  });
  for (const [name, task] of Object.entries(tasks)) {
    bench.add(name, () => {
      for (let i = 0; i < REPEATS; i++) task();
    });
  }
  await bench.run();
  console.log(title);
  for (const task of bench.tasks) {
    const result = task.result;
    if (!("latency" in result))
      throw new Error(`bench task failed: ${task.name}`, {
        cause: "error" in result ? result.error : undefined,
      });
    const nanoseconds = (result.latency.p50 * 1e6) / REPEATS;
    console.log(`  ${task.name.padEnd(56)} ${nanoseconds.toFixed(nanoseconds < 10 ? 2 : 0).padStart(8)} ns`);
  }
  console.log(`  work ${work() % 1_000_003}`);
}
