import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { ConfigFile } from "../broker/config-file.ts";
import { flag, INT_MAX, type KeyTable, text, whole } from "../config/config-key.ts";
import { ROCKETMQ_KEYS } from "../config/rocketmq-keys.ts";
import { ResponseCode } from "../format/remoting/remoting-codes.ts";
import { formatProperties, parseProperties } from "../format/text/java-properties.ts";
import type { Log } from "../observe/log.ts";
import { readReplacedFile } from "../os/replace-file.ts";

/** What can be set, by RocketMQ's own keys; meaning and units stand in the table below. */
export interface NameServerSettings {
  bindAddress: string;
  listenPort: number;
  kvConfigPath: string;
  configStorePath: string;
  configBlackList: string;
  serverChannelMaxIdleTimeSeconds: number;
  scanNotActiveBrokerInterval: number;
  orderMessageEnable: boolean;
  returnOrderTopicConfigToBroker: boolean;
  supportActingMaster: boolean;
  notifyMinBrokerIdChanged: boolean;
  deleteTopicWithBrokerRegistration: boolean;
  enableAllTopicList: boolean;
  enableTopicList: boolean;
  needWaitForService: boolean;
  waitSecondsForService: number;
}

/** Source: Apache `NamesrvConfig`, `NettyServerConfig`. */
export const NAME_SERVER_KEYS: KeyTable<NameServerSettings> = {
  bindAddress: text("0.0.0.0", "Address to listen on."),
  listenPort: whole(9876, "port", 0, 65_535, "Port to listen on; 0: any free one."),
  kvConfigPath: text("", "File of the KV table; empty: kept in memory only."),
  configStorePath: text("", "File of the settings that administrators change; empty: kept in memory only."),
  configBlackList: text("configBlackList;configStorePath;kvConfigPath", "Keys that no administrator may change, separated by ;."),
  serverChannelMaxIdleTimeSeconds: whole(
    120,
    "s",
    1,
    INT_MAX,
    "A connection that neither reads nor writes that long is closed; from the next start on.",
  ),
  scanNotActiveBrokerInterval: whole(5_000, "ms", 1, INT_MAX, "Time between two looks for brokers that went silent."),
  orderMessageEnable: flag(false, "Routes carry the order configuration of their topic."),
  returnOrderTopicConfigToBroker: flag(true, "Answers to registrations carry the order configuration of all topics."),
  supportActingMaster: flag(false, "Where a master is gone, its smallest slave is shown as a read-only master."),
  notifyMinBrokerIdChanged: flag(false, "Members of a broker group are told when their smallest id changes."),
  deleteTopicWithBrokerRegistration: flag(false, "A registration removes the broker's topics that it does not list."),
  enableAllTopicList: flag(true, "Answer requests for the list of all topics."),
  enableTopicList: flag(true, "Answer requests for the topics of a cluster and for unit topics."),
  needWaitForService: flag(false, "Give no routes until brokers have had the time to register again."),
  waitSecondsForService: whole(45, "s", 1, INT_MAX, "That time."),
};

/** Set where the server is started; 318 cannot change them. */
const FIXED_KEYS: ReadonlySet<string> = new Set([
  "bindAddress",
  "listenPort",
  "kvConfigPath",
  "configStorePath",
  "configBlackList",
]);

type Key = keyof NameServerSettings;
type Value = NameServerSettings[Key];

/** The settings in force, and their file. Source: Apache `Configuration`. */
export class NameServerConfig {
  readonly settings: NameServerSettings;
  readonly #file: ConfigFile | undefined;
  readonly #log: Log;
  /** What the file holds, keys without effect here included: they may be another reader's. */
  readonly #stored: Map<string, string>;
  /** Settles, never rejects, when the last write asked for is done. */
  #saved: Promise<void> = Promise.resolve();

  private constructor(settings: NameServerSettings, file: string | undefined, stored: Map<string, string>, log: Log) {
    this.settings = settings;
    this.#file = file === undefined ? undefined : new ConfigFile(file);
    this.#stored = stored;
    this.#log = log;
  }

  /**
   * Defaults, then the file, then `given`.
   * @param file   undefined: changes are kept in memory only
   * @throws MillraceError MILLRACE_CONFIG_INVALID naming the key
   */
  static load(file: string | undefined, given: Partial<NameServerSettings>, log: Log): NameServerConfig {
    const stored = file === undefined ? undefined : readFile(file, log);
    const checked = Object.entries(given)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, String(value)] as const);
    const settings: NameServerSettings = {
      ...defaults(),
      ...Object.fromEntries(readSettings(stored ?? [], log)),
      ...Object.fromEntries(readSettings(checked, log)),
    };
    return new NameServerConfig(settings, file, stored ?? new Map(), log);
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
    for (const [key, value] of changes) this.#stored.set(key, String(value));
    this.#log.info({ changes: Object.fromEntries(changes) }, "configuration changed");
    return this.#save();
  }

  /** Resolves when no write is under way. */
  settle(): Promise<void> {
    return this.#saved;
  }

  #save(): Promise<void> {
    if (this.#file === undefined) return Promise.resolve();
    const write = this.#file.saveLater(() => formatProperties(this.#stored));
    this.#saved = write.catch(() => {});
    return write;
  }
}

function readFile(file: string, log: Log): Map<string, string> | undefined {
  const parse = (bytes: Buffer): Map<string, string> => parseProperties(bytes.toString("utf8"));
  return readReplacedFile(file, parse, (reason) => log.warn({ file, reason }, "configuration read from its backup"));
}

/** @throws MillraceError MILLRACE_CONFIG_INVALID */
function readSettings(texts: Iterable<readonly [string, string]>, log: Log): Map<Key, Value> {
  const settings = new Map<Key, Value>();
  for (const [key, text] of texts) {
    if (isKey(key)) settings.set(key, readValue(key, text.trim()));
    else if (ROCKETMQ_KEYS.has(key)) log.warn({ key }, "this key has no effect here");
    else throw unknownKey(key, text);
  }
  return settings;
}

function defaults(): NameServerSettings {
  const entries = Object.entries(NAME_SERVER_KEYS).map(([key, { default: value }]) => [key, value]);
  return Object.fromEntries(entries) as NameServerSettings;
}

function isKey(key: string): key is Key {
  return Object.hasOwn(NAME_SERVER_KEYS, key);
}

function readValue(key: Key, text: string): Value {
  const { parse, allowed, unit } = NAME_SERVER_KEYS[key];
  const value = parse(text);
  if (value !== undefined) return value;
  const message = `${key}=${JSON.stringify(text)} is not valid; allowed: ${allowed}${unit && ` (${unit})`}`;
  throw new MillraceError("MILLRACE_CONFIG_INVALID", message, { key, value: text });
}

function unknownKey(key: string, value: string): MillraceError {
  const nearest = nearestName(key, Object.keys(NAME_SERVER_KEYS));
  const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
  return new MillraceError(
    "MILLRACE_CONFIG_INVALID",
    `unknown configuration key ${JSON.stringify(key)} (value ${JSON.stringify(value)})${hint}`,
    { key, value },
  );
}
