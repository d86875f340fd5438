import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { WriterDuty } from "../src/runtime/duties.ts";
import { runDuty, STOP_WRITER } from "../src/runtime/duty.ts";
import type { EngineInit } from "../src/store/engine-init.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const init = workerData as EngineInit;
const log = new SharedLog(init.shared);
const duty = new WriterDuty(init, await loadDrive(init.drive));
parentPort!.postMessage("ready");
runDuty(duty, log.doorbell(shared.DOORBELL_WRITER), log, STOP_WRITER, 1000);
