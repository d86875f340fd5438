import type { ConfigValues } from "../config/keys.ts";
import { resolveConfig } from "../config/resolve.ts";
import type { RetentionOptions } from "./retention.ts";

const HOUR_MS = 3_600_000;

const RETENTION_KEYS = [
  "fileReservedTime",
  "deleteWhen",
  "diskMaxUsedSpaceRatio",
  "diskSpaceCleanForciblyRatio",
  "diskSpaceWarningLevelRatio",
  "diskMaxUsedSpaceFreeBytes",
  "diskSpaceCleanForciblyFreeBytes",
  "diskSpaceWarningLevelFreeBytes",
  "cleanFileForciblyEnable",
  "cleanResourceInterval",
  "deleteFileBatchMax",
  "deleteCommitLogFilesInterval",
  "deleteConsumeQueueFilesInterval",
  "redeleteHangedFileInterval",
  "commitLogSizeMax",
] as const;

/** The broker's keys that say how long messages are kept, and when a disk is full. */
export type RetentionKeys = Pick<ConfigValues, (typeof RETENTION_KEYS)[number]>;

/** Those given, checked as the broker's configuration is; the others have its defaults. @throws MillraceError MILLRACE_CONFIG_INVALID */
export function checkedRetention(given: Partial<RetentionKeys>): RetentionKeys {
  const texts = RETENTION_KEYS.filter((key) => given[key] !== undefined).map((key) => [key, String(given[key])] as const);
  return resolveConfig([{ origin: "option", values: texts }]).values;
}

/** What RocketMQ's keys say of retention. */
export function retentionOptions(
  values: RetentionKeys,
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
