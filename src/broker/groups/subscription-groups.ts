import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { groupNameFault, isLmq, lmqNameFault, topicNameFault } from "../../format/names.ts";
import { optionalBoolean, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import type { DataVersion } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { RequestHandler } from "../channel.ts";
import type { ConfigFile } from "../config-file.ts";
import type { GroupLookup, HandlerTable, SubscriptionGroupConfig } from "../contracts.ts";
import { changeAttributes, GROUP_ATTRIBUTES } from "../topics/attributes.ts";
import { nextVersion, pageOf, storedVersion } from "../versioned-table.ts";
import { groupConfigFrom, groupConfigMembers, newGroup } from "./group-config.ts";

export interface SubscriptionGroupsOptions {
  /** subscriptionGroup.json. */
  file: ConfigFile;
  /** autoCreateSubscriptionGroup. */
  autoCreate: boolean;
  /** enableLmq: groups of such names exist, and stand in no table. */
  isLmq?: boolean;
  clock: Clock;
  log: Log;
  /** The group was made, changed or deleted: what was published of it must be renewed. */
  onChanged: (group: string) => void;
  /** The group was deleted. cleanOffset: its offsets are to go as well. */
  onDeleted: (group: string, cleanOffset: boolean) => void;
}

/** Groups that every broker has. Source: Apache `SubscriptionGroupManager.init`. */
const SYSTEM_GROUPS: readonly string[] = [
  "TOOLS_CONSUMER",
  "FILTERSRV_CONSUMER",
  "SELF_TEST_C_GROUP",
  "CID_ONS-HTTP-PROXY",
  "CID_ONSAPI_PULL",
  "CID_ONSAPI_PERMISSION",
  "CID_ONSAPI_OWNER",
  "CID_RMQ_SYS_TRANS",
];
/** Groups of the broker's own services, made whatever the configuration. */
const SYSTEM_PREFIX = "CID_RMQ_SYS_";
/** Bit of the forbidden table that forbids reading. Source: Apache `PermName`, INDEX_PERM_READ. */
const FORBIDDEN_READ = 1 << 2;

/**
 * All consumer groups of this broker, and which topics they must not read. Control thread only.
 * Source: Apache `SubscriptionGroupManager`.
 */
export class SubscriptionGroups implements GroupLookup {
  readonly #o: SubscriptionGroupsOptions;
  readonly #table = new Map<string, SubscriptionGroupConfig>();
  /** Groups of LMQ names that the I/O workers were told of. */
  readonly #usedLmq = new Set<string>();
  /** Bits by group and topic. */
  readonly #forbidden = new Map<string, Map<string, number>>();
  #version: DataVersion;

  constructor(options: SubscriptionGroupsOptions) {
    this.#o = options;
    this.#version = { counter: 0, stateVersion: 0, timestamp: options.clock.now() };
  }

  get dataVersion(): DataVersion {
    return this.#version;
  }

  handlers(): HandlerTable {
    return new Map<number, RequestHandler>([
      [RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, (command) => this.#update(command)],
      [RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, (command) => this.#updateList(command)],
      [RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, (command) => this.#all(command)],
      [RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, (command) => this.#one(command)],
      [RequestCode.DELETE_SUBSCRIPTIONGROUP, (command) => this.#delete(command)],
      [RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, (command) => this.#changeForbidden(command)],
    ]);
  }

  /** Reads the file and adds the system groups that it has not. Once, before anything else. @throws MillraceError MILLRACE_STORE_CORRUPT */
  load(): void {
    const stored = this.#o.file.read((text) => {
      const parsed = parseJson(text);
      const configs = entriesOf(memberOf(parsed, "subscriptionGroupTable")).map(([name, value]) =>
        checked(groupConfigFrom(String(name), value)),
      );
      return { version: storedVersion(parsed), configs, forbidden: entriesOf(memberOf(parsed, "forbiddenTable")) };
    });
    for (const name of SYSTEM_GROUPS) this.#table.set(name, newGroup(name));
    if (stored === undefined) return;
    for (const config of stored.configs) this.#table.set(config.groupName, config);
    for (const [group, topics] of stored.forbidden) {
      for (const [topic, bits] of entriesOf(topics)) this.#setForbidden(String(group), String(topic), Number(bits) | 0);
    }
    this.#version = stored.version;
  }

  /** Resolves once the disk has all groups as they are now. @throws MillraceError MILLRACE_STORE_… */
  save(): Promise<void> {
    return this.#o.file.saveLater(() => JSON.stringify(this.#members(this.#table), undefined, "\t"));
  }

  find(group: string): SubscriptionGroupConfig | undefined {
    const known = this.get(group);
    if (known !== undefined) {
      if (!this.#table.has(group) && !this.#usedLmq.has(group)) {
        this.#usedLmq.add(group);
        this.#o.onChanged(group);
      }
      return known;
    }
    if (!this.#o.autoCreate && !group.startsWith(SYSTEM_PREFIX)) return undefined;
    if (groupNameFault(group) !== undefined) return undefined;
    const config = newGroup(group);
    this.#put([config]).catch((error: unknown) => {
      this.#o.log.error({ file: this.#o.file.path, error: String(error) }, "groups could not be saved");
    });
    this.#o.log.info({ group }, "group created by its first use");
    return config;
  }

  get(group: string): SubscriptionGroupConfig | undefined {
    const known = this.#table.get(group);
    if (known !== undefined || this.#o.isLmq !== true || !isLmq(group) || lmqNameFault(group) !== undefined) return known;
    return newGroup(group);
  }

  all(): Iterable<SubscriptionGroupConfig> {
    return this.#table.values();
  }

  isForbidden(group: string, topic: string): boolean {
    return ((this.#forbidden.get(group)?.get(topic) ?? 0) & FORBIDDEN_READ) !== 0;
  }

  #put(wanted: readonly SubscriptionGroupConfig[]): Promise<void> {
    // As Apache's broker: nothing can be said of a group that stands in no table.
    const configs = wanted.filter(({ groupName }) => this.#table.has(groupName) || this.get(groupName) === undefined);
    for (const config of configs) this.#table.set(config.groupName, config);
    this.#version = nextVersion(this.#version, this.#o.clock);
    for (const config of configs) this.#o.onChanged(config.groupName);
    return this.save();
  }

  async #update(command: RemotingCommand): Promise<RemotingCommand> {
    // As Apache's broker: a request without a group in it changes nothing and is no error.
    if (command.body.length === 0) return response(command, ResponseCode.SUCCESS);
    return this.#change(command, [parseJson(command.body)]);
  }

  async #updateList(command: RemotingCommand): Promise<RemotingCommand> {
    const list = memberOf(parseJson(command.body), "groupConfigList");
    if (!Array.isArray(list)) throw new MillraceError("MILLRACE_PROTOCOL", "the body has no groupConfigList");
    return this.#change(command, list);
  }

  async #change(command: RemotingCommand, values: readonly unknown[]): Promise<RemotingCommand> {
    const configs: SubscriptionGroupConfig[] = [];
    for (const value of values) {
      const name = memberOf(value, "groupName");
      const fault = this.#nameFault(typeof name === "string" ? name : "");
      if (fault !== undefined) return response(command, ResponseCode.INVALID_PARAMETER, fault);
      const config = groupConfigFrom(name as string, value);
      const known = this.#table.get(config.groupName);
      const changes = Object.entries(config.attributes);
      configs.push({
        ...config,
        attributes: changeAttributes(GROUP_ATTRIBUTES, known === undefined, known?.attributes ?? {}, changes),
      });
    }
    await this.#put(configs);
    this.#o.log.info({ groups: configs.map(({ groupName }) => groupName).join(" ") }, "groups updated");
    return response(command, ResponseCode.SUCCESS);
  }

  #nameFault(group: string): string | undefined {
    return this.#o.isLmq === true && isLmq(group) ? lmqNameFault(group) : groupNameFault(group);
  }

  async #delete(command: RemotingCommand): Promise<RemotingCommand> {
    const group = requiredText(command, "groupName");
    const cleanOffset = optionalBoolean(command, "cleanOffset") ?? false;
    const isKnown = this.#table.delete(group);
    this.#forbidden.delete(group);
    this.#usedLmq.delete(group);
    if (isKnown) this.#version = nextVersion(this.#version, this.#o.clock);
    this.#o.onDeleted(group, cleanOffset);
    this.#o.onChanged(group);
    this.#o.log.info({ group, isKnown, cleanOffset }, "group deleted");
    await this.save();
    return response(command, ResponseCode.SUCCESS);
  }

  #all(command: RemotingCommand): RemotingCommand {
    const page = pageOf(this.#table, this.#version, command, { sequence: "groupSeq", count: "maxGroupNum" });
    const body = writeJson(this.#members(new Map(page)));
    return response(command, ResponseCode.SUCCESS, undefined, { totalGroupNum: this.#table.size }, Buffer.from(body));
  }

  #one(command: RemotingCommand): RemotingCommand {
    const config = this.find(requiredText(command, "group"));
    if (config === undefined) return response(command, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(groupConfigMembers(config))));
  }

  async #changeForbidden(command: RemotingCommand): Promise<RemotingCommand> {
    const group = requiredText(command, "group");
    const topic = requiredText(command, "topic");
    const readable = optionalBoolean(command, "readable");
    if (readable !== undefined) {
      const fault = groupNameFault(group) ?? topicNameFault(topic);
      if (fault !== undefined) return response(command, ResponseCode.INVALID_PARAMETER, fault);
      const bits = this.#forbidden.get(group)?.get(topic) ?? 0;
      this.#setForbidden(group, topic, readable ? bits & ~FORBIDDEN_READ : bits | FORBIDDEN_READ);
      this.#version = nextVersion(this.#version, this.#o.clock);
      this.#o.onChanged(group);
      await this.save();
    }
    const body = writeJson({ group, readable: !this.isForbidden(group, topic), topic });
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(body));
  }

  #setForbidden(group: string, topic: string, bits: number): void {
    const topics = this.#forbidden.get(group) ?? new Map<string, number>();
    if (bits > 0) topics.set(topic, bits);
    else topics.delete(topic);
    if (topics.size > 0) this.#forbidden.set(group, topics);
    else this.#forbidden.delete(group);
  }

  #members(groups: ReadonlyMap<string, SubscriptionGroupConfig>): object {
    return {
      dataVersion: this.#version,
      forbiddenTable: Object.fromEntries([...this.#forbidden].map(([group, topics]) => [group, Object.fromEntries(topics)])),
      subscriptionGroupTable: Object.fromEntries([...groups].map(([name, config]) => [name, groupConfigMembers(config)])),
    };
  }
}

function checked(config: SubscriptionGroupConfig): SubscriptionGroupConfig {
  const fault = groupNameFault(config.groupName);
  if (fault !== undefined) throw new MillraceError("MILLRACE_STORE_CORRUPT", fault, { group: config.groupName });
  return config;
}
