import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../src/format/shared/shared-words.ts";
import { loadDrive } from "../src/os/choose.ts";
import { FlusherDuty, type FlusherInit } from "../src/runtime/duties.ts";
import { runDuty, STOP_FLUSHER } from "../src/runtime/duty.ts";
import { SharedLog } from "../src/store/shared-log.ts";

const init = workerData as FlusherInit;
const { engine } = init;
const log = new SharedLog(engine.shared);
const duty = new FlusherDuty(init, await loadDrive(engine.drive));
parentPort!.postMessage("ready");
runDuty(
  duty,
  log.doorbell(shared.DOORBELL_FLUSHER),
  log,
  STOP_FLUSHER,
  Math.min(engine.flushIntervalMs, engine.queueFlushIntervalMs),
);
