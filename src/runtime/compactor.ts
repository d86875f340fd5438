import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import type { DriveName } from "../os/api.ts";
import type { CompactResult, CompactTask } from "../store/queue/compact-queue.ts";

const IDLE_MS = 10_000;

/** Compacts queues in a thread of their own, which exists only while there is work. */
export class Compactor {
  readonly #drive: DriveName;
  #pool: Piscina<CompactTask, CompactResult> | undefined;

  constructor(drive: DriveName) {
    this.#drive = drive;
  }

  /** @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO; an Error when closed meanwhile */
  run(task: CompactTask): Promise<CompactResult> {
    this.#pool ??= new Piscina<CompactTask, CompactResult>({
      filename: fileURLToPath(new URL(`../../workers/compact${extname(import.meta.filename)}`, import.meta.url)),
      workerData: this.#drive,
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: IDLE_MS,
      execArgv: process.execArgv.filter((argument) => !argument.startsWith("--input-type")),
    });
    return this.#pool.run(task);
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}
