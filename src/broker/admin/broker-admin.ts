import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ConfigValues } from "../../config/keys.ts";
import { CONFIG_NAMES, configNameOf, keyOf } from "../../config/keys.ts";
import { isTagType } from "../../filter/entry-filter.ts";
import { FilterCache } from "../../filter/filter-cache.ts";
import { requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { REMOTING_VERSION, type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import { formatProperties, parseProperties } from "../../format/text/java-properties.ts";
import type { Log } from "../../observe/log.ts";
import { diskUse } from "../../os/files.ts";
import type { HandlerTable } from "../contracts.ts";
import type { ScheduleService } from "../later/schedule.ts";
import type { MessageStore } from "../message-store.ts";
import type { BrokerStats } from "./broker-stats.ts";

/** What administrators may ask of whoever deletes old files. */
export interface RetentionRequests {
  /** Files that are old enough go at any hour, in the next rounds. */
  deleteExpiredNow(): void;
  /** Files of queues that point at nothing any more go now. */
  cleanQueuesNow(): void;
}

export interface BrokerAdminOptions {
  /** Effective configuration; keys of CHANGEABLE are written in place. */
  values: ConfigValues;
  store: MessageStore;
  stats: BrokerStats;
  schedule: ScheduleService;
  /** Figures of the timer, by RocketMQ's names. */
  timerInfo: () => Record<string, string>;
  clock: Clock;
  log: Log;
  retention: RetentionRequests;
  /** Keys that have another value now. */
  onChanged?: (names: readonly string[]) => void;
}

/** Keys that take effect while the broker runs; no other may be set from outside. */
const CHANGEABLE: ReadonlySet<string> = new Set([
  "autoCreateTopicEnable",
  "autoCreateSubscriptionGroup",
  "brokerPermission",
  "defaultQueryMaxNum",
  "useServerSideResetOffset",
  "rejectTransactionMessage",
  "recallMessageEnable",
  "transactionTimeOut",
  "transactionCheckMax",
  "transactionCheckInterval",
  "transactionOpMsgMaxSize",
  "transactionOpBatchInterval",
  "storeReplyMessageEnable",
  "enablePropertyFilter",
  "filterSupportRetry",
]);

/** Source: Apache `BrokerConfig`, black list of `AdminBrokerProcessor.validateBlackListConfigExist`. */
const FORBIDDEN: ReadonlySet<string> = new Set(["brokerConfigPath", "configBlackList", "rocketmqHome"]);

/**
 * What waits before Apache's pools of threads, ms and requests. There are no such pools here: what cannot be served at once stays
 * in its socket. clusterList and the dashboard show these names, so they are there.
 */
const NOTHING_WAITS: Readonly<Record<string, string>> = Object.fromEntries([
  ...["send", "pull", "litePull", "query", "ack"].flatMap((pool) => [
    [`${pool}ThreadPoolQueueSize`, "0"],
    [`${pool}ThreadPoolQueueHeadWaitTimeMills`, "0"],
  ]),
  ["EndTransactionQueueSize", "0"],
]);

/** Requests about the broker itself. Source: Apache `AdminBrokerProcessor`. */
export class BrokerAdmin {
  readonly #o: BrokerAdminOptions;
  readonly #expressions = new FilterCache();
  readonly #bootMs: number;
  #configVersion = { counter: 0, stateVersion: 0, timestamp: 0 };

  constructor(options: BrokerAdminOptions) {
    this.#o = options;
    this.#bootMs = options.clock.now();
    this.#configVersion.timestamp = this.#bootMs;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.UPDATE_BROKER_CONFIG, (command) => this.#updateConfig(command)],
      [RequestCode.GET_BROKER_CONFIG, (command) => this.#config(command)],
      [RequestCode.GET_BROKER_RUNTIME_INFO, (command) => this.#runtimeInfo(command)],
      [RequestCode.GET_ALL_DELAY_OFFSET, (command) => json(command, this.#o.schedule.text())],
      [RequestCode.VIEW_BROKER_STATS_DATA, (command) => this.#statsData(command)],
      [RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE, (command) => this.#clean(command, () => this.#o.retention.cleanQueuesNow())],
      [RequestCode.DELETE_EXPIRED_COMMITLOG, (command) => this.#clean(command, () => this.#o.retention.deleteExpiredNow())],
      [RequestCode.GET_BROKER_HA_STATUS, (command) => this.#haStatus(command)],
      [RequestCode.CHECK_CLIENT_CONFIG, (command) => this.#checkClient(command)],
    ]);
  }

  /** All keys or none: a body with one bad key changes nothing. */
  #updateConfig(command: RemotingCommand): RemotingCommand {
    const { values, log } = this.#o;
    const wanted = parseProperties(command.body.toString("utf8"));
    const changes: [keyof ConfigValues, ConfigValues[keyof ConfigValues]][] = [];
    for (const [name, text] of wanted) {
      if (FORBIDDEN.has(name))
        return response(command, ResponseCode.NO_PERMISSION, `Can not update config in black list: ${name}`);
      const known = configNameOf(name);
      if (known === undefined) return response(command, ResponseCode.INVALID_PARAMETER, `unknown config key ${name}`);
      const value = keyOf(known).parse(text.trim());
      if (value === undefined)
        return response(
          command,
          ResponseCode.INVALID_PARAMETER,
          `${name}=${text} is not valid; allowed: ${keyOf(known).allowed}`,
        );
      if (String(values[known]) === String(value)) continue;
      if (!CHANGEABLE.has(known))
        return response(command, ResponseCode.NO_PERMISSION, `${name} cannot be changed while the broker runs`);
      changes.push([known, value]);
    }
    for (const [name, value] of changes) {
      (values as unknown as Record<string, unknown>)[name] = value;
      log.info({ key: name, value }, "configuration changed by an administrator");
    }
    this.#configVersion = { ...this.#configVersion, counter: this.#configVersion.counter + 1, timestamp: this.#o.clock.now() };
    if (changes.length > 0) this.#o.onChanged?.(changes.map(([name]) => name));
    return response(command, ResponseCode.SUCCESS);
  }

  #config(command: RemotingCommand): RemotingCommand {
    const { values } = this.#o;
    const text = formatProperties(CONFIG_NAMES.map((name) => [name, String(values[name])] as const));
    return response(command, ResponseCode.SUCCESS, undefined, { version: writeJson(this.#configVersion) }, Buffer.from(text));
  }

  #runtimeInfo(command: RemotingCommand): RemotingCommand {
    const { store, stats, schedule, values, clock } = this.#o;
    const now = clock.now();
    const log = diskUse(values.storePathCommitLog);
    const queues = diskUse(values.storePathRootDir);
    const end = store.maxPhysicalOffset();
    const table: Record<string, string> = {
      ...stats.runtimeInfo(),
      ...NOTHING_WAITS,
      brokerVersionDesc: "V5_5_0",
      brokerVersion: String(REMOTING_VERSION),
      bootTimestamp: String(this.#bootMs),
      runtime: duration(now - this.#bootMs),
      brokerActive: "true",
      startAcceptSendRequestTimeStamp: String(values.startAcceptSendRequestTimeStamp),
      dispatchBehindBytes: String(Math.max(0, end - store.dispatchedOffset())),
      remainHowManyDataToFlush: `${Math.max(0, end - store.flushedOffset())} B`,
      remainHowManyDataToCommit: "0 B",
      remainTransientStoreBufferNumbs: "2147483647",
      pageCacheLockTimeMills: "0",
      commitLogMinOffset: String(store.minPhysicalOffset()),
      commitLogMaxOffset: String(end),
      commitLogDirCapacity: `Total : ${gibibytes(log.totalBytes)}, Free : ${gibibytes(log.freeBytes)}.`,
      commitLogDiskRatio: String(log.usedRatio),
      consumeQueueDiskRatio: String(queues.usedRatio),
      earliestMessageTimeStamp: String(stats.earliestMessageTimestamp()),
    };
    Object.assign(table, this.#o.timerInfo());
    for (const [level, progress] of schedule.progress()) table[`scheduleMessageOffset_${level}`] = progress;
    return json(command, writeJson({ table }));
  }

  /** It is begun; nobody waits for its end. */
  #clean(command: RemotingCommand, begin: () => void): RemotingCommand {
    this.#o.log.info({ code: command.code }, "old files are deleted for an administrator");
    begin();
    return response(command, ResponseCode.SUCCESS);
  }

  #statsData(command: RemotingCommand): RemotingCommand {
    const name = requiredText(command, "statsName");
    const key = requiredText(command, "statsKey");
    const data = this.#o.stats.view(name, key);
    if (data === undefined) return response(command, ResponseCode.SYSTEM_ERROR, `The stats <${name}> <${key}> not exist`);
    return json(command, writeJson(data));
  }

  #haStatus(command: RemotingCommand): RemotingCommand {
    const { store } = this.#o;
    const status = {
      haClientRuntimeInfo: {},
      haConnectionInfo: [],
      inSyncSlaveNums: 0,
      master: true,
      masterCommitLogMaxOffset: store.maxPhysicalOffset(),
    };
    return json(command, writeJson(status));
  }

  /** Tags need no check; SQL92 has to be switched on. */
  #checkClient(command: RemotingCommand): RemotingCommand {
    const subscription = command.body.length === 0 ? undefined : memberOf(parseJson(command.body), "subscriptionData");
    const expressionType = textOf(subscription, "expressionType");
    if (subscription === undefined || isTagType(expressionType)) return response(command, ResponseCode.SUCCESS);
    if (!this.#o.values.enablePropertyFilter) {
      const remark = `The broker does not support consumer to filter message by ${expressionType}`;
      return response(command, ResponseCode.SYSTEM_ERROR, remark);
    }
    try {
      this.#expressions.get(expressionType, textOf(subscription, "subString") ?? "");
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return response(command, ResponseCode.SUBSCRIPTION_PARSE_FAILED, error.message);
    }
    return response(command, ResponseCode.SUCCESS);
  }
}

function textOf(value: unknown, name: string): string | undefined {
  const member = memberOf(value, name);
  return typeof member === "string" ? member : undefined;
}

function json(command: RemotingCommand, text: string): RemotingCommand {
  return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(text));
}

function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor((seconds % 86_400) / 3600)];
  return `[ ${days} days, ${hours} hours, ${Math.floor((seconds % 3600) / 60)} minutes, ${seconds % 60} seconds ]`;
}

function gibibytes(bytes: number): string {
  return `${(bytes / 1_073_741_824).toFixed(1)} GiB`;
}
