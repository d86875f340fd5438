import path from "node:path";
import type { CompactionFiles } from "../broker/topics/compaction.ts";
import type { Log } from "../observe/log.ts";
import { removeTree } from "../os/files.ts";
import type { CompactResult } from "../store/queue/compact-queue.ts";
import { type CompactedQueue, openCompactedQueue, removeCompactedExcept } from "../store/queue/compacted-queue.ts";
import { queueDirectory } from "../store/queue/consume-queue.ts";
import { Compactor } from "./compactor.ts";
import type { Engine } from "./engine.ts";
import type { EngineStore } from "./engine-store.ts";

/** The compacted files of a broker's store. */
export class StoreCompaction implements CompactionFiles {
  readonly #engine: Engine;
  readonly #store: EngineStore;
  readonly #log: Log;
  readonly #compactor: Compactor;

  constructor(engine: Engine, store: EngineStore, log: Log) {
    this.#engine = engine;
    this.#store = store;
    this.#log = log;
    this.#compactor = new Compactor(engine.drive.name);
  }

  #directory(topic: string, queueId: number): string {
    return queueDirectory(this.#engine.paths.compaction, topic, queueId);
  }

  open(topic: string, queueId: number): CompactedQueue | undefined {
    const queue = openCompactedQueue(this.#engine.drive, this.#directory(topic, queueId), (file) =>
      this.#log.error({ topic, queueId, file }, "a file of compacted messages is damaged, and not read"),
    );
    if (queue?.checkTable() === false)
      this.#log.error(
        { topic, queueId, file: queue.path },
        "the table of compacted messages is damaged, and made anew in memory",
      );
    return queue;
  }

  compact(topic: string, queueId: number, previous: string | undefined, from: number, upTo: number): Promise<CompactResult> {
    const { paths, init } = this.#engine;
    return this.#compactor.run({
      directory: this.#directory(topic, queueId),
      previous,
      queueDirectory: queueDirectory(paths.consumeQueue, topic, queueId),
      queueFileSize: init.queueFileSize,
      slot: this.#engine.topics.slotOf(topic, queueId) ?? 0,
      queueSlots: init.queueSlots,
      logDirectory: paths.commitLog,
      logFileSize: init.logFileSize,
      from,
      upTo,
      logEnd: this.#store.maxPhysicalOffset(),
    });
  }

  keepOnly(topic: string, queueId: number, file: string, damaged: string | undefined): void {
    removeCompactedExcept(this.#engine.drive, this.#directory(topic, queueId), file, damaged);
  }

  remove(topic: string): void {
    removeTree(path.join(this.#engine.paths.compaction, topic));
  }

  close(): Promise<void> {
    return this.#compactor.close();
  }
}
