import { type ConfigKey, flag, INT_MAX, type KeyTable, oneOf, ours, text, whole } from "./config-key.ts";
import { parseDelayLevels } from "./delay-levels.ts";

/** Where and how messages are kept, and how much of them one request may read. Units are in the table below. */
export interface StoreValues {
  storePathRootDir: string;
  storePathCommitLog: string;
  mappedFileSizeCommitLog: number;
  mappedFileSizeConsumeQueue: number;
  mapperFileSizeBatchConsumeQueue: number;
  maxMessageSize: number;

  flushDiskType: "ASYNC_FLUSH" | "SYNC_FLUSH";
  syncFlushTimeout: number;
  flushIntervalCommitLog: number;
  flushCommitLogLeastPages: number;
  flushCommitLogThoroughInterval: number;
  flushIntervalConsumeQueue: number;
  flushConsumeQueueLeastPages: number;
  flushConsumeQueueThoroughInterval: number;
  osPageCacheBusyTimeOutMills: number;

  messageIndexEnable: boolean;
  maxHashSlotNum: number;
  maxIndexNum: number;
  maxMsgsNumBatch: number;
  defaultQueryMaxNum: number;

  maxTransferBytesOnMessageInMemory: number;
  maxTransferCountOnMessageInMemory: number;
  maxTransferBytesOnMessageInDisk: number;
  maxTransferCountOnMessageInDisk: number;
  accessMessageInMemoryMaxRatio: number;
  maxFilterMessageSize: number;

  fileReservedTime: number;
  deleteWhen: string;
  diskMaxUsedSpaceRatio: number;
  diskSpaceCleanForciblyRatio: number;
  diskSpaceWarningLevelRatio: number;
  cleanFileForciblyEnable: boolean;
  cleanResourceInterval: number;
  deleteFileBatchMax: number;
  deleteCommitLogFilesInterval: number;
  deleteConsumeQueueFilesInterval: number;
  redeleteHangedFileInterval: number;
  diskMaxUsedSpaceFreeBytes: number;
  diskSpaceCleanForciblyFreeBytes: number;
  diskSpaceWarningLevelFreeBytes: number;
  commitLogSizeMax: number;

  checkCRCOnRecover: boolean;
  checkCRCOnRead: boolean;
  enabledAppendPropCRC: boolean;
  forceVerifyPropCRC: boolean;
  commitLogRecoverMaxNum: number;

  messageDelayLevel: string;
  flushDelayOffsetInterval: number;
  timerWheelEnable: boolean;
  timerMaxDelaySec: number;
  timerPrecisionMs: number;
  timerRollWindowSlot: number;
  timerFlushIntervalMs: number;
  mappedFileSizeTimerLog: number;

  enableConsumeQueueExt: boolean;
  mappedFileSizeConsumeQueueExt: number;
  enableLmq: boolean;
  enableMultiDispatch: boolean;
  enableLmqQuota: boolean;
  maxLmqConsumeQueueNum: number;

  enableCompaction: boolean;
  compactionScheduleInternal: number;

  blockChecksumRate: number;
  dedupMaxEntries: number;

  nativeFree: boolean;
}

const DELAY_LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
const HOURS = /^([01]?\d|2[0-3])(;([01]?\d|2[0-3]))*$/;
/** RocketMQ spreads a log over several directories named in one list; this store has one. */
const ONE_PATH = /^[^,\u0000]*$/;

/** Source: Apache `MessageStoreConfig`. */
export const STORE_KEYS: KeyTable<StoreValues> = {
  storePathRootDir: text("", "Directory of the store; empty: store in the home directory.", ONE_PATH, "one path, without commas"),
  storePathCommitLog: text("", "Directory of the log; empty: commitlog in the store.", ONE_PATH, "one path, without commas"),
  mappedFileSizeCommitLog: whole(1_073_741_824, "bytes", 65_536, INT_MAX, "Size of one log file."),
  mappedFileSizeConsumeQueue: whole(6_000_000, "bytes", 20, INT_MAX, "Size of one file of a queue; made a multiple of 20."),
  mapperFileSizeBatchConsumeQueue: whole(
    13_800_000,
    "bytes",
    46,
    INT_MAX,
    "Size of one file of a queue of whole batches; made a multiple of 46.",
  ),
  maxMessageSize: whole(4_194_304, "bytes", 1, 134_217_728, "Largest message body."),

  flushDiskType: oneOf("ASYNC_FLUSH", ["ASYNC_FLUSH", "SYNC_FLUSH"], "SYNC_FLUSH answers a send when it is on the disk."),
  syncFlushTimeout: whole(5000, "ms", 1, INT_MAX, "Wait of a SYNC_FLUSH send for the disk."),
  flushIntervalCommitLog: whole(500, "ms", 1, INT_MAX, "Time between flushes of the log."),
  flushCommitLogLeastPages: whole(4, "pages of 4 KiB", 0, INT_MAX, "Fewer pages are not flushed yet."),
  flushCommitLogThoroughInterval: whole(10_000, "ms", 1, INT_MAX, "After this also fewer pages are flushed."),
  flushIntervalConsumeQueue: whole(1000, "ms", 1, INT_MAX, "Time between flushes of the queues."),
  flushConsumeQueueLeastPages: whole(2, "pages of 4 KiB", 0, INT_MAX, "Fewer pages of a queue are not flushed yet."),
  flushConsumeQueueThoroughInterval: whole(60_000, "ms", 1, INT_MAX, "After this also fewer pages of a queue are flushed."),
  osPageCacheBusyTimeOutMills: whole(1000, "ms", 1, INT_MAX, "An append that takes longer makes the broker busy."),

  messageIndexEnable: flag(true, "Index messages by key."),
  maxHashSlotNum: whole(5_000_000, "slots", 1, 100_000_000, "Hash slots of one index file."),
  maxIndexNum: whole(20_000_000, "entries", 2, 100_000_000, "Entries of one index file."),
  maxMsgsNumBatch: whole(64, "messages", 1, 10_000, "Most messages that one query by key finds."),
  defaultQueryMaxNum: whole(32, "messages", 1, 10_000, "Messages of a query that asks for no number."),

  maxTransferBytesOnMessageInMemory: whole(262_144, "bytes", 1, 134_217_728, "Read by one pull near the end of the log."),
  maxTransferCountOnMessageInMemory: whole(32, "messages", 1, INT_MAX, "Read by one pull near the end of the log."),
  maxTransferBytesOnMessageInDisk: whole(65_536, "bytes", 1, 134_217_728, "Read by one pull far behind."),
  maxTransferCountOnMessageInDisk: whole(8, "messages", 1, INT_MAX, "Read by one pull far behind."),
  accessMessageInMemoryMaxRatio: whole(40, "% of the memory", 0, 100, "How far behind the end of the log far behind begins."),
  maxFilterMessageSize: whole(16_000, "bytes", 20, INT_MAX, "Queue entries that one filtered pull looks at."),

  fileReservedTime: whole(72, "hours", 0, INT_MAX, "Age at which files are deleted."),
  deleteWhen: text("04", "Hours of the day in which old files are deleted.", HOURS, "hours 00 to 23, several separated by ;"),
  diskMaxUsedSpaceRatio: whole(75, "%", 10, 95, "Disk usage above which old files are deleted at any hour."),
  diskSpaceCleanForciblyRatio: whole(85, "%", 30, 85, "Disk usage above which files are deleted whatever their age."),
  diskSpaceWarningLevelRatio: whole(90, "%", 35, 90, "Disk usage above which sends are refused."),
  cleanFileForciblyEnable: flag(true, "Delete files whatever their age when the disk is nearly full."),
  cleanResourceInterval: whole(10_000, "ms", 1, INT_MAX, "Time between looks for files to delete."),
  deleteFileBatchMax: whole(10, "files", 1, INT_MAX, "Most files deleted at one look."),
  deleteCommitLogFilesInterval: whole(100, "ms", 0, INT_MAX, "Pause between the deletions of two log files."),
  deleteConsumeQueueFilesInterval: whole(100, "ms", 0, INT_MAX, "Pause between the deletions of two files of queues."),
  redeleteHangedFileInterval: whole(120_000, "ms", 1, INT_MAX, "A file that could not be deleted is tried again after this."),
  diskMaxUsedSpaceFreeBytes: freeBytes("old files are deleted at any hour", "diskMaxUsedSpaceRatio"),
  diskSpaceCleanForciblyFreeBytes: freeBytes("files are deleted whatever their age", "diskSpaceCleanForciblyRatio"),
  diskSpaceWarningLevelFreeBytes: freeBytes("sends are refused", "diskSpaceWarningLevelRatio"),
  commitLogSizeMax: ours(
    whole(0, "bytes", 0, Number.MAX_SAFE_INTEGER, "Size of the log above which its oldest files are deleted; 0: any."),
  ),

  checkCRCOnRecover: flag(true, "Check the bodies of messages when a store is recovered."),
  checkCRCOnRead: ours(flag(false, "Check each message before it is handed to a consumer; damaged ones are passed over.")),
  enabledAppendPropCRC: flag(false, "Store a checksum of each whole record, its times, hosts and properties too, and check it."),
  forceVerifyPropCRC: flag(false, "Check the whole records' checksums, where there are any, also if none are stored any more."),
  commitLogRecoverMaxNum: whole(10, "files", 1, INT_MAX, "Log files that recovery goes back."),

  messageDelayLevel: levels(DELAY_LEVELS, "Delays of the levels 1, 2 and so on."),
  flushDelayOffsetInterval: whole(10_000, "ms", 1, INT_MAX, "Time between writes of the delay offsets."),
  timerWheelEnable: flag(true, "Take messages with a delivery time of their own."),
  timerMaxDelaySec: whole(259_200, "s", 1, INT_MAX, "Furthest delivery time."),
  timerPrecisionMs: whole(1000, "ms", 10, 1000, "Grain of delivery times: messages are up to so much late."),
  timerRollWindowSlot: whole(172_800, "grains", 0, INT_MAX, "What is due later than that is stored anew on the way."),
  timerFlushIntervalMs: whole(1000, "ms", 1, INT_MAX, "Time between flushes of the timer's files."),
  mappedFileSizeTimerLog: whole(104_857_600, "bytes", 4096, INT_MAX, "Size of one file of the timer log."),

  enableConsumeQueueExt: flag(false, "Keep more of each message beside its queue entry: store time, and who filters it out."),
  mappedFileSizeConsumeQueueExt: whole(50_331_648, "bytes", 65_536, INT_MAX, "Size of one file of what stands beside a queue."),
  enableLmq: flag(false, "Take %LMQ% names: queues that messages of other topics go to as well, and groups that read them."),
  enableMultiDispatch: flag(false, "With enableLmq: messages go to the queues that their INNER_MULTI_DISPATCH names."),
  enableLmqQuota: flag(false, "Refuse messages and pulls that name more queues than maxLmqConsumeQueueNum."),
  maxLmqConsumeQueueNum: whole(20_000, "queues", 0, INT_MAX, "Most queues of %LMQ% names."),

  enableCompaction: flag(true, "Compact topics with cleanup.policy=COMPACTION."),
  compactionScheduleInternal: whole(900_000, "ms", 1, INT_MAX, "Time between compactions of a topic."),

  blockChecksumRate: ours(
    whole(32, "MiB/s", 0, 10_000, "Work on checksums of the log, which verify compares; four times as much at rest; 0: none."),
  ),
  dedupMaxEntries: ours(
    whole(
      1_048_576,
      "messages",
      0,
      67_108_864,
      "Most messages that are remembered for topics with dedup.window.seconds; 0: none.",
    ),
  ),

  nativeFree: ours(flag(false, "Use no native code: plain reads and writes instead of mapped files and sendfile.")),
};

function freeBytes(what: string, instead: string): ConfigKey<number> {
  const about = `Free space of the disk below which ${what}, instead of by ${instead}; 0: by that.`;
  return ours(whole(0, "bytes", 0, Number.MAX_SAFE_INTEGER, about));
}

function levels(byDefault: string, about: string): ConfigKey<string> {
  const parse = (value: string) => (parseDelayLevels(value) === undefined ? undefined : value);
  return { ...text(byDefault, about), allowed: "delays such as 1s 5s 10m 2h 1d, separated by blanks", parse };
}
