import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { runDuty, STOP_WRITER } from "../src/runtime/duty.ts";
import type { EngineInit } from "../src/store/engine-init.ts";
import { LogWriter } from "../src/store/log/log-writer.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const init = workerData as EngineInit;
const log = new SharedLog(init.shared);
const duty = new LogWriter(init, await loadDrive(init.drive), -1);
parentPort!.postMessage("ready");
runDuty(duty, log.doorbell(shared.DOORBELL_WRITER), log, STOP_WRITER, 1000);
