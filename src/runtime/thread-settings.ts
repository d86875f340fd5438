import os from "node:os";
import type { Clock } from "../base/clock.ts";
import { storedBatchTopics } from "../broker/topics/topics.ts";
import { parseDelayLevels } from "../config/delay-levels.ts";
import type { ConfigValues } from "../config/keys.ts";
import type { OffsetCells } from "../format/shared/offset-cells.ts";
import type { Log } from "../observe/log.ts";
import { openFilesLimit } from "../os/files.ts";
import type { IoWorkerInit } from "../remoting/io-worker-init.ts";
import { CHECK_FORM, recordCheck } from "../store/log/log-scan.ts";
import type { ReadLimits } from "../store/queue/queue-reader.ts";
import { StorePaths } from "../store/store-paths.ts";
import type { Engine, EngineOptions } from "./engine.ts";

/** What the store and its threads are told. */
export function engineOptions(values: ConfigValues, clock: Clock, log: Log, onFailure: (error: Error) => void): EngineOptions {
  return {
    storePath: values.storePathRootDir,
    commitLogPath: values.storePathCommitLog,
    isNativeFree: values.nativeFree,
    logFileSize: values.mappedFileSizeCommitLog,
    queueFileSize: values.mappedFileSizeConsumeQueue,
    batchQueueFileSize: values.mapperFileSizeBatchConsumeQueue,
    batchTopics: storedBatchTopics(new StorePaths(values.storePathRootDir).config),
    recordSizeMax: values.maxMessageSize + 65_536,
    laneCount: values.ioWorkers + 2, // The control thread, and the timer.
    pullLaneCount: values.ioWorkers + 1,
    writerLane: values.logWriterThread === "own" || values.ioWorkers > 1 ? -1 : 0,
    isSyncFlush: values.flushDiskType === "SYNC_FLUSH",
    flushIntervalMs: values.flushIntervalCommitLog,
    flushLeastPages: values.flushCommitLogLeastPages,
    flushThoroughIntervalMs: values.flushCommitLogThoroughInterval,
    queueFlushIntervalMs: values.flushIntervalConsumeQueue,
    queueFlushLeastPages: values.flushConsumeQueueLeastPages,
    queueFlushThoroughIntervalMs: values.flushConsumeQueueThoroughInterval,
    checksumBytesPerSecond: values.blockChecksumRate * 1_048_576,
    check: values.checkCRCOnRecover ? recordCheck(values) : CHECK_FORM,
    hasRecordCrc: values.enabledAppendPropCRC,
    delayLevelsMs: parseDelayLevels(values.messageDelayLevel) ?? [],
    queueExtFileSize: values.enableConsumeQueueExt ? values.mappedFileSizeConsumeQueueExt : 0,
    isLmq: values.enableLmq,
    isMultiDispatch: values.enableMultiDispatch,
    dedupMaxEntries: values.dedupMaxEntries,
    isIndexed: values.messageIndexEnable,
    indexSlotCount: values.maxHashSlotNum,
    indexEntryCount: values.maxIndexNum,
    clock,
    log,
    onFailure,
  };
}

/** What an I/O worker is told. */
export function ioWorkerInit(
  engine: Engine,
  values: ConfigValues,
  worker: number,
  storeHost: string,
  cells: OffsetCells,
  counters: SharedArrayBuffer,
): IoWorkerInit {
  return {
    engine: engine.init,
    worker,
    host: values.bindAddress,
    port: values.listenPort,
    reusePort: values.ioWorkers > 1,
    transport: values.transport,
    storeHost,
    regionId: values.regionId,
    traceOn: values.traceOn,
    clusterName: values.brokerClusterName,
    maxMessageSize: values.maxMessageSize,
    sendWaitMsMax: values.waitTimeMillsInSendQueue,
    pageCacheBusyMs: values.osPageCacheBusyTimeOutMills,
    idleMsMax: values.serverChannelMaxIdleTimeSeconds * 1000,
    connectionsMax: connectionsMaxOf(values),
    limits: readLimits(values),
    isLongPolling: values.longPollingEnable,
    shortPollingMs: values.shortPollingTimeMills,
    syncFlushTimeoutMs: values.syncFlushTimeout,
    offsetCells: cells.memory,
    counters,
  };
}

/** Connections leave descriptors for the store's files: half of a small number, else 1,024 and an eighth, for those of queues. */
function connectionsMaxOf({ connectionsMax, ioWorkers }: ConfigValues): number {
  const openFilesMax = openFilesLimit();
  const reserved = Math.min(1024 + Math.floor(openFilesMax / 8), Math.floor(openFilesMax / 2));
  return Math.min(connectionsMax, Math.max(1, Math.floor((openFilesMax - reserved) / ioWorkers)));
}

/** How much a pull is given. */
export function readLimits(values: ConfigValues): ReadLimits {
  return {
    countInMemory: values.maxTransferCountOnMessageInMemory,
    sizeInMemory: values.maxTransferBytesOnMessageInMemory,
    countOnDisk: values.maxTransferCountOnMessageInDisk,
    sizeOnDisk: values.maxTransferBytesOnMessageInDisk,
    inMemoryDistance: inMemorySize(values),
    check: values.checkCRCOnRead ? recordCheck(values) : undefined,
  };
}

/** How far behind its end the log counts as in memory, bytes. */
export function inMemorySize({ accessMessageInMemoryMaxRatio }: ConfigValues): number {
  return (os.totalmem() * accessMessageInMemoryMaxRatio) / 100;
}
