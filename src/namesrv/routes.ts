import type { Clock } from "../base/clock.ts";
import type { Channel } from "../broker/channel.ts";
import type { QueueMapping, RegistrationBody } from "../format/remoting/broker-registration.ts";
import { type DataVersion, equalDataVersions, PERM_WRITE } from "../format/topic-config.ts";
import type { Log } from "../observe/log.ts";
import { type BrokerGroup, MASTER_ID, minBrokerIdOf, presentActingMasters, type TopicRoute } from "./route-answers.ts";
import { type QueueData, TopicQueues } from "./topic-queues.ts";

/** Who registers. Source: Apache `RegisterBrokerRequestHeader`. */
export interface Registrant {
  clusterName: string;
  brokerName: string;
  brokerId: number;
  brokerAddress: string;
  haServerAddress: string;
  zoneName?: string | undefined;
  /** The broker's own expiry, ms; undefined: 120 s. */
  heartbeatTimeoutMs?: number | undefined;
  /** undefined: a broker from before 5.0, which knows no acting master. */
  enableActingMaster?: boolean | undefined;
}

/** The answer to a slave: where its master is. Empty to a master, and while there is none. */
export interface MasterInfo {
  masterAddress?: string;
  haServerAddress?: string;
}

/** Tells the members `notify` of a broker group about its new smallest id (905). */
export interface MinBrokerIdChange {
  brokerName: string;
  minBrokerId: number;
  minBrokerAddress: string;
  offlineBrokerAddress: string | undefined;
  haServerAddress: string | undefined;
  notify: string[];
}

/** Read at each use: 318 changes them while the server runs. */
export interface RouteSettings {
  readonly supportActingMaster: boolean;
  readonly deleteTopicWithBrokerRegistration: boolean;
  readonly notifyMinBrokerIdChanged: boolean;
}

export interface RouteTableOptions {
  clock: Clock;
  log: Log;
  settings: RouteSettings;
  onMinBrokerIdChange?: (change: MinBrokerIdChange) => void;
}

interface LiveBroker {
  clusterName: string;
  brokerName: string;
  brokerId: number;
  brokerAddress: string;
  haServerAddress: string;
  lastUpdateMs: number;
  timeoutMs: number;
  dataVersion: DataVersion;
  channel: Channel | undefined;
}

/** Whom to unregister. */
export type Leaver = Pick<LiveBroker, "clusterName" | "brokerName" | "brokerId" | "brokerAddress">;

export const REGISTRATION_REFUSED = "refused";

const HEARTBEAT_TIMEOUT_MS = 120_000;
const SYNC_MEMBER_TOPIC_PREFIX = "rmq_sys_SYNC_BROKER_MEMBER_";

/**
 * Which brokers live and what topics they hold: the name server's whole state, but for the KV table.
 * In memory only; brokers fill it again within one registration period. Not aware of the network.
 * Source: Apache `RouteInfoManager`.
 */
export class RouteTable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: RouteSettings;
  readonly #onMinBrokerIdChange: (change: MinBrokerIdChange) => void;
  readonly topics: TopicQueues = new TopicQueues();
  readonly #clusters: Map<string, Set<string>> = new Map();
  readonly #groups: Map<string, BrokerGroup> = new Map();
  /** By cluster and address. */
  readonly #live: Map<string, LiveBroker> = new Map();
  readonly #filterServers: Map<string, string[]> = new Map();
  /** Static topics: topic to broker name to mapping. */
  readonly #queueMappings: Map<string, Map<string, QueueMapping>> = new Map();

  constructor({ clock, log, settings, onMinBrokerIdChange }: RouteTableOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#settings = settings;
    this.#onMinBrokerIdChange = onMinBrokerIdChange ?? (() => {});
  }

  /** Broker names by cluster. */
  get clusters(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#clusters;
  }

  get groups(): ReadonlyMap<string, Readonly<BrokerGroup>> {
    return this.#groups;
  }

  /**
   * Enters a broker and its topics, or refreshes them.
   * @param channel   its connection; when that closes, the broker is unregistered
   * @returns REGISTRATION_REFUSED for an unknown broker that brings exactly one topic: that is an update meant
   *          for a name server that already has the others
   */
  register(who: Registrant, body: RegistrationBody, channel?: Channel): MasterInfo | typeof REGISTRATION_REFUSED {
    const { clusterName, brokerName, brokerId, brokerAddress } = who;
    if (body.topics.length === 1 && this.#groups.get(brokerName)?.addresses.has(brokerId) !== true) {
      this.#log.warn({ clusterName, brokerName, brokerAddress }, "registration refused: unknown broker with a single topic");
      return REGISTRATION_REFUSED;
    }
    this.#clusterOf(clusterName).add(brokerName);
    const group = this.#groupOf(who);
    const { addresses } = group;
    const minBrokerId = addresses.size === 0 ? 0 : minBrokerIdOf(addresses);
    // A slave that became master, say: one address stands under one id.
    for (const [id, address] of addresses) {
      if (address === brokerAddress && id !== brokerId) addresses.delete(id);
    }
    if (this.#isOutdated(who, body.dataVersion)) {
      this.#live.delete(liveKey(clusterName, brokerAddress));
      return {};
    }
    const isFirst = !addresses.has(brokerId);
    addresses.set(brokerId, brokerAddress);
    const isMaster = brokerId === MASTER_ID;
    const isPrimeSlave = who.enableActingMaster !== undefined && !isMaster && brokerId === minBrokerIdOf(addresses);
    if (isMaster || isPrimeSlave) {
      this.#takeTopics(who, body, isFirst, isPrimeSlave && group.enableActingMaster);
    }
    this.#enterLive(who, body, channel);
    if (brokerId < minBrokerId) this.#notifyMinBrokerId(group, undefined, who.haServerAddress);
    return isMaster ? {} : this.#masterInfo(group);
  }

  /** Removes brokers together: the topics are walked once. */
  unregister(leavers: Iterable<Leaver>): void {
    const gone = new Set<string>();
    const reduced = new Set<string>();
    const changes: [BrokerGroup, Leaver][] = [];
    for (const leaver of leavers) {
      const { clusterName, brokerName, brokerAddress, brokerId } = leaver;
      const key = liveKey(clusterName, brokerAddress);
      const wasLive = this.#live.delete(key);
      this.#filterServers.delete(key);
      this.#log.info({ clusterName, brokerName, brokerId, brokerAddress, wasLive }, "broker unregistered");
      const group = this.#groups.get(brokerName);
      if (group === undefined) {
        reduced.add(brokerName);
        continue;
      }
      const wasMin = group.addresses.get(minBrokerIdOf(group.addresses)) === brokerAddress;
      for (const [id, address] of group.addresses) {
        if (address === brokerAddress) group.addresses.delete(id);
      }
      if (group.addresses.size === 0) {
        this.#groups.delete(brokerName);
        this.#leaveClusters(brokerName);
        gone.add(brokerName);
      } else {
        reduced.add(brokerName);
        if (wasMin) changes.push([group, leaver]);
      }
    }
    this.topics.deleteBrokers(gone);
    for (const brokerName of reduced) this.#wipeIfMasterless(brokerName);
    for (const [group, leaver] of changes) {
      if (this.#groups.get(group.brokerName) === group) this.#notifyMinBrokerId(group, leaver.brokerAddress, undefined);
    }
  }

  /** Unregisters all brokers that registered over this connection. */
  channelClosed(channel: Channel): void {
    const leavers = [...this.#live.values()].filter((live) => live.channel === channel);
    if (leavers.length > 0) this.unregister(leavers);
  }

  /** Unregisters brokers that were not heard of within their time, and closes their connections. */
  expire(): void {
    const now = this.#clock.now();
    const expired = [...this.#live.values()].filter(({ lastUpdateMs, timeoutMs }) => lastUpdateMs + timeoutMs < now);
    if (expired.length === 0) return;
    for (const { brokerName, brokerAddress, timeoutMs, channel } of expired) {
      this.#log.warn({ brokerName, brokerAddress, timeoutMs }, "broker expired");
      channel?.close();
    }
    this.unregister(expired);
  }

  /** A sign of life (904, 322) without topics. */
  heartbeat(clusterName: string, brokerAddress: string): void {
    const live = this.#live.get(liveKey(clusterName, brokerAddress));
    if (live !== undefined) live.lastUpdateMs = this.#clock.now();
  }

  /** Of the last registration; undefined for a broker that does not live. */
  dataVersionOf(clusterName: string, brokerAddress: string): DataVersion | undefined {
    return this.#live.get(liveKey(clusterName, brokerAddress))?.dataVersion;
  }

  isChanged(clusterName: string, brokerAddress: string, dataVersion: DataVersion): boolean {
    const known = this.dataVersionOf(clusterName, brokerAddress);
    return known === undefined || !equalDataVersions(known, dataVersion);
  }

  /** undefined: no broker holds the topic. The answer is the caller's own. */
  route(topic: string): TopicRoute | undefined {
    const queues = this.topics.of(topic);
    if (queues === undefined) return undefined;
    const brokers: BrokerGroup[] = [];
    const filterServers = new Map<string, string[]>();
    for (const { brokerName } of queues) {
      const group = this.#groups.get(brokerName);
      if (group === undefined) continue;
      brokers.push({ ...group, addresses: new Map([...group.addresses].sort(([a], [b]) => a - b)) });
      for (const address of group.addresses.values()) {
        const servers = this.#filterServers.get(liveKey(group.cluster, address));
        if (servers !== undefined) filterServers.set(address, servers);
      }
    }
    if (brokers.length === 0) return undefined;
    const route = { brokers, queues, filterServers, queueMappings: this.#queueMappings.get(topic) };
    if (this.#settings.supportActingMaster && !topic.startsWith(SYNC_MEMBER_TOPIC_PREFIX)) presentActingMasters(route);
    return route;
  }

  /** Takes a topic's queues as told (217); nothing at all if one of its brokers is unknown. */
  registerTopic(topic: string, queues: readonly QueueData[]): void {
    const unknown = queues.find(({ brokerName }) => !this.#groups.has(brokerName));
    if (unknown !== undefined) {
      this.#log.warn({ topic, brokerName: unknown.brokerName }, "topic not registered: unknown broker");
      return;
    }
    for (const data of queues) this.topics.set(topic, { ...data });
  }

  deleteTopic(topic: string): void {
    this.topics.delete(topic);
    this.#queueMappings.delete(topic);
  }

  deleteTopicInCluster(topic: string, clusterName: string): void {
    this.topics.deleteOfBrokers(topic, this.#clusters.get(clusterName) ?? []);
  }

  topicsOfCluster(clusterName: string): string[] {
    const brokerNames = this.#clusters.get(clusterName);
    return brokerNames === undefined ? [] : this.topics.namesOfBrokers(brokerNames);
  }

  /** Cluster and broker names, which are topics too, and any broker's address. */
  systemTopics(): { topics: string[]; brokerAddress: string | undefined } {
    const topics = new Set<string>();
    for (const [cluster, brokerNames] of this.#clusters) {
      topics.add(cluster);
      for (const brokerName of brokerNames) topics.add(brokerName);
    }
    for (const { addresses } of this.#groups.values()) {
      for (const brokerAddress of addresses.values()) return { topics: [...topics], brokerAddress };
    }
    return { topics: [...topics], brokerAddress: undefined };
  }

  #clusterOf(clusterName: string): Set<string> {
    let brokerNames = this.#clusters.get(clusterName);
    if (brokerNames === undefined) {
      brokerNames = new Set();
      this.#clusters.set(clusterName, brokerNames);
    }
    return brokerNames;
  }

  /** All of them: groups are known by name alone, so one that moved stands under both clusters. */
  #leaveClusters(brokerName: string): void {
    for (const [clusterName, brokerNames] of this.#clusters) {
      brokerNames.delete(brokerName);
      if (brokerNames.size === 0) this.#clusters.delete(clusterName);
    }
  }

  #groupOf({ brokerName, clusterName, enableActingMaster, zoneName }: Registrant): BrokerGroup {
    let group = this.#groups.get(brokerName);
    if (group === undefined) {
      group = { addresses: new Map(), brokerName, cluster: clusterName, enableActingMaster: false, zoneName };
      this.#groups.set(brokerName, group);
    }
    group.enableActingMaster = enableActingMaster === true;
    group.zoneName = zoneName;
    return group;
  }

  /** Does another address live under the same id with a newer state? Then this one is a master of the past. */
  #isOutdated(who: Registrant, { stateVersion }: DataVersion): boolean {
    const { clusterName, brokerName, brokerId, brokerAddress } = who;
    const other = this.#groups.get(brokerName)?.addresses.get(brokerId);
    if (other === undefined || other === brokerAddress) return false;
    const known = this.dataVersionOf(clusterName, other);
    if (known === undefined || known.stateVersion <= stateVersion) return false;
    this.#log.warn(
      { clusterName, brokerName, brokerId, brokerAddress, stateVersion, other, otherStateVersion: known.stateVersion },
      "registration ignored: another broker has this id and a newer state",
    );
    return true;
  }

  #takeTopics(who: Registrant, body: RegistrationBody, isFirst: boolean, readOnly: boolean): void {
    const { clusterName, brokerName, brokerAddress } = who;
    const isAllNew = isFirst || this.isChanged(clusterName, brokerAddress, body.dataVersion);
    if (this.#settings.deleteTopicWithBrokerRegistration && body.queueMappings.size === 0) {
      const kept = new Set(body.topics.map(({ topicName }) => topicName));
      for (const topic of this.topics.namesOfBroker(brokerName)) {
        if (!kept.has(topic)) this.topics.deleteOfBrokers(topic, [brokerName]);
      }
    }
    for (const config of body.topics) {
      if (!isAllNew && this.topics.has(config.topicName, brokerName)) continue;
      this.topics.setFromConfig(brokerName, config, readOnly ? config.perm & ~PERM_WRITE : config.perm);
    }
    if (!isAllNew) return;
    for (const [topic, mapping] of body.queueMappings) {
      const mappings = this.#queueMappings.get(topic) ?? new Map<string, QueueMapping>();
      this.#queueMappings.set(topic, mappings.set(mapping.brokerName, mapping));
    }
  }

  #enterLive(who: Registrant, body: RegistrationBody, channel: Channel | undefined): void {
    const { clusterName, brokerName, brokerId, brokerAddress, haServerAddress } = who;
    const key = liveKey(clusterName, brokerAddress);
    if (!this.#live.has(key)) {
      this.#log.info({ clusterName, brokerName, brokerId, brokerAddress, haServerAddress }, "broker registered");
    }
    this.#live.set(key, {
      clusterName,
      brokerName,
      brokerId,
      brokerAddress,
      haServerAddress,
      lastUpdateMs: this.#clock.now(),
      timeoutMs: who.heartbeatTimeoutMs ?? HEARTBEAT_TIMEOUT_MS,
      dataVersion: body.dataVersion,
      channel,
    });
    if (body.filterServers.length === 0) this.#filterServers.delete(key);
    else this.#filterServers.set(key, body.filterServers);
  }

  #masterInfo(group: BrokerGroup): MasterInfo {
    const masterAddress = group.addresses.get(MASTER_ID);
    if (masterAddress === undefined) return {};
    const master = this.#live.get(liveKey(group.cluster, masterAddress));
    return master === undefined ? {} : { masterAddress, haServerAddress: master.haServerAddress };
  }

  #wipeIfMasterless(brokerName: string): void {
    const group = this.#groups.get(brokerName);
    if (group?.enableActingMaster === true && minBrokerIdOf(group.addresses) > MASTER_ID) this.topics.wipeWritePerm(brokerName);
  }

  #notifyMinBrokerId(group: BrokerGroup, offlineBrokerAddress: string | undefined, haServerAddress: string | undefined): void {
    if (!this.#settings.notifyMinBrokerIdChanged) return;
    const minBrokerId = minBrokerIdOf(group.addresses);
    // A newcomer knows its own id; all others, or all that are left, must hear of it.
    const toAll = offlineBrokerAddress !== undefined || group.addresses.size === 1;
    this.#onMinBrokerIdChange({
      brokerName: group.brokerName,
      minBrokerId,
      minBrokerAddress: group.addresses.get(minBrokerId)!,
      offlineBrokerAddress,
      haServerAddress,
      notify: [...group.addresses].filter(([id]) => toAll || id !== minBrokerId).map(([, address]) => address),
    });
  }
}

function liveKey(clusterName: string, brokerAddress: string): string {
  // NUL cannot be part of an address, so no two pairs share a key.
  return `${clusterName}\0${brokerAddress}`;
}
