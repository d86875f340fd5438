import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { formatProperties, parseProperties } from "../format/java-properties.ts";
import { ResponseCode } from "../format/remoting-codes.ts";
import type { Log } from "../observe/log.ts";
import { readReplacedFile, replaceFile } from "../os/replace-file.ts";

/** What can be set, by RocketMQ's own keys. Source: Apache `NamesrvConfig`, `NettyServerConfig`. */
export interface NameServerSettings {
  bindAddress: string;
  listenPort: number;
  kvConfigPath: string;
  configStorePath: string;
  /** Keys that 318 may not change, separated by semicolons, beside those that nobody may. */
  configBlackList: string;
  /** A connection that neither reads nor writes for that long is closed, s. */
  serverChannelMaxIdleTimeSeconds: number;
  /** Time between two looks for expired brokers, ms. */
  scanNotActiveBrokerInterval: number;
  /** Routes carry the order configuration of their topic. */
  orderMessageEnable: boolean;
  /** Answers to registrations carry the order configuration of all topics. */
  returnOrderTopicConfigToBroker: boolean;
  /** Where a master is gone, its smallest slave is shown to clients as a read-only master. */
  supportActingMaster: boolean;
  /** Members of a broker group are told when their smallest id changes. */
  notifyMinBrokerIdChanged: boolean;
  /** A registration removes the broker's topics that it does not list. */
  deleteTopicWithBrokerRegistration: boolean;
  enableAllTopicList: boolean;
  enableTopicList: boolean;
  /** No routes in the first waitSecondsForService: brokers may not have registered again yet. */
  needWaitForService: boolean;
  waitSecondsForService: number;
}

const DEFAULTS: Readonly<NameServerSettings> = {
  bindAddress: "0.0.0.0",
  listenPort: 9876,
  kvConfigPath: "",
  configStorePath: "",
  configBlackList: "configBlackList;configStorePath;kvConfigPath",
  serverChannelMaxIdleTimeSeconds: 120,
  scanNotActiveBrokerInterval: 5_000,
  orderMessageEnable: false,
  returnOrderTopicConfigToBroker: true,
  supportActingMaster: false,
  notifyMinBrokerIdChanged: false,
  deleteTopicWithBrokerRegistration: false,
  enableAllTopicList: true,
  enableTopicList: true,
  needWaitForService: false,
  waitSecondsForService: 45,
};

/** Set where the server is started; 318 cannot change them. */
const FIXED_KEYS: ReadonlySet<string> = new Set([
  "bindAddress",
  "listenPort",
  "kvConfigPath",
  "configStorePath",
  "configBlackList",
]);

/** Keys of Apache's name server that mean nothing here (threads, Netty): accepted, so that its files can be used. */
const IDLE_KEYS: ReadonlySet<string> = new Set([
  "clientRequestThreadPoolNums",
  "clientRequestThreadPoolQueueCapacity",
  "clusterTest",
  "defaultThreadPoolNums",
  "defaultThreadPoolQueueCapacity",
  "enableControllerInNamesrv",
  "enableShutdownGracefully",
  "productEnvName",
  "rocketmqHome",
  "serverAsyncSemaphoreValue",
  "serverCallbackExecutorThreads",
  "serverNettyWorkerGroupEnable",
  "serverOnewaySemaphoreValue",
  "serverPooledByteBufAllocatorEnable",
  "serverSelectorThreads",
  "serverSocketBacklog",
  "serverSocketRcvBufSize",
  "serverSocketSndBufSize",
  "serverWorkerThreads",
  "shutdownWaitTimeSeconds",
  "unRegisterBrokerQueueCapacity",
  "useEpollNativeSelector",
  "writeBufferHighWaterMark",
  "writeBufferLowWaterMark",
]);

type Key = keyof NameServerSettings;
type Value = NameServerSettings[Key];

/** The settings in force, and their file. Source: Apache `Configuration`. */
export class NameServerConfig {
  readonly settings: NameServerSettings;
  readonly #file: string | undefined;
  readonly #log: Log;
  /** Keys that the file holds. */
  readonly #stored: Set<Key>;
  #saved: Promise<void> = Promise.resolve();

  private constructor(settings: NameServerSettings, file: string | undefined, stored: Set<Key>, log: Log) {
    this.settings = settings;
    this.#file = file;
    this.#stored = stored;
    this.#log = log;
  }

  /**
   * Defaults, then the file, then `given`.
   * @param file   undefined: changes are kept in memory only
   * @throws MillraceError MILLRACE_CONFIG_INVALID naming the key
   */
  static load(file: string | undefined, given: Partial<NameServerSettings>, log: Log): NameServerConfig {
    const texts =
      file === undefined
        ? undefined
        : readReplacedFile(
            file,
            (bytes) => parseProperties(bytes.toString("utf8")),
            (reason) => log.warn({ file, reason }, "configuration read from its backup"),
          );
    const stored = readSettings(texts ?? new Map(), log);
    const checked = Object.entries(given)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, String(value)] as const);
    const settings: NameServerSettings = {
      ...DEFAULTS,
      ...Object.fromEntries(stored),
      ...Object.fromEntries(readSettings(checked, log)),
    };
    return new NameServerConfig(settings, file, new Set(stored.keys()), log);
  }

  /** Body of 319: all keys, `key=value` lines. */
  format(): string {
    return formatProperties(Object.entries(this.settings).map(([key, value]) => [key, String(value)]));
  }

  /**
   * Body of 318. All of it or, on any fault, nothing. Resolves once it is on the disk.
   * @throws MillraceError MILLRACE_REQUEST_FAILED (NO_PERMISSION for keys that may not be changed), MILLRACE_CONFIG_INVALID, MILLRACE_PROTOCOL
   */
  update(text: string): Promise<void> {
    const texts = parseProperties(text);
    const blackList = new Set(this.settings.configBlackList.split(";").map((key) => key.trim()));
    for (const key of texts.keys()) {
      if (!FIXED_KEYS.has(key) && !blackList.has(key)) continue;
      throw new MillraceError("MILLRACE_REQUEST_FAILED", `Can not update config in black list: ${key}`, {
        code: ResponseCode.NO_PERMISSION,
        key,
      });
    }
    const changes = readSettings(texts, this.#log);
    Object.assign(this.settings, Object.fromEntries(changes));
    for (const key of changes.keys()) this.#stored.add(key);
    this.#log.info({ changes: Object.fromEntries(changes) }, "configuration changed");
    return this.#save();
  }

  /** Resolves when no write is under way. */
  settle(): Promise<void> {
    return this.#saved;
  }

  #save(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return Promise.resolve();
    const lines = [...this.#stored].map((key) => [key, String(this.settings[key])] as const);
    const saving = this.#saved.then(() => replaceFile(file, Buffer.from(formatProperties(lines))));
    this.#saved = saving.catch(() => {});
    return saving;
  }
}

/** @throws MillraceError MILLRACE_CONFIG_INVALID */
function readSettings(texts: Iterable<readonly [string, string]>, log: Log): Map<Key, Value> {
  const settings = new Map<Key, Value>();
  for (const [key, text] of texts) {
    if (IDLE_KEYS.has(key)) log.warn({ key }, "this key has no effect here");
    else if (isKey(key)) settings.set(key, readValue(key, text.trim()));
    else throw unknownKey(key);
  }
  return settings;
}

function isKey(key: string): key is Key {
  return Object.hasOwn(DEFAULTS, key);
}

function readValue(key: Key, text: string): Value {
  const standard = DEFAULTS[key];
  if (typeof standard === "string") return text;
  if (typeof standard === "boolean") {
    if (text === "true" || text === "false") return text === "true";
    throw new MillraceError("MILLRACE_CONFIG_INVALID", `${key}: "${text}" is not valid; allowed: true, false`, {
      key,
      value: text,
    });
  }
  const [min, max] = key === "listenPort" ? [0, 65_535] : [1, 2_147_483_647];
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new MillraceError("MILLRACE_CONFIG_INVALID", `${key}: "${text}" is not valid; allowed: ${min} to ${max}`, {
    key,
    value: text,
  });
}

function unknownKey(key: string): MillraceError {
  const nearest = nearestName(key, Object.keys(DEFAULTS));
  const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
  return new MillraceError("MILLRACE_CONFIG_INVALID", `unknown configuration key ${JSON.stringify(key)}${hint}`, { key });
}
