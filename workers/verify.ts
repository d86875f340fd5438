import { workerData } from "piscina";
import { loadDrive } from "../src/os/choose.ts";
import { runVerifyTask, type VerifyInit, type VerifyTask, type VerifyTaskResult } from "../src/store/verify/verify-task.ts";

const init = workerData as VerifyInit;
const drive = await loadDrive(init.drive);

/** Checks a part of a stopped store. Nothing else runs in this thread, so it may take as long as it needs. */
export default function verify(task: VerifyTask): VerifyTaskResult {
  return runVerifyTask(drive, init, task);
}
