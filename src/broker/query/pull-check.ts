import { MillraceError } from "../../base/errors.ts";
import { isTagType } from "../../filter/entry-filter.ts";
import { FilterCache } from "../../filter/filter-cache.ts";
import { optionalInteger, optionalText, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { PERM_READ } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel } from "../channel.ts";
import type {
  ConsumerLookup,
  GroupLookup,
  OffsetLookup,
  SubscriptionData,
  SubscriptionGroupConfig,
  TopicLookup,
} from "../contracts.ts";
import type { ConsumerFilters } from "../groups/consumer-filters.ts";
import type { PublishedGroups } from "../groups/published-groups.ts";
import type { MessageStore } from "../message-store.ts";
import type { Compaction } from "../topics/compaction.ts";

export interface PullCheckOptions {
  settings: PullCheckSettings;
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  filters: Pick<ConsumerFilters, "get">;
  offsets: OffsetLookup;
  published: PublishedGroups;
  store: MessageStore;
  compaction: Pick<Compaction, "serve">;
  log: Log;
}

/** Names as in the configuration. */
export interface PullCheckSettings {
  brokerIP1: string;
  brokerPermission: number;
  litePullMessageEnable: boolean;
  enablePropertyFilter: boolean;
}

/** Bits of a pull's sysFlag. Source: Apache `PullSysFlag`. */
const FLAG_COMMIT_OFFSET = 1;
const FLAG_SUBSCRIPTION = 4;
const FLAG_CLASS_FILTER = 8;
/** Who forbids a pull. Source: Apache `ForbiddenType`. */
const FORBIDDEN_BY_BROKER = 1;
const FORBIDDEN_BY_GROUP = 2;
const FORBIDDEN_BY_TOPIC = 3;
const FORBIDDEN_BROADCAST = 4;
const FORBIDDEN_SUBSCRIPTION = 5;

interface Refusal {
  code: number;
  remark: string;
  header?: HeaderValues;
}

/**
 * Decides about pulls (11, 361) that an I/O worker has not served itself. The order of the checks is Apache's, since
 * the first that fails is answered. Control thread only. Source: Apache `PullMessageProcessor`.
 */
export class PullCheck {
  readonly #o: PullCheckOptions;
  readonly #expressions = new FilterCache();

  constructor(options: PullCheckOptions) {
    this.#o = options;
  }

  /**
   * @returns "replay": nothing is wrong, and the tables of the I/O workers are such that one can serve it now
   * @throws MillraceError MILLRACE_PROTOCOL when a field is missing or malformed
   */
  checkPull(command: RemotingCommand, channel: Channel): RemotingCommand | "replay" {
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const sysFlag = requiredInteger(command, "sysFlag");
    const subVersion = requiredInteger(command, "subVersion");
    for (const name of ["queueOffset", "maxMsgNums", "commitOffset", "suspendTimeoutMillis"]) requiredInteger(command, name);
    optionalInteger(command, "maxMsgBytes");

    const refusal =
      this.#checkBroker(command) ??
      this.#checkGroupAndTopic(group, topic, queueId, channel) ??
      ((sysFlag & FLAG_SUBSCRIPTION) !== 0
        ? this.#checkOwnSubscription(command)
        : this.#checkSubscription(group, topic, subVersion)) ??
      ((sysFlag & FLAG_CLASS_FILTER) !== 0 ? filterRefusal("classes") : undefined);
    if (refusal !== undefined) return response(command, refusal.code, refusal.remark, refusal.header);

    const reset = this.#o.offsets.pendingReset(group, topic, queueId);
    if (reset >= 0) return this.#answerReset(command, group, topic, queueId);
    const compacted = this.#o.compaction.serve(command);
    if (compacted !== undefined) {
      const commitOffset = requiredInteger(command, "commitOffset");
      if ((sysFlag & FLAG_COMMIT_OFFSET) !== 0 && commitOffset >= 0) this.#o.offsets.commit(group, topic, queueId, commitOffset);
      return compacted;
    }
    const unserved = this.#o.topics.serve(topic);
    if (unserved !== undefined) return response(command, unserved.code, unserved.remark);
    this.#o.published.refresh(group);
    return "replay";
  }

  #checkBroker(command: RemotingCommand): Refusal | undefined {
    const { brokerIP1, brokerPermission, litePullMessageEnable } = this.#o.settings;
    if ((brokerPermission & PERM_READ) === 0) {
      return forbidden(FORBIDDEN_BY_BROKER, `the broker[${brokerIP1}] pulling message is forbidden`);
    }
    if (command.code === RequestCode.LITE_PULL_MESSAGE && !litePullMessageEnable) {
      return forbidden(FORBIDDEN_BY_BROKER, `the broker[${brokerIP1}] for lite pull consumer is forbidden`);
    }
    return undefined;
  }

  #checkGroupAndTopic(groupName: string, topicName: string, queueId: number, channel: Channel): Refusal | undefined {
    const { groups, topics, log } = this.#o;
    const group = groups.find(groupName);
    if (group === undefined) {
      return { code: ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark: `subscription group [${groupName}] does not exist` };
    }
    if (!group.consumeEnable) return forbidden(FORBIDDEN_BY_GROUP, `subscription group no permission, ${groupName}`);
    const topic = topics.get(topicName);
    if (topic === undefined) {
      log.warn({ topic: topicName, group: groupName, consumer: channel.remoteAddress }, "a topic that does not exist is pulled");
      return { code: ResponseCode.TOPIC_NOT_EXIST, remark: `topic[${topicName}] not exist, apply first please!` };
    }
    if ((topic.perm & PERM_READ) === 0)
      return forbidden(FORBIDDEN_BY_TOPIC, `the topic[${topicName}] pulling message is forbidden`);
    if (!(queueId >= 0 && queueId < topic.readQueueNums)) {
      const { readQueueNums } = topic;
      const remark = `queueId[${queueId}] is illegal, topic:[${topicName}] topicConfig.readQueueNums:[${readQueueNums}]`;
      return { code: ResponseCode.INVALID_PARAMETER, remark: `${remark} consumer:[${channel.remoteAddress}]` };
    }
    return undefined;
  }

  /** The subscription is the one of the group's heart-beats. */
  #checkSubscription(groupName: string, topic: string, subVersion: number): Refusal | undefined {
    const { groups, consumers } = this.#o;
    const config = groups.get(groupName) as SubscriptionGroupConfig;
    const online = consumers.group(groupName);
    if (online === undefined || online.clients.size === 0) {
      return { code: ResponseCode.SUBSCRIPTION_NOT_EXIST, remark: "the consumer's group info not exist" };
    }
    if (!config.consumeBroadcastEnable && online.messageModel === "BROADCASTING") {
      return forbidden(FORBIDDEN_BROADCAST, `the consumer group[${groupName}] can not consume by broadcast way`);
    }
    if (groups.isForbidden(groupName, topic)) {
      return forbidden(FORBIDDEN_SUBSCRIPTION, `the consumer group[${groupName}] is forbidden for topic[${topic}]`);
    }
    const subscription = online.subscriptions.get(topic);
    if (subscription === undefined)
      return { code: ResponseCode.SUBSCRIPTION_NOT_EXIST, remark: "the consumer's subscription not exist" };
    if (subscription.subVersion < subVersion) {
      return { code: ResponseCode.SUBSCRIPTION_NOT_LATEST, remark: "the consumer's subscription not latest" };
    }
    return isTagType(subscription.expressionType) ? undefined : this.#checkFilter(groupName, subscription, subVersion);
  }

  /** The expression that the group registered. */
  #checkFilter(group: string, { topic, expressionType }: SubscriptionData, subVersion: number): Refusal | undefined {
    const filter = this.#o.filters.get(topic, group);
    if (filter === undefined) {
      const remark = "The broker's consumer filter data is not exist!Your expression may be wrong!";
      return { code: ResponseCode.FILTER_DATA_NOT_EXIST, remark };
    }
    if (filter.clientVersion < subVersion) {
      return { code: ResponseCode.FILTER_DATA_NOT_LATEST, remark: "the consumer's consumer filter data not latest" };
    }
    return this.#o.settings.enablePropertyFilter ? undefined : filterRefusal(expressionType);
  }

  /** The subscription is in the request itself, so that no heart-beat is needed. Source: Apache `FilterAPI.build`. */
  #checkOwnSubscription(command: RemotingCommand): Refusal | undefined {
    const expressionType = optionalText(command, "expressionType");
    const text = optionalText(command, "subscription") ?? "";
    const isTag = isTagType(expressionType);
    if (!isTag && text === "") return parseRefusal();
    if (!isTag && !this.#o.settings.enablePropertyFilter) return filterRefusal(expressionType ?? "");
    try {
      this.#expressions.get(expressionType, text);
      return undefined;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return isTag ? parseRefusal() : parseRefusal(error.message);
    }
  }

  /** An administrator has moved the group: the pull that learns of it ends the reset. */
  #answerReset(command: RemotingCommand, group: string, topic: string, queueId: number): RemotingCommand {
    const { offsets, store, groups, topics } = this.#o;
    return response(command, ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET", {
      suggestWhichBrokerId: groups.get(group)?.brokerId ?? 0,
      nextBeginOffset: offsets.takeReset(group, topic, queueId),
      minOffset: store.minQueueOffset(topic, queueId),
      maxOffset: store.maxQueueOffset(topic, queueId),
      topicSysFlag: topics.get(topic)?.topicSysFlag ?? 0,
      groupSysFlag: groups.get(group)?.groupSysFlag ?? 0,
    });
  }
}

function parseRefusal(why?: string): Refusal {
  const remark = "parse the consumer's subscription failed";
  return { code: ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark: why === undefined ? remark : `${remark}: ${why}` };
}

/** What an Apache broker answers that has enablePropertyFilter at its default. */
function filterRefusal(kind: string): Refusal {
  return { code: ResponseCode.SYSTEM_ERROR, remark: `The broker does not support consumer to filter message by ${kind}` };
}

function forbidden(type: number, remark: string): Refusal {
  return { code: ResponseCode.NO_PERMISSION, remark, header: { forbiddenType: type } };
}
