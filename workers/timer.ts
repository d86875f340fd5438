import { parentPort, workerData } from "node:worker_threads";
import { saveCompileCache } from "../src/base/compile-cache.ts";
import { loadDrive } from "../src/os/choose.ts";
import { TimerDuty, type TimerInit } from "../src/runtime/timer-duty.ts";

const init = workerData as TimerInit;
const duty = new TimerDuty(init, await loadDrive(init.engine.drive));
parentPort!.postMessage("ready");
saveCompileCache();
duty.run();
