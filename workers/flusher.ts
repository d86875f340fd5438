import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { FlusherDuty } from "../src/runtime/duties.ts";
import { runDuty, STOP_FLUSHER } from "../src/runtime/duty.ts";
import type { EngineInit } from "../src/store/engine-init.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const init = workerData as EngineInit;
const log = new SharedLog(init.shared);
const duty = new FlusherDuty(init, await loadDrive(init.drive));
parentPort!.postMessage("ready");
runDuty(duty, log.doorbell(shared.DOORBELL_FLUSHER), log, STOP_FLUSHER, init.flushIntervalMs);
