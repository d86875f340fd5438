import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { QueueIndexerDuty } from "../src/runtime/duties.ts";
import { runDuty, STOP_INDEXERS } from "../src/runtime/duty.ts";
import type { EngineInit } from "../src/store/engine-init.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const { init, topics } = workerData as { init: EngineInit; topics: MessagePort };
const log = new SharedLog(init.shared);
const duty = new QueueIndexerDuty(init, await loadDrive(init.drive), topics);
parentPort!.postMessage("ready");
// With SYNC_FLUSH it waits for the disk: a message is handed out that much later.
const naps = { napMs: 1, napMsMax: init.isSyncFlush ? 1 : 4, napCount: 20 };
runDuty(duty, log.doorbell(shared.DOORBELL_QUEUE_INDEXER), log, STOP_INDEXERS, 1000, naps);
