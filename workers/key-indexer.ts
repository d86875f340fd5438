import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { runDuty, STOP_INDEXERS } from "../src/runtime/duty.ts";
import { KeyIndexerDuty, type KeyIndexerInit } from "../src/runtime/key-indexer-duty.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const init = workerData as KeyIndexerInit;
const log = new SharedLog(init.engine.shared);
const duty = new KeyIndexerDuty(init, await loadDrive(init.engine.drive));
parentPort!.postMessage("ready");
runDuty(duty, log.doorbell(shared.DOORBELL_KEY_INDEXER), log, STOP_INDEXERS, 1000, { napMs: 50, napCount: 20 });
