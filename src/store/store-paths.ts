import path from "node:path";

/** Directory layout of a store. Source: Apache `StorePathConfigHelper`, `BrokerPathConfigHelper`. */
export class StorePaths {
  readonly root: string;
  readonly commitLog: string;
  readonly consumeQueue: string;
  readonly batchConsumeQueue: string;
  readonly consumeQueueExt: string;
  readonly index: string;
  readonly compaction: string;
  /** Ours alone: format/files/log-checksums.ts. */
  readonly checksums: string;
  readonly config: string;
  readonly checkpoint: string;
  /** Ours alone: format/files/queue-bounds.ts. */
  readonly queueBounds: string;
  readonly abort: string;
  readonly lock: string;

  constructor(root: string, commitLog: string = path.join(root, "commitlog")) {
    this.root = root;
    this.commitLog = commitLog;
    this.consumeQueue = path.join(root, "consumequeue");
    this.batchConsumeQueue = path.join(root, "batchconsumequeue");
    this.consumeQueueExt = path.join(root, "consumequeue_ext");
    this.index = path.join(root, "index");
    this.compaction = path.join(root, "compaction");
    this.checksums = path.join(root, "checksums");
    this.config = path.join(root, "config");
    this.checkpoint = path.join(root, "checkpoint");
    this.queueBounds = path.join(root, "queuebounds");
    this.abort = path.join(root, "abort");
    this.lock = path.join(root, "lock");
  }
}
