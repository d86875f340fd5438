import type { Clock, Timer } from "../../base/clock.ts";
import { RETRY_PREFIX } from "../../format/names.ts";
import { requiredText } from "../../format/remoting/command-fields.ts";
import type { HeartbeatConsumer } from "../../format/remoting/heartbeat.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, type RemotingCommand, request, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import { PERM_READ, PERM_WRITE } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel } from "../channel.ts";
import type { ConsumerClient, ConsumerGroupState, ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { ConsumerFilters } from "./consumer-filters.ts";
import { SubscriptionTable, subscriptionMembers } from "./subscription-table.ts";

export interface ConsumersOptions {
  clock: Clock;
  log: Log;
  groups: GroupLookup;
  topics: TopicLookup;
  /** Broker config notifyConsumerIdsChangedEnable, read at each change. */
  isNotifying: () => boolean;
  /** The group's filters: told of all subscriptions, and of the end of the group. */
  filters: Pick<ConsumerFilters, "register" | "unregister">;
  /** The group's clients, model or subscriptions are not what they were. Called before the heart-beat is answered. */
  onChanged: (group: string) => void;
}

/** A client that says nothing for so long is taken for dead. Source: Apache `ConsumerManager`, `ProducerManager`. */
export const CLIENT_EXPIRED_MS = 120_000;
export const CLIENT_SCAN_MS = 10_000;

interface Group extends ConsumerGroupState {
  consumeType: string;
  messageModel: "CLUSTERING" | "BROADCASTING";
  consumeFromWhere: string;
  readonly subscriptions: SubscriptionTable;
  readonly clients: Map<number, ConsumerClient>;
  /** Of the last heart-beat of the second form that was in full; undefined before one. */
  fingerprint: number | undefined;
}

/**
 * The consumers that are connected, by group: what they subscribe to and who they are. A group lives from its first
 * heart-beat to its last connection. Control thread only.
 * Source: Apache `ConsumerManager`, `ConsumerGroupInfo`, `DefaultConsumerIdsChangeListener`.
 */
export class Consumers implements ConsumerLookup {
  readonly #o: ConsumersOptions;
  readonly #groups = new Map<string, Group>();
  readonly #scan: Timer;

  constructor(options: ConsumersOptions) {
    this.#o = options;
    this.#scan = options.clock.setTicker(() => this.#expire(), CLIENT_SCAN_MS);
  }

  close(): void {
    this.#scan.cancel();
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_CONSUMER_LIST_BY_GROUP, (command) => this.#clientIds(command)],
      [RequestCode.GET_CONSUMER_CONNECTION_LIST, (command) => this.#connections(command)],
    ]);
  }

  group(group: string): ConsumerGroupState | undefined {
    return this.#groups.get(group);
  }

  all(): Iterable<ConsumerGroupState> {
    return this.#groups.values();
  }

  /** After a reconnect the client stands twice in the table for a while: the newer connection is it. */
  client(group: string, clientId: string): ConsumerClient | undefined {
    let newest: ConsumerClient | undefined;
    for (const client of this.#groups.get(group)?.clients.values() ?? []) {
      if (client.clientId === clientId && client.lastUpdateMs >= (newest?.lastUpdateMs ?? 0)) newest = client;
    }
    return newest;
  }

  /**
   * One group of a heart-beat. A group that is unknown and may not be made is passed over, as by Apache's broker.
   * @param fingerprint 0 for the first form of heart-beats
   * @param withoutSub the subscriptions told before still hold
   * @returns does the client have to tell its subscriptions in full next time?
   */
  heartbeat(data: HeartbeatConsumer, client: ConsumerClient, fingerprint: number, withoutSub: boolean): boolean {
    const config = this.#o.groups.find(data.group);
    if (config === undefined) return false;
    this.#o.topics.ensure(RETRY_PREFIX + data.group, config.retryQueueNums, PERM_READ | PERM_WRITE);
    const group = this.#groups.get(data.group) ?? this.#add(data);
    // Where we do not have the subscriptions that the short form stands for (after a restart, say), ask for all of them.
    const isSubChange = group.fingerprint === undefined ? withoutSub : group.fingerprint !== fingerprint;
    if (fingerprint !== 0 && !withoutSub) group.fingerprint = fingerprint;

    const isModelChanged = group.messageModel !== data.messageModel;
    group.consumeType = data.consumeType;
    group.messageModel = data.messageModel;
    group.consumeFromWhere = data.consumeFromWhere;
    const isClientNew = this.#register(group, client);
    const subscribed = withoutSub ? "same" : group.subscriptions.replaceAll(data.subscriptions);
    const isFilterChanged = !withoutSub && this.#o.filters.register(data.group, data.subscriptions);
    if (isClientNew || isModelChanged || isFilterChanged || subscribed !== "same") this.#o.onChanged(data.group);
    if (isClientNew || subscribed === "topics") {
      this.#o.log.info(
        { group: data.group, clientId: client.clientId, topics: [...group.subscriptions.keys()] },
        "consumer group changed",
      );
      if (config.notifyConsumerIdsChangedEnable) this.#notify(group);
    }
    return isSubChange;
  }

  /** The client leaves the group; its connection may go on. */
  unregister(groupName: string, channelId: number): void {
    const group = this.#groups.get(groupName);
    if (group === undefined) return;
    const isRemoved = group.clients.delete(channelId);
    if (isRemoved) this.#clientsGone(group, this.#o.groups.get(groupName)?.notifyConsumerIdsChangedEnable ?? true);
  }

  channelClosed(channelId: number): void {
    for (const group of [...this.#groups.values()]) {
      if (group.clients.delete(channelId)) this.#clientsGone(group, true);
    }
  }

  #add(data: HeartbeatConsumer): Group {
    const { group, consumeType, messageModel, consumeFromWhere } = data;
    const subscriptions = new SubscriptionTable();
    const added: Group = {
      group,
      consumeType,
      messageModel,
      consumeFromWhere,
      subscriptions,
      clients: new Map(),
      fingerprint: undefined,
    };
    this.#groups.set(group, added);
    return added;
  }

  #register(group: Group, client: ConsumerClient): boolean {
    const before = group.clients.get(client.channel.id);
    if (before !== undefined && before.clientId === client.clientId) {
      before.lastUpdateMs = client.lastUpdateMs;
      return false;
    }
    if (before !== undefined) {
      this.#o.log.warn(
        { group: group.group, clientId: client.clientId, before: before.clientId },
        "a connection changed its client id",
      );
    }
    group.clients.set(client.channel.id, { ...client });
    return true;
  }

  #clientsGone(group: Group, isNotifying: boolean): void {
    if (group.clients.size === 0) {
      this.#groups.delete(group.group);
      this.#o.filters.unregister(group.group);
    }
    this.#o.log.info({ group: group.group, left: group.clients.size }, "consumer left its group");
    this.#o.onChanged(group.group);
    if (isNotifying) this.#notify(group);
  }

  /** Each consumer of the group shares the queues out anew when it hears this. */
  #notify(group: Group): void {
    if (group.messageModel === "BROADCASTING" || !this.#o.isNotifying()) return;
    for (const { channel } of group.clients.values()) {
      const note = request(RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, channel.nextOpaque(), { consumerGroup: group.group });
      channel.write({ ...note, flag: FLAG_ONEWAY });
    }
  }

  #expire(): void {
    const oldest = this.#o.clock.now() - CLIENT_EXPIRED_MS;
    for (const group of [...this.#groups.values()]) {
      const silent = [...group.clients.values()].filter(({ lastUpdateMs }) => lastUpdateMs < oldest);
      if (silent.length === 0) continue;
      for (const { channel, clientId } of silent) {
        this.#o.log.warn(
          { group: group.group, clientId, remoteAddress: channel.remoteAddress },
          "consumer is silent: connection closed",
        );
        group.clients.delete(channel.id);
      }
      this.#clientsGone(group, true);
      // Last: closing it may come back to us as channelClosed.
      for (const { channel } of silent) channel.close();
    }
  }

  #clientIds(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "consumerGroup");
    // Each once: a client that reconnects must not be given two shares of the queues.
    const ids = new Set([...(this.#groups.get(group)?.clients.values() ?? [])].map(({ clientId }) => clientId));
    if (ids.size === 0) return response(command, ResponseCode.SYSTEM_ERROR, `no consumer for this group, ${group}`);
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson({ consumerIdList: [...ids] })));
  }

  #connections(command: RemotingCommand): RemotingCommand {
    const name = requiredText(command, "consumerGroup");
    const group = this.#groups.get(name);
    if (group === undefined) return response(command, ResponseCode.CONSUMER_NOT_ONLINE, `the consumer group[${name}] not online`);
    const subscriptions = [...group.subscriptions].map(([topic, data]) => [topic, subscriptionMembers(data)] as const);
    const body = {
      connectionSet: [...group.clients.values()].map(connectionMembers),
      consumeFromWhere: group.consumeFromWhere,
      consumeType: group.consumeType,
      messageModel: group.messageModel,
      subscriptionTable: new Map(subscriptions),
    };
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
  }
}

/** Source: Apache `Connection`. */
export function connectionMembers(client: { clientId: string; channel: Channel; language: string; version: number }): object {
  const { clientId, channel, language, version } = client;
  return { clientAddr: channel.remoteAddress, clientId, language, version };
}
