import { parentPort, workerData } from "node:worker_threads";
import { loadDrive } from "../src/os/choose.ts";
import { TimerDuty, type TimerInit } from "../src/runtime/timer-duty.ts";

const init = workerData as TimerInit;
const duty = new TimerDuty(init, await loadDrive(init.engine.drive));
parentPort!.postMessage("ready");
duty.run();
