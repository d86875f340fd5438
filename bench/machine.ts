import { execFileSync } from "node:child_process";
import os from "node:os";

/** Where and on what a result was measured: without it, a figure means nothing. */
export interface Provenance {
  /** ISO 8601. */
  date: string;
  /** Of the checkout that the bench belongs to; `+` at its end: with changes that are not committed. */
  commit: string;
  node: string;
  platform: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  /** Load average of the last minute at the start: how busy others kept the machine. */
  loadAverage: number;
}

export function provenance(): Provenance {
  return {
    date: new Date().toISOString(),
    commit: commit(),
    node: process.version,
    platform: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    loadAverage: Math.round(os.loadavg()[0]! * 100) / 100,
  };
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
    return git("rev-parse", "--short=12", "HEAD") + (isChanged ? "+" : "");
  } catch {
    return "unknown"; // Not a checkout, or no git.
  }
}
