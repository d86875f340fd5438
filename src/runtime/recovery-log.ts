import type { Clock } from "../base/clock.ts";
import type { Log } from "../observe/log.ts";
import type { RecoveredStore } from "../store/recovery/recovery.ts";

const PROGRESS_MS = 500;
const DAMAGES_REPORTED_MAX = 10;

/** Logs how far a long piece of the recovery is, twice a second, and its end. */
export function progressLog(clock: Clock, log: Log, what: string): (done: number, total: number) => void {
  let nextMs = clock.now() + PROGRESS_MS;
  let hasTold = false;
  return (done, total) => {
    if (clock.now() < nextMs && !(hasTold && done >= total)) return;
    hasTold = true;
    nextMs = clock.now() + PROGRESS_MS;
    log.info({ done, total, percent: Math.floor((100 * done) / Math.max(1, total)) }, what);
  };
}

/** Logs what a start has found. */
export function reportRecovery(recovered: RecoveredStore, log: Log): void {
  const { exit, gaps, damages, scannedRecords, appendedOffset, dispatchFrom, queues, lostSize } = recovered;
  const queueCount = queues.length;
  log.info({ exit, appendedOffset, dispatchFrom, queueCount, scannedRecords }, "store recovered");
  for (const gap of gaps) log.error({ ...gap }, "a stretch of the log cannot be read; what follows is kept");
  if (lostSize > 0)
    log.error(
      { appendedOffset, lostSize },
      "the end of the log was cut at a damaged record, though it had been whole on the disk",
    );
  for (const damage of damages.slice(0, DAMAGES_REPORTED_MAX)) log.warn(damage, "a queue is made anew from the log");
  if (damages.length > DAMAGES_REPORTED_MAX) log.warn({ count: damages.length }, "queues are made anew from the log");
}
