import { MillraceError } from "../../base/errors.ts";
import { type EntryFilter, entryFilter } from "../../filter/entry-filter.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { PERM_READ, type TopicConfig } from "../../format/topic-config.ts";
import type { GroupLookup, TopicLookup } from "../contracts.ts";

export interface PopCheckOptions {
  topics: TopicLookup;
  groups: GroupLookup;
  /** Names as in the configuration. */
  settings: { brokerIP1: string; brokerPermission: number };
}

export interface Refusal {
  code: number;
  remark: string;
}

const FILTERS_MAX = 1000;

/** What pop, peek, notification and polling info check alike, in Apache's order. */
export class PopChecks {
  readonly #o: PopCheckOptions;
  readonly #filters = new Map<string, EntryFilter>();

  constructor(options: PopCheckOptions) {
    this.#o = options;
  }

  brokerRefusal(what: string): Refusal | undefined {
    const { brokerPermission, brokerIP1 } = this.#o.settings;
    if ((brokerPermission & PERM_READ) !== 0) return undefined;
    return { code: ResponseCode.NO_PERMISSION, remark: `the broker[${brokerIP1}] ${what} message is forbidden` };
  }

  /** Topic, queue and group; the group is made where it may be. */
  find(name: string, groupName: string, queueId: number, remoteAddress: string): TopicConfig | Refusal {
    const { topics, groups } = this.#o;
    const topic = topics.get(name);
    if (topic === undefined) return topicGone(name);
    if ((topic.perm & PERM_READ) === 0) {
      return { code: ResponseCode.NO_PERMISSION, remark: `the topic[${name}] peeking message is forbidden` };
    }
    if (queueId >= topic.readQueueNums) {
      return { code: ResponseCode.INVALID_PARAMETER, remark: queueIllegal(topic, queueId, remoteAddress) };
    }
    const group = groups.find(groupName);
    if (group === undefined) {
      return { code: ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark: `subscription group [${groupName}] does not exist` };
    }
    if (!group.consumeEnable) {
      return { code: ResponseCode.NO_PERMISSION, remark: `subscription group no permission, ${groupName}` };
    }
    return topic;
  }

  /** An empty expression is `*`. */
  filterOf(type: string | undefined, expression: string): EntryFilter | Refusal {
    const isAll = expression === "";
    const key = isAll ? "" : `${type ?? ""} ${expression}`;
    const known = this.#filters.get(key);
    if (known !== undefined) return known;
    try {
      const filter = isAll ? entryFilter(undefined, "*") : entryFilter(type, expression);
      if (this.#filters.size >= FILTERS_MAX) this.#filters.clear();
      this.#filters.set(key, filter);
      return filter;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return {
        code: ResponseCode.SUBSCRIPTION_PARSE_FAILED,
        remark: `parse the consumer's subscription failed: ${error.message}`,
      };
    }
  }
}

export function topicGone(name: string): Refusal {
  return { code: ResponseCode.TOPIC_NOT_EXIST, remark: `topic[${name}] not exist, apply first please!` };
}

export function queueIllegal(topic: TopicConfig, queueId: number, remoteAddress: string): string {
  const { topicName, readQueueNums } = topic;
  return `queueId[${queueId}] is illegal, topic:[${topicName}] topicConfig.readQueueNums:[${readQueueNums}] consumer:[${remoteAddress}]`;
}
