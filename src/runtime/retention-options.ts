import type { ConfigValues } from "../config/keys.ts";
import type { RetentionOptions } from "./retention.ts";

const HOUR_MS = 3_600_000;

/** What RocketMQ's keys say of retention. */
export function retentionOptions(
  values: ConfigValues,
): Omit<RetentionOptions, "engine" | "clock" | "log" | "beforeDelete" | "onDeleted"> {
  return {
    watermarks: {
      clean: { usedRatio: values.diskMaxUsedSpaceRatio / 100, freeBytes: values.diskMaxUsedSpaceFreeBytes },
      cleanForcibly: { usedRatio: values.diskSpaceCleanForciblyRatio / 100, freeBytes: values.diskSpaceCleanForciblyFreeBytes },
      refuse: { usedRatio: values.diskSpaceWarningLevelRatio / 100, freeBytes: values.diskSpaceWarningLevelFreeBytes },
    },
    isForcible: values.cleanFileForciblyEnable,
    reservedMs: values.fileReservedTime * HOUR_MS,
    hours: new Set(values.deleteWhen.split(";").map(Number)),
    intervalMs: values.cleanResourceInterval,
    batchMax: values.deleteFileBatchMax,
    logFilePauseMs: values.deleteCommitLogFilesInterval,
    queueFilePauseMs: values.deleteConsumeQueueFilesInterval,
    retryMs: values.redeleteHangedFileInterval,
    logSizeMax: values.commitLogSizeMax,
  };
}
