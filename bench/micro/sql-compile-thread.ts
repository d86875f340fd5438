// A thread that has never compiled an expression: compiles one, and tells what that took, ms of its CPU.
import { parentPort, workerData } from "node:worker_threads";
import { SqlFilter } from "../../src/filter/sql-filter.ts";

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
let outcome: string;
const start = cpuMs();
try {
  const filter = new SqlFilter(workerData as string);
  outcome = filter.steps >= 0 ? "compiled" : "";
} catch (error) {
  outcome = `refused: ${(error as Error).message}`;
}
parentPort!.postMessage({ ms: cpuMs() - start, outcome });
