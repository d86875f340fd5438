import path from "node:path";
import type { FileNames } from "../../os/api.ts";

/**
 * `abort` exists while a broker runs, so finding it at start means that the last one did not end well.
 * We also note the boot of the machine: if it is still the same, only the process died, and everything
 * written to the page cache is there.
 */
export type LastExit = "clean" | "process-died" | "machine-died";

export function lastExit(names: FileNames, abortFile: string): LastExit {
  const text = names.readSmall(abortFile)?.toString("latin1");
  if (text === undefined) return "clean";
  const boot = bootId(names);
  return boot !== "" && text.includes(`boot=${boot}`) ? "process-died" : "machine-died";
}

/** On return the file is on the disk, its name too: else a power cut would look like a clean stop. */
export function writeAbortFile(names: FileNames, abortFile: string): void {
  names.writeSmall(abortFile, Buffer.from(`${process.pid} boot=${bootId(names)}\n`));
  names.syncDirectory(path.dirname(abortFile));
}

export function removeAbortFile(names: FileNames, abortFile: string): void {
  names.remove(abortFile);
}

function bootId(names: FileNames): string {
  try {
    return names.readSmall("/proc/sys/kernel/random/boot_id")?.toString("latin1").trim() ?? "";
  } catch {
    return "";
  }
}
