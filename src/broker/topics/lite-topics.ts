import { type Clock, houseKeeping, type Timer } from "../../base/clock.ts";
import { LMQ_PREFIX, liteQueueName } from "../../format/names.ts";
import { optionalText, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "../offsets/offsets.ts";
import type { LmqTopics } from "./lmq-topics.ts";

export interface LiteTopicsOptions {
  /** Names as in the configuration. */
  settings: { maxLmqConsumeQueueNum: number; liteTtlCheckInterval: number; minLiteTTl: number };
  topics: TopicLookup & { delete(topics: readonly string[]): Promise<void> };
  groups: GroupLookup;
  offsets: Pick<Offsets, "get" | "topicsOf">;
  lmq: LmqTopics;
  store: MessageStore;
  clock: Clock;
  log: Log;
}

/** The group reads lite topics of that topic. */
const BIND_ATTRIBUTE = "lite.bind.topic";
/** Minutes after which a lite topic that gets no messages goes; absent or -1: never. */
const EXPIRATION_ATTRIBUTE = "lite.topic.expiration";
const MINUTE_MS = 60_000;
/** So long after a message was taken for its queue it is surely in the log, ms. */
const ON_ITS_WAY_MS = 60_000;

/**
 * Lite topics: queues of a topic with message.type=LITE that come into being by a message that names them, and go after a time
 * without messages. Only gRPC clients subscribe to them, by way of RocketMQ's proxy, so that here there are no
 * subscriptions; what mqadmin asks of them is answered. Control thread only.
 * Source: Apache `LiteManagerProcessor`, `AbstractLiteLifecycleManager`, `LiteUtil`.
 */
export class LiteTopics {
  readonly #o: LiteTopicsOptions;
  readonly #ticker: Timer;

  constructor(options: LiteTopicsOptions) {
    this.#o = options;
    const check = (): void => void this.removeExpired();
    this.#ticker = houseKeeping(options.clock).setTicker(check, options.settings.liteTtlCheckInterval);
  }

  close(): void {
    this.#ticker.cancel();
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_BROKER_LITE_INFO, (command) => this.#ofBroker(command)],
      [RequestCode.GET_PARENT_TOPIC_INFO, (command) => this.#ofParent(command)],
      [RequestCode.GET_LITE_TOPIC_INFO, (command) => this.#ofOne(command)],
      [RequestCode.GET_LITE_CLIENT_INFO, (command) => this.#ofClient(command)],
      [RequestCode.GET_LITE_GROUP_INFO, (command) => this.#ofGroup(command)],
      [RequestCode.TRIGGER_LITE_DISPATCH, (command) => this.#trigger(command)],
    ]);
  }

  /** Deletes lite topics whose newest message is too old. */
  async removeExpired(): Promise<void> {
    const { topics, lmq, store, clock, settings, log } = this.#o;
    const expired: string[] = [];
    for (const name of lmq.names.keys()) {
      const minutes = ttlOf(topics.get(parentOf(name)));
      const end = store.maxQueueOffset(name, 0);
      if (minutes <= 0 || end === 0 || store.appendedQueueOffset(name, 0) !== end) continue;
      if (clock.now() - lmq.namedMs(name) < ON_ITS_WAY_MS) continue;
      const stored = store.storeTimestamp(name, 0, end - 1);
      if (clock.now() - stored > Math.max(minutes * MINUTE_MS, settings.minLiteTTl)) expired.push(name);
    }
    if (expired.length === 0) return;
    log.info({ count: expired.length }, "lite topics have expired");
    await topics
      .delete(expired)
      .catch((error: unknown) => log.warn({ error: String(error) }, "lite topics could not be deleted"));
  }

  #ofBroker(command: RemotingCommand): RemotingCommand {
    const { topics, groups, lmq, settings } = this.#o;
    const groupMeta = new Map<string, string[]>();
    for (const { groupName, attributes } of groups.all()) {
      const topic = attributes[BIND_ATTRIBUTE];
      if (topic !== undefined) groupMeta.set(topic, [...(groupMeta.get(topic) ?? []), groupName]);
    }
    const lite = [...topics.all()].filter(isLite);
    return json(command, {
      storeType: "default",
      maxLmqNum: settings.maxLmqConsumeQueueNum,
      currentLmqNum: lmq.names.size,
      liteSubscriptionCount: 0,
      orderInfoCount: 0,
      cqTableSize: [...topics.all()].length + lmq.names.size,
      offsetTableSize: [...groups.all()].reduce((sum, { groupName }) => sum + this.#o.offsets.topicsOf(groupName).length, 0),
      eventMapSize: 0,
      topicMeta: new Map(lite.map((topic) => [topic.topicName, ttlOf(topic)])),
      groupMeta,
    });
  }

  #ofParent(command: RemotingCommand): RemotingCommand {
    const { groups, lmq } = this.#o;
    const topic = this.#parent(command, requiredText(command, "topic"));
    if ("code" in topic) return topic;
    const bound = [...groups.all()].filter(({ attributes }) => attributes[BIND_ATTRIBUTE] === topic.topicName);
    return json(command, {
      topic: topic.topicName,
      ttl: ttlOf(topic),
      groups: bound.map(({ groupName }) => groupName),
      lmqNum: lmq.names.size,
      liteTopicCount: [...lmq.names.keys()].filter((name) => parentOf(name) === topic.topicName).length,
    });
  }

  #ofOne(command: RemotingCommand): RemotingCommand {
    const { store } = this.#o;
    const topic = this.#parent(command, requiredText(command, "parentTopic"));
    if ("code" in topic) return topic;
    const liteTopic = requiredText(command, "liteTopic");
    const name = liteQueueName(topic.topicName, liteTopic);
    const maxOffset = store.maxQueueOffset(name, 0);
    return json(command, {
      parentTopic: topic.topicName,
      liteTopic,
      subscriber: [],
      topicOffset: {
        minOffset: store.minQueueOffset(name, 0),
        maxOffset,
        lastUpdateTimestamp: maxOffset > 0 ? store.storeTimestamp(name, 0, maxOffset - 1) : 0,
      },
      shardingToBroker: true,
    });
  }

  #ofClient(command: RemotingCommand): RemotingCommand {
    const topic = this.#parent(command, requiredText(command, "parentTopic"));
    if ("code" in topic) return topic;
    const group = requiredText(command, "group");
    const config = this.#o.groups.find(group);
    if (config === undefined) return response(command, ResponseCode.INVALID_PARAMETER, `Group [${group}] not exist.`);
    if (config.attributes[BIND_ATTRIBUTE] !== topic.topicName) {
      return response(command, ResponseCode.INVALID_PARAMETER, `Subscription [${group}]-[${topic.topicName}] not match.`);
    }
    const clientId = optionalText(command, "clientId");
    const nothing = { lastAccessTime: -1, lastConsumeTime: 0, liteTopicCount: -1 };
    return json(command, { parentTopic: topic.topicName, group, clientId, ...nothing });
  }

  #ofGroup(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "group");
    const parent = this.#boundTopic(command, group);
    if (typeof parent !== "string") return parent;
    const liteTopic = optionalText(command, "liteTopic") ?? "";
    if (liteTopic === "") return this.#lags(command, group, parent, requiredInteger(command, "topK"));
    const { store, offsets } = this.#o;
    const name = liteQueueName(parent, liteTopic);
    const members = { group, parentTopic: parent, liteTopic };
    const brokerOffset = store.maxQueueOffset(name, 0);
    if (brokerOffset === 0) return json(command, { ...members, totalLagCount: -1, earliestUnconsumedTimestamp: -1 });
    const consumerOffset = offsets.get(group, name, 0);
    if (consumerOffset < 0) return json(command, { ...members, totalLagCount: 0, earliestUnconsumedTimestamp: -1 });
    const lastTimestamp = consumerOffset > 0 ? store.storeTimestamp(name, 0, consumerOffset - 1) : 0;
    return json(command, {
      ...members,
      totalLagCount: brokerOffset - consumerOffset,
      earliestUnconsumedTimestamp: store.storeTimestamp(name, 0, consumerOffset),
      liteTopicOffsetWrapper: { brokerOffset, consumerOffset, pullOffset: 0, lastTimestamp },
    });
  }

  /** The lite topics in which the group is furthest behind. Source: Apache `LiteConsumerLagCalculator`. */
  #lags(command: RemotingCommand, group: string, parent: string, topK: number): RemotingCommand {
    const { store, offsets } = this.#o;
    const lags = offsets.topicsOf(group).flatMap((name) => {
      const offset = offsets.get(group, name, 0);
      const lagCount = store.maxQueueOffset(name, 0) - offset;
      if (parentOf(name) !== parent || lagCount <= 0) return [];
      const liteTopic = name.slice(liteQueueName(parent, "").length);
      return [{ liteTopic, lagCount, earliestUnconsumedTimestamp: store.storeTimestamp(name, 0, offset) }];
    });
    if (topK <= 0) return response(command, ResponseCode.INVALID_PARAMETER, `topK ${topK} is not above 0`);
    return json(command, {
      group,
      parentTopic: parent,
      totalLagCount: lags.reduce((sum, { lagCount }) => sum + lagCount, 0),
      earliestUnconsumedTimestamp: -1,
      lagCountTopK: lags.sort((a, b) => b.lagCount - a.lagCount).slice(0, topK),
      lagTimestampTopK: [], // Apache's broker measures it of what is subscribed.
    });
  }

  /** Nobody is subscribed, so that there is nobody to send to. */
  #trigger(command: RemotingCommand): RemotingCommand {
    const parent = this.#boundTopic(command, requiredText(command, "group"));
    return typeof parent === "string" ? response(command, ResponseCode.SUCCESS) : parent;
  }

  #parent(command: RemotingCommand, name: string): TopicConfig | RemotingCommand {
    const topic = this.#o.topics.get(name);
    if (topic === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `Topic [${name}] not exist.`);
    return isLite(topic) ? topic : response(command, ResponseCode.INVALID_PARAMETER, `Topic [${name}] type not match.`);
  }

  #boundTopic(command: RemotingCommand, group: string): string | RemotingCommand {
    const config = this.#o.groups.find(group);
    if (config === undefined) return response(command, ResponseCode.INVALID_PARAMETER, `Group [${group}] not exist.`);
    const topic = config.attributes[BIND_ATTRIBUTE] ?? "";
    return topic === "" ? response(command, ResponseCode.INVALID_PARAMETER, `Group [${group}] is not a LITE group.`) : topic;
  }
}

/** The topic of a lite topic's queue, or "". Source: Apache `LiteUtil.getParentTopic`. */
function parentOf(name: string): string {
  const [prefix, parent, liteTopic, more] = name.split("$");
  return prefix === LMQ_PREFIX && liteTopic !== undefined && liteTopic !== "" && more === undefined ? (parent ?? "") : "";
}

function isLite({ attributes }: TopicConfig): boolean {
  return attributes["message.type"] === "LITE";
}

/** Minutes; -1: it is none of that kind, or keeps its lite topics. */
function ttlOf(topic: TopicConfig | undefined): number {
  return topic !== undefined && isLite(topic) ? Number(topic.attributes[EXPIRATION_ATTRIBUTE] ?? -1) : -1;
}

function json(command: RemotingCommand, body: object): RemotingCommand {
  return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
}
