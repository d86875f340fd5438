import path from "node:path";
import { type Clock, peersClock, SystemClock } from "../base/clock.ts";
import { ControlPlane } from "../broker/control-plane.ts";
import { BrokerRegistration } from "../broker/topics/registration.ts";
import { NameServers } from "../client/connection/name-servers.ts";
import { RemotingClient } from "../client/connection/remoting-client.ts";
import type { ConfigValues } from "../config/keys.ts";
import { createIoCounters } from "../format/shared/io-counters.ts";
import { OffsetCells } from "../format/shared/offset-cells.ts";
import { type NameServer, startNameServer } from "../namesrv/server.ts";
import { type Log, silentLog } from "../observe/log.ts";
import { removeTree } from "../os/files.ts";
import { uniqueKeys } from "../remoting/send/unique-keys.ts";
import { clockOf, configOf, type StartBrokerOptions } from "./broker-options.ts";
import { StoreCompaction } from "./compaction-files.ts";
import { rebuildDedupWindow } from "./dedup-rebuild.ts";
import { Engine } from "./engine.ts";
import { EngineStore } from "./engine-store.ts";
import { IdleMemory } from "./idle-memory.ts";
import { IoPool } from "./io-pool.ts";
import { CAN_SHARE_PORT, freePort } from "./listen-port.ts";
import { makeMemoryDirectory } from "./memory-store.ts";
import { Retention } from "./retention.ts";
import { retentionOptions } from "./retention-options.ts";
import { routedQueues } from "./routed-queues.ts";
import { type BrokerParts, closeParts, RunningBroker } from "./running-broker.ts";
import { servedTotals } from "./served-totals.ts";
import { engineOptions, inMemorySize, ioWorkerInit, readLimits } from "./thread-settings.ts";
import { TimerThread } from "./timer-thread.ts";
import { VirtualTime } from "./virtual-time.ts";

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
  const undo: (() => Promise<unknown> | void)[] = [];
  if (memoryDirectory !== undefined) undo.unshift(() => removeTree(memoryDirectory));
  try {
    const resolved = configOf(options, memoryDirectory);
    for (const warning of resolved.warnings) log.warn({}, warning);
    const values = { ...resolved.values };
    const nameServer = await startOwnNameServer(options, values, peers, log, isMemory);
    if (nameServer !== undefined) undo.unshift(() => nameServer.close());
    // Sharing a port between our threads would let another process share it as well: look first.
    const port = await freePort(values.bindAddress, values.listenPort);
    values.listenPort = port;
    if (!CAN_SHARE_PORT && values.ioWorkers > 1) {
      log.warn({ ioWorkers: values.ioWorkers }, "this Node cannot share a port between threads: running one I/O worker");
      values.ioWorkers = 1;
    }
    const onFailure = options.onFailure ?? processEnd(log);
    const engine = await Engine.open({ ...engineOptions(values, clock, log, onFailure), driveModule: options.driveModule });
    undo.unshift(() => engine.close());
    const storeHost = `${bracketed(values.brokerIP1)}:${port}`;
    const store = new EngineStore(engine, values.ioWorkers, () => storeHost, clock, readLimits(values));
    undo.unshift(() => store.close());
    const timer = values.timerWheelEnable
      ? await TimerThread.start(engine, values.ioWorkers + 1, values, clock, log, onFailure)
      : undefined;
    undo.unshift(() => timer?.close());
    store.onTimerMessage = () => timer?.ensureRunning();
    const compactionFiles = new StoreCompaction(engine, store, log);
    undo.unshift(() => compactionFiles.close());
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
    engine.topics.onSlots((update) => pool.slotsChanged(update));
    const outbound = new RemotingClient({ clock: peers });
    undo.unshift(() => outbound.close());
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
        values.enableConsumeQueueExt && values.enableCalcFilterBitMap
          ? (updates) => engine.topics.setTopicFilters(updates)
          : undefined,
      newUniqueKey: uniqueKeys(storeHost, clock),
      routedQueues: (topic) => routedQueues(topic, values.brokerName, control.topics, addresses.length > 0 ? routes : undefined),
      storedTopics: () => engine.topics.topicNames(),
      onTopicsChanged: (topics) => void registration.topicsChanged(topics),
      served: () => servedTotals(engine.log, counters),
    });
    undo.unshift(() => control.close());
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
    undo.splice(0, undo.length, () => closeParts(parts)); // All of the above, in its order.
    for (let worker = 0; worker < values.ioWorkers; worker++) {
      const thread = await pool.start(ioWorkerInit(engine, values, worker, storeHost, cells, counters[worker]!));
      if (worker === engine.init.writerLane) engine.adoptWriter(thread);
    }
    if (values.httpPort >= 0) {
      const { HealthServer: Health } = await import("./health-server.ts"); // HTTP alone is a tenth of an idle broker's memory.
      parts.health = await Health.start(values.bindAddress, values.httpPort, () => engine.faults());
    }
    engine.startServing();
    await registration.start();
    if (options.ownsProcess === true) parts.idleMemory = await IdleMemory.start(engine.drive.name, () => pool.shrink());
    return new RunningBroker(parts, storeHost, addresses[0] ?? "");
  } catch (error) {
    for (const task of undo) {
      try {
        await task();
      } catch (failure) {
        log.error({ error: String(failure) }, "not everything could be closed after a failed start");
      }
    }
    throw error;
  }
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
