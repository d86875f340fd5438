import type { Clock } from "../../base/clock.ts";
import { isLmq } from "../../format/names.ts";
import { optionalText, requiredBoolean, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { type QueueKey, queueTable, writeJson } from "../../format/text/fastjson.ts";
import type { ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import { subscriptionMembers } from "../groups/subscription-table.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "./offsets.ts";

export interface ConsumeStatsOptions {
  brokerName: string;
  /** `ip:port` that clients know us by. */
  brokerAddress: string;
  clock: Clock;
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  offsets: Offsets;
  store: MessageStore;
  /** Messages a second that the group gets of the topic. */
  consumeTps: (group: string, topic: string) => number;
}

/** Source: Apache `OffsetWrapper`; members in the order that Java writes. */
interface QueueProgress {
  brokerOffset: number;
  consumerOffset: number;
  /** Store time of the last message consumed, ms; 0 before any. */
  lastTimestamp: number;
  pullOffset: number;
}

/** Source: Apache `ConsumeStats`. */
interface GroupProgress {
  consumeTps: number;
  offsetTable: Map<QueueKey, QueueProgress>;
}

const TOPIC_SEPARATOR = ";";

/**
 * How far groups are, and who consumes what: 208, 300, 303, 317, 343, 345. Source: Apache `AdminBrokerProcessor`.
 */
export class ConsumeStats {
  readonly #o: ConsumeStatsOptions;

  constructor(options: ConsumeStatsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_CONSUME_STATS, (command) => this.#groupStats(command)],
      [RequestCode.QUERY_TOPIC_CONSUME_BY_WHO, (command) => this.#groupsOfTopic(command)],
      [RequestCode.QUERY_CONSUME_TIME_SPAN, (command) => this.#timeSpan(command)],
      [RequestCode.GET_BROKER_CONSUME_STATS, (command) => this.#brokerStats(command)],
      [RequestCode.QUERY_TOPICS_BY_CONSUMER, (command) => this.#topicsOfGroup(command)],
      [RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER, (command) => this.#subscription(command)],
    ]);
  }

  #groupStats(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "consumerGroup");
    const list = (optionalText(command, "topicList") ?? "").split(TOPIC_SEPARATOR).filter((topic) => topic.trim() !== "");
    const topic = optionalText(command, "topic")?.trim() ?? "";
    const asked = list.length > 0 ? list : topic === "" ? this.#o.offsets.topicsOf(group) : [topic];
    const stats: GroupProgress = { consumeTps: 0, offsetTable: new Map() };
    for (const name of asked) this.#addProgress(stats, group, name, "readQueueNums");
    return answer(command, stats);
  }

  #brokerStats(command: RemotingCommand): RemotingCommand {
    const isOrderOnly = requiredBoolean(command, "isOrder");
    const { groups, topics, offsets, brokerAddress } = this.#o;
    const consumeStatsList: Map<string, GroupProgress[]>[] = [];
    let totalDiff = 0;
    let totalInflightDiff = 0;
    for (const { groupName } of groups.all()) {
      const ofGroup: GroupProgress[] = [];
      for (const topic of offsets.topicsOf(groupName)) {
        if (isOrderOnly && topics.get(topic)?.order !== true) continue;
        const stats: GroupProgress = { consumeTps: 0, offsetTable: new Map() };
        if (this.#addProgress(stats, groupName, topic, "writeQueueNums")) ofGroup.push(stats);
      }
      for (const { offsetTable } of ofGroup) {
        for (const { brokerOffset, consumerOffset, pullOffset } of offsetTable.values()) {
          totalDiff += brokerOffset - consumerOffset;
          totalInflightDiff += pullOffset - consumerOffset;
        }
      }
      consumeStatsList.push(new Map([[groupName, ofGroup]]));
    }
    return answer(command, { brokerAddr: brokerAddress, consumeStatsList, totalDiff, totalInflightDiff });
  }

  /** @returns false where the topic is unknown, or the group is online and does not subscribe to it */
  #addProgress(stats: GroupProgress, group: string, topic: string, count: "readQueueNums" | "writeQueueNums"): boolean {
    const { topics, consumers, store, offsets, brokerName, consumeTps } = this.#o;
    const config = topics.get(topic);
    const subscriptions = consumers.group(group)?.subscriptions;
    if (config === undefined || (subscriptions !== undefined && subscriptions.size > 0 && !subscriptions.has(topic)))
      return false;
    const entries: [QueueKey, QueueProgress][] = [];
    for (let queueId = 0; queueId < config[count]; queueId++) {
      const consumerOffset = Math.max(0, offsets.get(group, topic, queueId));
      const consumed = consumerOffset > 0 ? store.storeTimestamp(topic, queueId, consumerOffset - 1) : 0;
      const progress = {
        brokerOffset: Math.max(0, store.maxQueueOffset(topic, queueId)),
        consumerOffset,
        lastTimestamp: Math.max(0, consumed),
        pullOffset: Math.max(consumerOffset, offsets.pullOffset(group, topic, queueId)),
      };
      entries.push([{ brokerName, queueId, topic }, progress]);
    }
    for (const [queue, progress] of queueTable(entries)) stats.offsetTable.set(queue, progress);
    stats.consumeTps += consumeTps(group, topic);
    return true;
  }

  #timeSpan(command: RemotingCommand): RemotingCommand {
    const { topics, store, offsets, brokerName, clock } = this.#o;
    const topic = requiredText(command, "topic");
    const group = requiredText(command, "group");
    const config = topics.get(topic);
    if (config === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist`);
    const consumeTimeSpanSet: object[] = [];
    for (let queueId = 0; queueId < config.writeQueueNums; queueId++) {
      const max = store.maxQueueOffset(topic, queueId);
      const committed = offsets.get(group, topic, queueId);
      const minTimeStamp = store.storeTimestamp(topic, queueId, store.minQueueOffset(topic, queueId));
      const nextStored = committed < max ? store.storeTimestamp(topic, queueId, Math.max(0, committed)) : -1;
      consumeTimeSpanSet.push({
        consumeTimeStamp: committed > 0 ? store.storeTimestamp(topic, queueId, committed - 1) : minTimeStamp,
        // How long the next message to consume has waited; none waits if its time is unknown.
        delayTime: nextStored > 0 ? Math.max(0, clock.now() - nextStored) : 0,
        maxTimeStamp: max > 0 ? store.storeTimestamp(topic, queueId, max - 1) : -1,
        messageQueue: { brokerName, queueId, topic },
        minTimeStamp,
      });
    }
    return answer(command, { consumeTimeSpanSet });
  }

  /** Groups that are online and subscribe to it, and groups that ever committed an offset of it. */
  #groupsOfTopic(command: RemotingCommand): RemotingCommand {
    const topic = requiredText(command, "topic");
    // Offsets of LMQ groups stand in a table of their own, which is not asked. Source: Apache `LmqConsumerOffsetManager`.
    const groups = new Set(this.#o.offsets.groupsOf(topic).filter((group) => !isLmq(group)));
    for (const { group, subscriptions } of this.#o.consumers.all()) if (subscriptions.has(topic)) groups.add(group);
    return answer(command, { groupList: [...groups] });
  }

  #topicsOfGroup(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "group");
    return answer(command, { brokerAddr: this.#o.brokerAddress, topicList: this.#o.offsets.topicsOf(group) });
  }

  #subscription(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "group");
    const topic = requiredText(command, "topic");
    const data = this.#o.consumers.group(group)?.subscriptions.get(topic);
    return answer(command, { group, subscriptionData: data === undefined ? undefined : subscriptionMembers(data), topic });
  }
}

function answer(command: RemotingCommand, body: object): RemotingCommand {
  return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
}
