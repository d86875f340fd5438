import { MillraceError } from "../base/errors.ts";

/**
 * Runs this program anew in its own place, under the same process id, with V8's profiler in each of its threads; each leaves a file
 * in `directory` at its end. Does nothing where that has happened.
 * @throws MillraceError where Node cannot replace a running program
 */
export function profileAllThreads(directory: string): void {
  if (process.execArgv.includes("--cpu-prof")) return;
  const flags = ["--cpu-prof", `--cpu-prof-dir=${directory}`];
  // Missing before Node 22.15, and on Windows.
  if (process.execve === undefined)
    throw new MillraceError(
      "MILLRACE_CONFIG_INVALID",
      `--cpu-prof needs Node 22.15; else: node ${flags.join(" ")} ${process.argv[1]} …`,
    );
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...flags, ...process.argv.slice(1)], process.env);
}
