import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { type Clock, peersClock, SystemClock, VirtualClock } from "../base/clock.ts";
import type { ServedTotals } from "../broker/admin/broker-stats.ts";
import { ControlPlane } from "../broker/control-plane.ts";
import { BrokerRegistration } from "../broker/topics/registration.ts";
import { storedBatchTopics } from "../broker/topics/topics.ts";
import { NameServers } from "../client/connection/name-servers.ts";
import { RemotingClient } from "../client/connection/remoting-client.ts";
import { parseDelayLevels } from "../config/delay-levels.ts";
import { type ConfigValues } from "../config/keys.ts";
import { type ResolvedConfig, resolveConfig } from "../config/resolve.ts";
import {
  COUNTER_BYTES_OUT,
  COUNTER_MESSAGES_OUT,
  COUNTER_PULLS_EMPTY,
  COUNTER_PULLS_FOUND,
  createIoCounters,
} from "../format/shared/io-counters.ts";
import { OffsetCells } from "../format/shared/offset-cells.ts";
import * as shared from "../format/shared/shared-words.ts";
import { type NameServer, startNameServer } from "../namesrv/server.ts";
import { type Log, silentLog } from "../observe/log.ts";
import type { DriveId } from "../os/choose.ts";
import { openFilesLimit } from "../os/files.ts";
import type { IoWorkerInit } from "../remoting/io-worker-init.ts";
import { uniqueKeys } from "../remoting/send/unique-keys.ts";
import { CHECK_FORM, recordCheck } from "../store/log/log-scan.ts";
import type { ReadLimits } from "../store/queue/queue-reader.ts";
import type { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import { StoreCompaction } from "./compaction-files.ts";
import { rebuildDedupWindow } from "./dedup-rebuild.ts";
import { Engine } from "./engine.ts";
import { EngineStore } from "./engine-store.ts";
import type { HealthServer } from "./health-server.ts";
import { IdleMemory } from "./idle-memory.ts";
import { IoPool, listenError } from "./io-pool.ts";
import { memoryDefaults } from "./memory-defaults.ts";
import { Retention } from "./retention.ts";
import { retentionOptions } from "./retention-options.ts";
import { routedQueues } from "./routed-queues.ts";
import { TimerThread } from "./timer-thread.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface StartBrokerOptions {
  /** Address to listen on. Default 127.0.0.1. */
  host?: string;
  /** Default 10911; 0: any free port. */
  port?: number;
  /** Port of a name server in this process; 0: any free port; null: none. Default: 9876, or 0 when `port` is 0. */
  namesrvPort?: number | null;
  /** Further name servers to register with, `host:port`. */
  namesrvAddrs?: readonly string[];
  /** Directory of the store, or "memory": one that lives and ends with the broker. Default "memory". */
  store?: string;
  /** Run without foreign calls. Default: only where they do not work. */
  nativeFree?: boolean;
  /** URL (`file:`) of a module whose export `drive` (src/os/api.ts) is used in place of ours, in every thread of the store. */
  driveModule?: DriveId;
  /** Values of RocketMQ's configuration keys, as texts or resolved. */
  config?: ResolvedConfig | Readonly<Record<string, string | number | boolean>>;
  /** "virtual": time stands still until `advance`. */
  clock?: Clock | "system" | "virtual";
  log?: Log;
  /** The process is the broker's alone: when nothing happens, memory of it that is not needed goes back to the system. Default false. */
  ownsProcess?: boolean;
  /** The broker cannot go on: a store thread died or the disk failed. Default: the process ends with code 1. */
  onFailure?: (error: Error) => void;
}

/** A running broker (and name server) of this process. Close it, or leave it to `await using`. */
export class RunningBroker implements AsyncDisposable {
  /** `host:port` of the broker, as clients reach it. */
  readonly brokerAddress: string;
  /** `host:port` of the embedded name server; else the first of those that it registered with. */
  readonly namesrvAddress: string;
  readonly config: Readonly<ConfigValues>;
  readonly #parts: BrokerParts;
  #closing: Promise<void> | undefined;

  constructor(parts: BrokerParts, brokerAddress: string, namesrvAddress: string) {
    this.#parts = parts;
    this.brokerAddress = brokerAddress;
    this.namesrvAddress = namesrvAddress;
    this.config = parts.values;
  }

  /** Which drive the store runs on: "ffi" or "native-free". */
  get drive(): string {
    return this.#parts.engine.drive.name;
  }

  /** Why the broker cannot take messages any more; empty: it can. */
  faults(): string[] {
    return this.#parts.engine.faults();
  }

  /** `host:port` of the health listener; undefined: there is none. */
  get httpAddress(): string | undefined {
    return this.#parts.health?.address;
  }

  /**
   * Moves a virtual clock by ms, or by a text such as "30d" or "1h30m". All that is due meanwhile is done at its instant, in
   * order; on return it is stored, and consumers can get it. @throws MillraceError MILLRACE_CONFIG_INVALID on a system clock
   */
  async advance(by: number | string): Promise<void> {
    await this.#parts.time.advance(by);
  }

  /** Unregisters, answers what is under way, brings everything to the disk and ends all threads. */
  close(): Promise<void> {
    this.#closing ??= closeParts(this.#parts);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

interface BrokerParts {
  values: ConfigValues;
  time: VirtualTime;
  engine: Engine;
  store: EngineStore;
  control: ControlPlane;
  compactionFiles: StoreCompaction;
  retention: Retention;
  timer: TimerThread | undefined;
  pool: IoPool;
  nameServer: NameServer | undefined;
  health: HealthServer | undefined;
  idleMemory: IdleMemory | undefined;
  registration: BrokerRegistration;
  routes: NameServers;
  outbound: RemotingClient;
  memoryDirectory: string | undefined;
}

async function closeParts(parts: BrokerParts): Promise<void> {
  parts.idleMemory?.stop();
  await parts.health?.close();
  parts.routes.stop();
  await parts.registration.stop();
  await parts.pool.stop();
  await parts.control.close();
  await parts.compactionFiles.close();
  await parts.retention.close();
  await parts.timer?.close();
  await parts.store.close();
  await parts.engine.close();
  await parts.outbound.close();
  await parts.nameServer?.close();
  if (parts.memoryDirectory !== undefined) fs.rmSync(parts.memoryDirectory, { recursive: true, force: true });
}

/**
 * Starts a broker, and by default a name server beside it, in this process. Resolves when both answer.
 * @throws MillraceError MILLRACE_CONFIG_INVALID, MILLRACE_ADDRESS_IN_USE, MILLRACE_STORE_LOCKED, MILLRACE_STORE_UNWRITABLE,
 *   MILLRACE_STORE_CORRUPT, MILLRACE_STORE_FULL
 */
export async function startBroker(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const log = options.log ?? silentLog;
  const clock = clockOf(options.clock);
  const peers = peersClock(clock);
  const isMemory = (options.store ?? "memory") === "memory";
  const memoryDirectory = isMemory ? makeMemoryDirectory() : undefined;
  const resolved = configOf(options, memoryDirectory);
  for (const warning of resolved.warnings) log.warn({}, warning);
  const values = { ...resolved.values };
  const undo: (() => Promise<unknown> | void)[] = [];
  if (memoryDirectory !== undefined) undo.push(() => fs.rmSync(memoryDirectory, { recursive: true, force: true }));
  try {
    const nameServer = await startOwnNameServer(options, values, peers, log, isMemory);
    if (nameServer !== undefined) undo.push(() => nameServer.close());
    // Sharing a port between our threads would let another process share it as well: look first.
    const port = await freePort(values.bindAddress, values.listenPort);
    values.listenPort = port;
    if (!CAN_SHARE_PORT && values.ioWorkers > 1) {
      log.warn({ ioWorkers: values.ioWorkers }, "this Node cannot share a port between threads: running one I/O worker");
      values.ioWorkers = 1;
    }
    const onFailure = options.onFailure ?? processEnd(log);
    const engine = await Engine.open({ ...engineOptions(values, clock, log, onFailure), driveModule: options.driveModule });
    undo.push(() => engine.close());
    const storeHost = `${bracketed(values.brokerIP1)}:${port}`;
    const store = new EngineStore(engine, values.ioWorkers, () => storeHost, clock, readLimits(values));
    undo.unshift(() => store.close());
    const timer = values.timerWheelEnable
      ? await TimerThread.start(engine, values.ioWorkers + 1, values, clock, log, onFailure)
      : undefined;
    undo.unshift(() => timer?.close());
    store.onTimerMessage = () => timer?.ensureRunning();
    const compactionFiles = new StoreCompaction(engine, store, log);
    const retention = new Retention({
      ...retentionOptions(values),
      beforeDelete: (minPhysicalOffset) => control.compaction.saveBelow(minPhysicalOffset),
      engine,
      clock,
      log,
      onDeleted: () => store.forgetDeleted(),
    });
    undo.unshift(() => retention.close());
    const cells = new OffsetCells();
    const counters = Array.from({ length: values.ioWorkers }, createIoCounters);
    const pool: IoPool = new IoPool(
      {
        onRequest: (command, channel) => control.onRequest(command, channel),
        onCommit: (group, topic, queueId, offset) => control.onCommit(group, topic, queueId, offset),
        onClosed: (channel) => control.onClosed(channel),
        onFailure,
      },
      peers,
      log,
    );
    engine.onSlots((update) => pool.slotsChanged(update));
    const outbound = new RemotingClient({ clock: peers });
    const addresses = [...(nameServer === undefined ? [] : [nameServer.address]), ...addressList(values.namesrvAddr)];
    const routes = new NameServers(outbound, clock, addresses);
    undo.unshift(() => routes.stop());
    const control: ControlPlane = new ControlPlane({
      values,
      clock,
      log,
      store,
      cells,
      tables: pool,
      configDirectory: engine.paths.config,
      brokerAddress: storeHost,
      delayLevelsMs: engine.init.delayLevelsMs,
      compactionFiles,
      timer,
      retention,
      inMemorySize: inMemorySize(values),
      markFilters:
        values.enableConsumeQueueExt && values.enableCalcFilterBitMap ? (updates) => engine.setTopicFilters(updates) : undefined,
      newUniqueKey: uniqueKeys(storeHost, clock),
      routedQueues: (topic) => routedQueues(topic, values.brokerName, control.topics, addresses.length > 0 ? routes : undefined),
      storedTopics: () => engine.topicNames(),
      onTopicsChanged: (topics) => void registration.topicsChanged(topics),
      served: () => servedTotals(engine.log, counters),
    });
    store.compactedFirstOffset = (topic, queueId) => control.compaction.firstOffset(topic, queueId);
    control.load();
    rebuildDedupWindow(engine, store, control.topics.all(), clock.now());
    const registration = new BrokerRegistration({
      identity: {
        clusterName: values.brokerClusterName,
        brokerName: values.brokerName,
        brokerId: values.brokerId,
        brokerAddress: storeHost,
        haServerAddress: `${bracketed(values.brokerIP2)}:${values.haListenPort}`,
      },
      nameServers: addresses,
      table: () => ({ dataVersion: control.topics.dataVersion, topics: control.topics.all() }),
      topicOf: (topic) => control.topics.get(topic),
      invoker: outbound,
      clock: peers,
      log,
      periodMs: values.registerNameServerPeriod,
      timeoutMs: values.registerBrokerTimeoutMills,
      compressed: values.compressedRegister,
      brokerPermission: () => values.brokerPermission,
      onOrderTopics: (table) => control.applyOrderTable(table),
    });
    outbound.onConnectionLost((address) => registration.connectionLost(address));
    const parts: BrokerParts = {
      values,
      time: new VirtualTime({ clock, engine, store, timer, pool }),
      engine,
      store,
      control,
      compactionFiles,
      retention,
      timer,
      pool,
      nameServer,
      health: undefined,
      idleMemory: undefined,
      registration,
      routes,
      outbound,
      memoryDirectory,
    };
    undo.unshift(() => pool.stop());
    for (let worker = 0; worker < values.ioWorkers; worker++) {
      const thread = await pool.start(ioWorkerInit(engine, values, worker, storeHost, cells, counters[worker]!));
      if (worker === engine.init.writerLane) engine.adoptWriter(thread);
    }
    if (values.httpPort >= 0) {
      const { HealthServer: Health } = await import("./health-server.ts"); // HTTP alone is a tenth of an idle broker's memory.
      parts.health = await Health.start(values.bindAddress, values.httpPort, () => engine.faults());
      undo.unshift(() => parts.health?.close());
    }
    engine.startServing();
    await registration.start();
    if (options.ownsProcess === true) parts.idleMemory = await IdleMemory.start(engine.drive.name, () => pool.shrink());
    return new RunningBroker(parts, storeHost, addresses[0] ?? "");
  } catch (error) {
    for (const task of undo) await task();
    throw error;
  }
}

function clockOf(clock: StartBrokerOptions["clock"]): Clock {
  if (clock === "virtual") return new VirtualClock();
  return clock === undefined || clock === "system" ? new SystemClock() : clock;
}

function makeMemoryDirectory(): string {
  const root = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
  return fs.mkdtempSync(path.join(root, "millrace-"));
}

function configOf(options: StartBrokerOptions, memoryDirectory: string | undefined): ResolvedConfig {
  if (options.config !== undefined && "values" in options.config && "origins" in options.config)
    return options.config as ResolvedConfig;
  const given = (options.config ?? {}) as Record<string, string | number | boolean>;
  const direct: [string, string][] = [["bindAddress", options.host ?? "127.0.0.1"]];
  if (options.port !== undefined) direct.push(["listenPort", String(options.port)]);
  if (options.nativeFree !== undefined) direct.push(["nativeFree", String(options.nativeFree)]);
  if (options.namesrvAddrs !== undefined) direct.push(["namesrvAddr", options.namesrvAddrs.join(";")]);
  if (memoryDirectory !== undefined) direct.push(["storePathRootDir", memoryDirectory]);
  else direct.push(["storePathRootDir", options.store!]);
  const defaults: [string, string][] = memoryDirectory === undefined ? [] : memoryDefaults(memoryDirectory);
  return resolveConfig([
    { origin: "memory store", values: defaults },
    { origin: "config", values: Object.entries(given).map(([name, value]) => [name, String(value)] as const) },
    { origin: "option", values: direct },
  ]);
}

async function startOwnNameServer(
  options: StartBrokerOptions,
  values: ConfigValues,
  clock: Clock,
  log: Log,
  isMemory: boolean,
): Promise<NameServer | undefined> {
  if (options.namesrvPort === null) return undefined;
  const port = options.namesrvPort ?? (values.listenPort === 0 ? 0 : values.namesrvPort);
  const directory = isMemory ? {} : { storePath: path.join(values.storePathRootDir, "namesrv") };
  return startNameServer({ host: values.bindAddress, port, clock, log, ...directory });
}

/** From Node 22.12 on. */
const CAN_SHARE_PORT: boolean = Number(process.versions.node.split(".")[0]) >= 23;

/** The port, if it is free, or any free one for 0. @throws MillraceError MILLRACE_ADDRESS_IN_USE naming host and port */
async function freePort(host: string, wanted: number): Promise<number> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(host, wanted, error.code ?? "", error.message)));
    server.listen(wanted, host, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function engineOptions(
  values: ConfigValues,
  clock: Clock,
  log: Log,
  onFailure: (error: Error) => void,
): Parameters<typeof Engine.open>[0] {
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

function ioWorkerInit(
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

function readLimits(values: ConfigValues): ReadLimits {
  return {
    countInMemory: values.maxTransferCountOnMessageInMemory,
    sizeInMemory: values.maxTransferBytesOnMessageInMemory,
    countOnDisk: values.maxTransferCountOnMessageInDisk,
    sizeOnDisk: values.maxTransferBytesOnMessageInDisk,
    inMemoryDistance: inMemorySize(values),
    check: values.checkCRCOnRead ? recordCheck(values) : undefined,
  };
}

function inMemorySize({ accessMessageInMemoryMaxRatio }: ConfigValues): number {
  return (os.totalmem() * accessMessageInMemoryMaxRatio) / 100;
}

function servedTotals(log: SharedLog, counters: readonly SharedArrayBuffer[]): ServedTotals {
  const total = (counter: number): number => counters.reduce((sum, memory) => sum + new Float64Array(memory)[counter]!, 0);
  return {
    puts: log.offset(shared.APPENDED_COUNT),
    putBytes: log.offset(shared.APPENDED_SIZE),
    putsFailed: log.offset(shared.REFUSED_COUNT),
    messages: total(COUNTER_MESSAGES_OUT),
    bytes: total(COUNTER_BYTES_OUT),
    pullsFound: total(COUNTER_PULLS_FOUND),
    pullsEmpty: total(COUNTER_PULLS_EMPTY),
  };
}

function addressList(text: string): string[] {
  return text
    .split(/[;,]/)
    .map((address) => address.trim())
    .filter((address) => address !== "");
}

function bracketed(ip: string): string {
  return ip.includes(":") ? `[${ip}]` : ip;
}

/** Clients that wait are answered meanwhile (send-answers.ts looks every 50 ms). */
const FAREWELL_MS = 200;

/** Ends the process once, by the system's time: a virtual clock may stand still. */
function processEnd(log: Log): (error: Error) => void {
  let isEnding = false;
  return (error) => {
    if (isEnding) return;
    isEnding = true;
    log.error({ error: error.stack ?? error.message }, "the broker cannot go on");
    new SystemClock().setTimer(() => process.exit(1), FAREWELL_MS);
  };
}
