import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Piscina } from "piscina";
import type { DriveName } from "../os/api.ts";
import type { CompactResult, CompactTask } from "../store/queue/compact-queue.ts";

const IDLE_MS = 10_000;

/** Compacts queues in a thread of their own, which exists only while there is work. */
export class Compactor {
  readonly #drive: DriveName;
  #pool: Promise<Piscina<CompactTask, CompactResult>> | undefined;

  constructor(drive: DriveName) {
    this.#drive = drive;
  }

  /** @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO; an Error when closed meanwhile */
  async run(task: CompactTask): Promise<CompactResult> {
    this.#pool ??= this.#start();
    return (await this.#pool).run(task);
  }

  /** The pool's code is loaded with the first task: a broker without compacted topics never needs it. */
  async #start(): Promise<Piscina<CompactTask, CompactResult>> {
    const { Piscina: Pool } = await import("piscina");
    return new Pool<CompactTask, CompactResult>({
      filename: fileURLToPath(new URL(`../../workers/compact${extname(import.meta.filename)}`, import.meta.url)),
      workerData: this.#drive,
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: IDLE_MS,
      execArgv: process.execArgv.filter((argument) => !argument.startsWith("--input-type")),
    });
  }

  async close(): Promise<void> {
    await (await this.#pool)?.destroy();
  }
}
