import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { diskUse } from "../os/files.ts";
import { batchFileSizeFor } from "../store/queue/batch-consume-queue.ts";

/** Files of a memory store are small: its pages are never written out. */
const MEMORY_FILE_SIZE = 33_554_432;
const MEMORY_QUEUE_FILE_SIZE = 200_000;

/** A new directory in memory, or among the system's temporary ones where there is no such place. */
export function makeMemoryDirectory(): string {
  const root = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
  return fs.mkdtempSync(path.join(root, `millrace-${process.pid}-`));
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
