import path from "node:path";
import { type Clock, SystemClock, type Timer } from "../base/clock.ts";
import { RemotingClient } from "../client/connection/remoting-client.ts";
import { RequestCode } from "../format/remoting/remoting-codes.ts";
import { request } from "../format/remoting/remoting-command.ts";
import { type Log, silentLog } from "../observe/log.ts";
import { RemotingServer } from "../remoting/server.ts";
import { brokerRequests } from "./broker-requests.ts";
import { NameServerConfig, type NameServerSettings } from "./config.ts";
import { configRequests } from "./config-requests.ts";
import type { NameServerContext } from "./context.ts";
import { KeyValueConfig } from "./kv-config.ts";
import { routeRequests } from "./route-requests.ts";
import { type MinBrokerIdChange, RouteTable } from "./routes.ts";

export interface NameServerOptions {
  /** Default 0.0.0.0: all addresses. */
  host?: string;
  /** Default 9876; 0: any free port. */
  port?: number;
  clock?: Clock;
  log?: Log;
  /** Directory of kvConfig.json and namesrv.properties. Default: nothing is kept on disk. */
  storePath?: string;
  /** File instead of `storePath`/kvConfig.json. */
  kvConfigPath?: string;
  /** File instead of `storePath`/namesrv.properties; read at start, rewritten when an administrator changes settings. */
  configStorePath?: string;
  /** Goes before what the file says. */
  settings?: Partial<NameServerSettings>;
}

export interface NameServer extends AsyncDisposable {
  /** `host:port` to hand to clients on this machine. */
  readonly address: string;
  readonly port: number;
  /** For the process that embeds the server. */
  readonly routes: RouteTable;
  close(): Promise<void>;
}

/**
 * Starts a name server in the calling thread; resolves once it answers.
 * @throws MillraceError MILLRACE_ADDRESS_IN_USE, MILLRACE_CONFIG_INVALID, MILLRACE_STORE_CORRUPT (neither kvConfig.json nor its backup readable)
 */
export async function startNameServer(options: NameServerOptions = {}): Promise<NameServer> {
  const { clock = new SystemClock(), log = silentLog, host, port, storePath } = options;
  const kvConfigPath = options.kvConfigPath ?? (storePath && path.join(storePath, "kvConfig.json"));
  const configStorePath = options.configStorePath ?? (storePath && path.join(storePath, "namesrv.properties"));
  const given: Partial<NameServerSettings> = { ...options.settings };
  if (host !== undefined) given.bindAddress = host;
  if (port !== undefined) given.listenPort = port;
  if (configStorePath !== undefined) given.configStorePath = configStorePath;
  if (kvConfigPath !== undefined) given.kvConfigPath = kvConfigPath;
  const config = NameServerConfig.load(configStorePath, given, log);
  const { settings } = config;
  const keyValues = KeyValueConfig.load(settings.kvConfigPath === "" ? undefined : settings.kvConfigPath, log);

  let notifier: RemotingClient | undefined;
  const notify = (change: MinBrokerIdChange): void => {
    notifier ??= new RemotingClient({ clock });
    notifyMembers(notifier, change, log);
  };
  const routes = new RouteTable({ clock, log, settings, onMinBrokerIdChange: notify });
  const context: NameServerContext = { clock, log, routes, keyValues, config, startedMs: clock.now() };
  const server = new RemotingServer({
    host: settings.bindAddress,
    port: settings.listenPort,
    handlers: new Map([...brokerRequests(context), ...routeRequests(context), ...configRequests(context)]),
    clock,
    log,
    idleMs: settings.serverChannelMaxIdleTimeSeconds * 1_000,
    onChannelClosed: (channel) => routes.channelClosed(channel),
  });
  await server.listen();
  settings.listenPort = server.port;
  const scan = startScan(clock, settings, routes);
  log.info({ address: server.address }, "name server started");

  const close = async (): Promise<void> => {
    scan.cancel();
    await Promise.all([server.close(), notifier?.close(), keyValues.settle(), config.settle()]);
  };
  return { address: server.address, port: server.port, routes, close, [Symbol.asyncDispose]: close };
}

/** Looks for expired brokers; a changed interval counts from the next look on. */
function startScan(clock: Clock, settings: Readonly<NameServerSettings>, routes: RouteTable): Timer {
  let timer: Timer;
  const look = (): void => {
    routes.expire();
    timer = clock.setTimer(look, settings.scanNotActiveBrokerInterval);
  };
  timer = clock.setTimer(look, settings.scanNotActiveBrokerInterval);
  return { cancel: () => timer.cancel() };
}

/** 905, one-way: whoever cannot be reached learns it from its next registration. */
function notifyMembers(client: RemotingClient, change: MinBrokerIdChange, log: Log): void {
  const { brokerName, minBrokerId, minBrokerAddress, offlineBrokerAddress, haServerAddress } = change;
  log.info({ brokerName, minBrokerId, minBrokerAddress, notify: change.notify }, "smallest broker id changed");
  const header = {
    minBrokerId,
    brokerName,
    minBrokerAddr: minBrokerAddress,
    offlineBrokerAddr: offlineBrokerAddress,
    haBrokerAddr: haServerAddress,
  };
  for (const address of change.notify) {
    try {
      client.invokeOneway(address, request(RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, 0, header));
    } catch (error) {
      log.warn({ address, error: (error as Error).message }, "broker could not be told of the smallest broker id");
    }
  }
}
