import { workerData } from "piscina";
import type { DriveName } from "../src/os/api.ts";
import { loadDrive } from "../src/os/choose.ts";
import { type CompactResult, type CompactTask, compactQueue } from "../src/store/queue/compact-queue.ts";

const drive = await loadDrive(workerData as DriveName);

/** Compacts one queue. Nothing else runs in this thread, so it may take as long as it needs. */
export default function compact(task: CompactTask): CompactResult {
  return compactQueue(drive, task);
}
