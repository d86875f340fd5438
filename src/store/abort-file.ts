import { readSmallFile, removeFile, writeSmallFile } from "../os/files.ts";

/**
 * `abort` exists while a broker runs, so finding it at start means that the last one did not end well.
 * We also note the boot of the machine: if it is still the same, only the process died, and everything
 * written to the page cache is there.
 */
export type LastExit = "clean" | "process-died" | "machine-died";

export function lastExit(abortFile: string): LastExit {
  const text = readSmallFile(abortFile)?.toString("latin1");
  if (text === undefined) return "clean";
  const boot = bootId();
  return boot !== "" && text.includes(`boot=${boot}`) ? "process-died" : "machine-died";
}

export function writeAbortFile(abortFile: string): void {
  writeSmallFile(abortFile, Buffer.from(`${process.pid} boot=${bootId()}\n`));
}

export function removeAbortFile(abortFile: string): void {
  removeFile(abortFile);
}

function bootId(): string {
  try {
    return readSmallFile("/proc/sys/kernel/random/boot_id")?.toString("latin1").trim() ?? "";
  } catch {
    return "";
  }
}
