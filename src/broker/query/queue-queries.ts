import { isTagType, messageFilter } from "../../filter/entry-filter.ts";
import { type DecodedMessage, decodeMessage } from "../../format/record/message.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { optionalBoolean, optionalText, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { queueTable, writeJson } from "../../format/text/fastjson.ts";
import type { ConsumerLookup, HandlerTable, SubscriptionData, TopicLookup } from "../contracts.ts";
import { type ConsumerFilters, filterMembers } from "../groups/consumer-filters.ts";
import type { MessageStore, QueueEntry } from "../message-store.ts";

export interface QueueQueriesOptions {
  brokerName: string;
  topics: TopicLookup;
  consumers: ConsumerLookup;
  filters: Pick<ConsumerFilters, "get">;
  store: MessageStore;
  /** Names as in the configuration: results of a query by unique key, and of any other, at most. */
  settings: { defaultQueryMaxNum: number; maxMsgsNumBatch: number };
}

const QUEUE_DATA_COUNT_MAX = 1024;

/**
 * Questions about queues and single messages: 12, 29, 30, 31, 32, 33, 202, 321.
 * Source: Apache `AdminBrokerProcessor`, `QueryMessageProcessor`.
 */
export class QueueQueries {
  readonly #o: QueueQueriesOptions;

  constructor(options: QueueQueriesOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, (command) => this.#searchOffset(command)],
      [RequestCode.GET_MAX_OFFSET, (command) => this.#maxOffset(command)],
      [RequestCode.GET_MIN_OFFSET, (command) => this.#minOffset(command)],
      [RequestCode.GET_EARLIEST_MSG_STORETIME, (command) => this.#earliestTime(command)],
      [RequestCode.VIEW_MESSAGE_BY_ID, (command) => this.#viewMessage(command)],
      [RequestCode.QUERY_MESSAGE, (command) => this.#queryMessage(command)],
      [RequestCode.GET_TOPIC_STATS_INFO, (command) => this.#topicStats(command)],
      [RequestCode.QUERY_CONSUME_QUEUE, (command) => this.#queueData(command)],
    ]);
  }

  #searchOffset(command: RemotingCommand): RemotingCommand {
    const boundary = optionalText(command, "boundaryType")?.toUpperCase() === "UPPER" ? "UPPER" : "LOWER";
    const { topic, queueId } = queueOf(command);
    const offset = this.#o.store.searchOffset(topic, queueId, requiredInteger(command, "timestamp"), boundary);
    return response(command, ResponseCode.SUCCESS, undefined, { offset });
  }

  #maxOffset(command: RemotingCommand): RemotingCommand {
    const { topic, queueId } = queueOf(command);
    const isCommitted = optionalBoolean(command, "committed") ?? true;
    const { store } = this.#o;
    const offset = isCommitted ? store.maxQueueOffset(topic, queueId) : store.appendedQueueOffset(topic, queueId);
    return response(command, ResponseCode.SUCCESS, undefined, { offset });
  }

  #minOffset(command: RemotingCommand): RemotingCommand {
    const { topic, queueId } = queueOf(command);
    return response(command, ResponseCode.SUCCESS, undefined, { offset: this.#o.store.minQueueOffset(topic, queueId) });
  }

  #earliestTime(command: RemotingCommand): RemotingCommand {
    const { topic, queueId } = queueOf(command);
    const { store } = this.#o;
    const timestamp = store.storeTimestamp(topic, queueId, store.minQueueOffset(topic, queueId));
    return response(command, ResponseCode.SUCCESS, undefined, { timestamp });
  }

  #viewMessage(command: RemotingCommand): RemotingCommand {
    const offset = requiredInteger(command, "offset");
    const record = this.#o.store.readRecord(offset);
    if (record === undefined)
      return response(command, ResponseCode.SYSTEM_ERROR, `can not find message by the offset, ${offset}`);
    return response(command, ResponseCode.SUCCESS, undefined, {}, record);
  }

  #queryMessage(command: RemotingCommand): RemotingCommand {
    const topic = requiredText(command, "topic");
    const key = requiredText(command, "key");
    const isUnique = optionalText(command, "_UNIQUE_KEY_QUERY")?.toLowerCase() === "true";
    const asked = requiredInteger(command, "maxNum");
    const { defaultQueryMaxNum, maxMsgsNumBatch } = this.#o.settings;
    const count = Math.min(isUnique ? defaultQueryMaxNum : asked, maxMsgsNumBatch);
    const type = keyType(optionalText(command, "indexType"), isUnique);
    const begin = requiredInteger(command, "beginTimestamp");
    const end = requiredInteger(command, "endTimestamp");
    const found = this.#o.store.queryIndex(topic, key, Math.max(1, count), begin, end, type);
    const records: Buffer[] = [];
    // The newest are found first; they are answered in the order in which they were sent.
    for (const physicalOffset of [...found.physicalOffsets].sort((a, b) => a - b)) {
      const record = this.#o.store.readRecord(physicalOffset);
      // The index holds hashes: what collides is sorted out here, so that clients see true matches only.
      if (record !== undefined && hasKey(decodeMessage(record), topic, key, type)) records.push(record);
    }
    const header = {
      indexLastUpdateTimestamp: found.lastUpdateTimestampMs,
      indexLastUpdatePhyoffset: found.lastUpdatePhysicalOffset,
    };
    if (records.length === 0) {
      return response(command, ResponseCode.QUERY_NOT_FOUND, "can not find message, maybe time range not correct", header);
    }
    return response(command, ResponseCode.SUCCESS, undefined, header, Buffer.concat(records));
  }

  #topicStats(command: RemotingCommand): RemotingCommand {
    const topic = requiredText(command, "topic");
    const config = this.#o.topics.get(topic);
    if (config === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist`);
    const { store, brokerName } = this.#o;
    const rows = Array.from({ length: Math.max(config.readQueueNums, config.writeQueueNums) }, (_, queueId) => {
      const minOffset = store.minQueueOffset(topic, queueId);
      const maxOffset = store.maxQueueOffset(topic, queueId);
      const lastUpdateTimestamp = maxOffset > minOffset ? store.storeTimestamp(topic, queueId, maxOffset - 1) : 0;
      return [
        { brokerName, queueId, topic },
        { lastUpdateTimestamp, maxOffset, minOffset },
      ] as const;
    });
    return response(
      command,
      ResponseCode.SUCCESS,
      undefined,
      {},
      Buffer.from(writeJson({ offsetTable: queueTable(rows), topicPutTps: 0 })),
    );
  }

  #queueData(command: RemotingCommand): RemotingCommand {
    const { topic, queueId } = queueOf(command);
    const { store } = this.#o;
    const index = requiredInteger(command, "index");
    const count = Math.min(requiredInteger(command, "count"), QUEUE_DATA_COUNT_MAX);
    if (store.appendedQueueOffset(topic, queueId) === 0) {
      return response(command, ResponseCode.SYSTEM_ERROR, `${queueId}@${topic} is not exist!`);
    }
    if (store.queueEntry(topic, queueId, index) === undefined) {
      return response(command, ResponseCode.SUCCESS, `no entry ${index} in queue ${queueId} of topic ${topic}`);
    }
    const filter = this.#filterOf(optionalText(command, "consumerGroup"), topic);
    const queueData: unknown[] = [];
    for (let offset = index; offset < index + count; ) {
      const entry = store.queueEntry(topic, queueId, offset);
      if (entry === undefined) break;
      offset = entry.endOffset ?? offset + 1;
      const { physicalOffset, size, tagsCode } = entry;
      queueData.push({ eval: filter.takes(entry), physicOffset: physicalOffset, physicSize: size, tagsCode });
    }
    const { subscriptionData, filterData } = filter;
    const [minQueueIndex, maxQueueIndex] = [store.minQueueOffset(topic, queueId), store.maxQueueOffset(topic, queueId)];
    const body = { filterData, maxQueueIndex, minQueueIndex, queueData, subscriptionData };
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
  }

  /** Which entries the group would be given. */
  #filterOf(group: string | undefined, topic: string): GroupFilter {
    if (group === undefined || group === "") return { takes: () => false };
    const subscription = this.#o.consumers.group(group)?.subscriptions.get(topic);
    if (subscription === undefined) return { takes: () => false, filterData: `${group}@${topic} is not online!` };
    if (isTagType(subscription.expressionType)) {
      const { codeSet } = subscription;
      return { subscriptionData: subscription, takes: ({ tagsCode }) => codeSet.length === 0 || codeSet.includes(tagsCode) };
    }
    const registered = this.#o.filters.get(topic, group);
    if (registered === undefined) return { subscriptionData: subscription, takes: () => false };
    const filter = messageFilter(registered.expressionType, registered.expression);
    const takes = ({ physicalOffset }: QueueEntry): boolean => {
      const record = this.#o.store.readRecord(physicalOffset);
      return record !== undefined && filter.matches(record, 0);
    };
    return { subscriptionData: subscription, filterData: JSON.stringify(filterMembers(registered), undefined, "\t"), takes };
  }
}

interface GroupFilter {
  subscriptionData?: SubscriptionData;
  /** The expression that the group registered, as JSON; or why nothing is known of its subscription. */
  filterData?: string;
  takes(entry: QueueEntry): boolean;
}

function queueOf(command: RemotingCommand): { topic: string; queueId: number } {
  return { topic: requiredText(command, "topic"), queueId: requiredInteger(command, "queueId") };
}

function keyType(indexType: string | undefined, isUnique: boolean): "K" | "U" | "T" {
  if (isUnique) return "U";
  return indexType === "U" || indexType === "T" ? indexType : "K";
}

function hasKey({ topic, properties }: DecodedMessage, wantedTopic: string, key: string, type: "K" | "U" | "T"): boolean {
  if (topic !== wantedTopic) return false;
  if (type === "T") return properties.get(PROPERTY.TAGS) === key;
  // Clients ask for either kind without saying which.
  return properties.get(PROPERTY.UNIQ_KEY) === key || (properties.get(PROPERTY.KEYS) ?? "").split(" ").includes(key);
}
