import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Bench } from "tinybench";

/** Operations inside one timed call: one call of the timer costs about as much as what is measured. */
const REPEATS = 200;

/** One operation; or `run`, which does `count` of them at a time. */
export type Task = (() => void) | { run: () => void; count: number };

/** One line of the file given with `--lines`: JSON, one object a bench file. */
export interface BenchResult {
  title: string;
  /** Of what the tasks computed. */
  work: number;
  tasks: Record<string, TaskResult>;
}

export interface TaskResult {
  /** Median time of one operation. */
  nanoseconds: number;
  /** Timed calls that the median is taken of, and operations in each. */
  samples: number;
  repeats: number;
}

const { values: flags } = parseArgs({ options: { smoke: { type: "boolean", default: false }, lines: { type: "string" } } });

/** Only shows that the tasks run. */
export const isSmoke: boolean = flags.smoke;

/**
 * Measures each task and prints the median time of one operation: the mean is worth nothing on a machine that
 * others use. `work` makes sure that what the tasks computed is used.
 */
export async function runBench(title: string, tasks: Readonly<Record<string, Task>>, work: () => number): Promise<void> {
  const bench = new Bench({
    time: isSmoke ? 1 : 500,
    iterations: isSmoke ? 2 : 64,
    warmupTime: isSmoke ? 1 : 250,
    warmupIterations: isSmoke ? 1 : 16,
  });
  for (const [name, task] of Object.entries(tasks)) bench.add(name, repeated(task));
  await bench.run();
  const results: BenchResult = { title, work: work() % 1_000_003, tasks: {} };
  console.log(title);
  for (const { name, result } of bench.tasks) {
    if (!("latency" in result)) {
      throw new Error(`bench task failed: ${name}`, { cause: "error" in result ? result.error : undefined });
    }
    const task = tasks[name]!;
    const repeats = typeof task === "function" ? REPEATS : task.count;
    const nanoseconds = (result.latency.p50 * 1e6) / repeats;
    const digits = nanoseconds < 10 ? 2 : 0;
    console.log(`  ${name.padEnd(56)} ${nanoseconds.toFixed(digits).padStart(8)} ns`);
    results.tasks[name] = { nanoseconds: Number(nanoseconds.toFixed(digits)), samples: result.latency.samplesCount, repeats };
  }
  console.log(`  work ${results.work}`);
  if (flags.lines !== undefined) appendFileSync(flags.lines, `${JSON.stringify(results)}\n`);
}

function repeated(task: Task): () => void {
  if (typeof task !== "function") return task.run;
  return () => {
    for (let i = 0; i < REPEATS; i++) task();
  };
}
