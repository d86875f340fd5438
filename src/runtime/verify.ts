import path, { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import { thisMachine } from "../config/machine.ts";
import { INDEX_SHAPE_DEFAULT } from "../format/files/index-file.ts";
import { chooseDrive } from "../os/choose.ts";
import { StorePaths } from "../store/store-paths.ts";
import { Findings } from "../store/verify/verify-findings.ts";
import { readLayout, type StoreLayout, type StoreLayoutOptions } from "../store/verify/verify-layout.ts";
import { joinParts, type LogPart } from "../store/verify/verify-log-parts.ts";
import { markRanges } from "../store/verify/verify-marks.ts";
import { reportOf, type VerifyReport } from "../store/verify/verify-report.ts";
import { taskSize, type VerifyInit, type VerifyTask, type VerifyTaskResult, verifyTasks } from "../store/verify/verify-task.ts";

export interface VerifyOptions extends Omit<StoreLayoutOptions, "indexShape"> {
  indexShape?: StoreLayoutOptions["indexShape"];
  /** Bytes of a log file that are checked in one go. */
  logPartSize?: number;
  /** Run without foreign calls. Default: only where they do not work. */
  nativeFree?: boolean;
  /** Called when the work begins: `bytesTotal` is what `progress().bytes` ends at. */
  onStart?: (bytesTotal: number, progress: () => { bytes: number; count: number }) => void;
}

/**
 * Checks all of a stopped store: every record, every queue entry, every index entry, each against the others; and the files of compacted topics.
 * Writes nothing, and takes no notice of what a start would put right. The checks run on a pool of threads, a part of
 * a log file, a batch of queues or an index file a task; the calling thread only waits.
 * @throws MillraceError MILLRACE_STORE_LOCKED (a broker runs, or was started meanwhile), MILLRACE_CONFIG_INVALID (no
 *   store there), MILLRACE_STORE_IO
 */
export async function verifyStore(options: VerifyOptions): Promise<VerifyReport> {
  const storePath = path.resolve(options.storePath);
  const { drive } = await chooseDrive(options.nativeFree ?? false);
  const paths = new StorePaths(storePath);
  const lock = drive.lockForReading(paths.lock);
  try {
    const findings = new Findings();
    const layout = readLayout(drive, { ...options, storePath, indexShape: options.indexShape ?? INDEX_SHAPE_DEFAULT }, findings);
    const tasks = verifyTasks(layout, options.logPartSize);
    const progress = new SharedArrayBuffer(Math.max(1, tasks.length) * 16);
    const done = new Float64Array(progress);
    const bytesTotal = tasks.reduce((sum, task) => sum + taskSize(layout, task), 0);
    options.onStart?.(bytesTotal, () => {
      const state = { bytes: 0, count: 0 };
      for (let i = 0; i < done.length; i += 2) {
        state.bytes += done[i]!;
        state.count += done[i + 1]!;
      }
      return state;
    });
    const marks = markRanges(drive, layout);
    const results = await runAll(tasks, { drive: drive.name, layout, marks, progress });
    // The other drive cannot keep a broker out, and what was found while one wrote is worth nothing.
    drive.lockForReading(paths.lock).release();
    return reportOf(storePath, layout, findings, results);
  } finally {
    lock.release();
  }
}

async function runAll(tasks: readonly VerifyTask[], init: VerifyInit): Promise<VerifyTaskResult[]> {
  if (tasks.length === 0) return [];
  const file = new URL(`../../workers/verify${extname(import.meta.filename)}`, import.meta.url);
  const pool = new Piscina<unknown, VerifyTaskResult>({
    filename: fileURLToPath(file),
    workerData: init,
    minThreads: 0,
    maxThreads: Math.min(tasks.length, thisMachine().processors),
    execArgv: process.execArgv.filter((argument) => !argument.startsWith("--input-type")),
  });
  try {
    const runThese = (these: readonly VerifyTask[]): Promise<VerifyTaskResult[]> =>
      Promise.all(these.map((task) => pool.run(task)));
    const log = await runThese(tasks.filter(({ kind }) => kind === "log"));
    const whole = tasksOfWholeFiles(init.layout, log);
    const again = await runThese(whole);
    const isReplaced = new Set(whole.map(({ fileIndex }) => fileIndex));
    const kept = log.filter((result) => !isReplaced.has(result.log!.fileIndex));
    // Only now are all marks set.
    return [...kept, ...again, ...(await runThese(tasks.filter(({ kind }) => kind !== "log")))];
  } finally {
    await pool.destroy();
  }
}

/** One task for each log file whose parts do not join. */
function tasksOfWholeFiles({ logFiles }: StoreLayout, log: readonly VerifyTaskResult[]): (VerifyTask & LogPart)[] {
  return logFiles.flatMap(({ base, size }, fileIndex) => {
    const first = log.findIndex((result) => result.log?.fileIndex === fileIndex);
    const parts = log.flatMap((result) => (result.log?.fileIndex === fileIndex ? result.log : []));
    if (joinParts(parts) !== undefined) return [];
    // Its progress stands in the place of the first part's.
    return { kind: "log", id: first, fileIndex, start: base, end: base + size };
  });
}
