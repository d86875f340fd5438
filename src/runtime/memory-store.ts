import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { diskUse, listDirectory, removeTree } from "../os/files.ts";
import { isProcessGone, namedHolder } from "../os/store-lock.ts";
import { batchFileSizeFor } from "../store/queue/batch-consume-queue.ts";
import { StorePaths } from "../store/store-paths.ts";

/** Files of a memory store are small: its pages are never written out. */
const MEMORY_FILE_SIZE = 33_554_432;
const MEMORY_QUEUE_FILE_SIZE = 200_000;

/**
 * A new directory in memory, or among the system's temporary ones where there is no such place. Takes away those that killed
 * brokers have left, which would fill the memory.
 */
export function makeMemoryDirectory(root: string = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir()): string {
  const namespace = pidNamespace();
  for (const name of listDirectory(root)) {
    const [, pid, of] = /^millrace-(\d+)-(\d+)-\w{6}$/.exec(name) ?? [];
    if (pid !== undefined && of === namespace) removeIfLeft(path.join(root, name), Number(pid));
  }
  return fs.mkdtempSync(path.join(root, `millrace-${process.pid}-${namespace}-`));
}

/** Containers may share the memory, and still count their processes apart. "0": not known. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(fs.readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

/** Others may put there what they like: only what is ours is opened, and nothing that could make us wait. */
function removeIfLeft(directory: string, pid: number): void {
  try {
    const made = fs.lstatSync(directory);
    if (!made.isDirectory() || made.uid !== process.geteuid?.() || !isProcessGone(pid)) return;
    const { lock } = new StorePaths(directory);
    const holder = fs.lstatSync(lock, { throwIfNoEntry: false })?.isFile() === true ? namedHolder(lock) : undefined;
    if (holder === undefined || isProcessGone(holder)) removeTree(directory);
  } catch {
    // Another start was faster.
  }
}

/** Configuration of a store in memory that lies in `directory`, where nothing else is asked for. */
export function memoryDefaults(directory: string): [string, string][] {
  // Where containers have 64 MiB there, one file and the next must leave room.
  const eighth = Math.floor(diskUse(directory).totalBytes / 8);
  return [
    ["mappedFileSizeCommitLog", String(Math.max(MEMORY_FILE_SIZE / 4, Math.min(MEMORY_FILE_SIZE, eighth)))],
    ["mappedFileSizeConsumeQueue", String(MEMORY_QUEUE_FILE_SIZE)],
    ["mapperFileSizeBatchConsumeQueue", String(batchFileSizeFor(MEMORY_QUEUE_FILE_SIZE))],
    ["maxHashSlotNum", "50000"],
    ["maxIndexNum", "200000"],
    ["blockChecksumRate", "0"], // Nobody verifies what ends with the broker.
  ];
}
