import { sleep } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { decodeMessages } from "../format/record/message.ts";
import { physicalOffsetOf } from "../format/record/message-id.ts";
import type { Explanation } from "../format/remoting/explanation.ts";
import { OwnRequestCode, RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import type { HeaderValues, RemotingCommand } from "../format/remoting/remoting-command.ts";
import { memberOf, parseJson, parseQueueTable } from "../format/text/fastjson.ts";
import { ClientInstance, type ClientOptions } from "./connection/client-instance.ts";
import { clientRequest, requestFailed } from "./connection/client-request.ts";
import { AUTO_CREATE_TOPIC } from "./connection/name-servers.ts";
import {
  MASTER_ID,
  type MessageQueue,
  PERM_READ,
  PERM_WRITE,
  type RouteBroker,
  readableQueues,
  type TopicRoute,
} from "./connection/routes.ts";
import { type ConsumedMessage, readMessages } from "./consume/consumed-message.ts";
import { askBroker, maxOffset, offsetOf } from "./consume/group-offsets.ts";
import { checkGroup, checkInteger, checkTopic, invalidOption } from "./options.ts";

export interface CreateTopicOptions {
  /** Queues on each broker. Default 4. */
  queueCount?: number;
  /** Bits: 4 read, 2 write. Default 6. */
  perm?: number;
  /** Only on this broker; default: on all masters. */
  brokerName?: string;
  /** Only on the masters of this cluster. */
  cluster?: string;
  /** `message.type`, `cleanup.policy` and the like. */
  attributes?: Readonly<Record<string, string>>;
}

/** Progress of a group in one queue. */
export interface QueueProgress {
  queue: MessageQueue;
  /** First readable offset. */
  minOffset: number;
  /** One past the last message. */
  maxOffset: number;
  /** The next offset that the group will get; undefined: none stored. */
  consumerOffset: number | undefined;
  /** Messages that the group has not committed. */
  lag: number;
}

export interface QueryOptions {
  /** Default 64. */
  maxCount?: number;
  /** Store time, ms. Default 0. */
  beginMs?: number;
  /** Default: now. */
  endMs?: number;
}

export interface ExplainOptions {
  /** Makes it quicker to find a message by its unique key. */
  topic?: string | undefined;
  /** Default: each group that reads the topic. */
  group?: string | undefined;
}

/** Where a message is on one broker, and why. */
export interface BrokerExplanation extends Explanation {
  brokerName: string;
}

const TIMEOUT_MS = 5_000;
/** How long a new topic may take to reach the name servers, ms; looked for at this interval. */
const ROUTE_WAIT_MS = 5_000;
const ROUTE_POLL_MS = 50;
const BODY_SIZE_MAX = 33_554_432;

/**
 * Topics, groups, offsets and stored messages of a cluster. All calls reject with MILLRACE_REQUEST_FAILED
 * (details.responseCode) when a server refuses, and as `RemotingClient.invoke` when it cannot be reached.
 */
export class Admin {
  readonly #instance: ClientInstance;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID */
  constructor(options: ClientOptions) {
    this.#instance = new ClientInstance(options);
  }

  /** Creates a topic, or changes it; resolves when the name server knows its route. */
  async createTopic(topic: string, options: CreateTopicOptions = {}): Promise<void> {
    checkTopic("topic", topic);
    const queueCount = checkInteger("queueCount", options.queueCount ?? 4, 1, 65_536);
    const perm = checkInteger("perm", options.perm ?? PERM_READ | PERM_WRITE, 0, 15);
    const attributes = Object.entries(options.attributes ?? {}).map(([key, value]) => `+${key}=${value}`);
    const masters = await this.#masters(options);
    await Promise.all(
      masters.map((address) =>
        this.#ask(address, RequestCode.UPDATE_AND_CREATE_TOPIC, {
          topic,
          defaultTopic: AUTO_CREATE_TOPIC,
          readQueueNums: queueCount,
          writeQueueNums: queueCount,
          perm,
          topicFilterType: "SINGLE_TAG",
          topicSysFlag: 0,
          order: false,
          attributes: attributes.join(","),
          force: false,
        }),
      ),
    );
    const { clock } = this.#instance;
    const deadlineMs = clock.now() + ROUTE_WAIT_MS;
    for (;;) {
      const route = await this.#instance.nameServers.refresh(topic);
      if (route !== undefined && route.queues.length >= masters.length) return;
      if (clock.now() > deadlineMs) {
        throw new MillraceError(
          "MILLRACE_TIMEOUT",
          `topic "${topic}" was created, but no name server knows it after ${ROUTE_WAIT_MS} ms`,
          { topic },
        );
      }
      await sleep(clock, ROUTE_POLL_MS);
    }
  }

  /** Deletes a topic and all its messages on all brokers, and its route. */
  async deleteTopic(topic: string): Promise<void> {
    checkTopic("topic", topic);
    const masters = await this.#masters({});
    await Promise.all(masters.map((address) => this.#ask(address, RequestCode.DELETE_TOPIC_IN_BROKER, { topic })));
    const answers = await this.#instance.nameServers.invokeAll(RequestCode.DELETE_TOPIC_IN_NAMESRV, { topic });
    for (const answer of answers) {
      if (answer.status === "rejected") throw answer.reason;
      if (answer.value.code !== ResponseCode.SUCCESS) throw requestFailed("the name server", answer.value);
    }
  }

  /** Names of all topics, system topics too. */
  async topics(): Promise<string[]> {
    const answer = await this.#instance.nameServers.invoke(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    if (answer.code !== ResponseCode.SUCCESS) throw requestFailed("the name server", answer);
    const list = memberOf(parseJson(answer.body), "topicList");
    return Array.isArray(list) ? list.filter((topic): topic is string => typeof topic === "string").sort() : [];
  }

  /** Where a topic lives; undefined when the name servers do not know it. */
  topicRoute(topic: string): Promise<TopicRoute | undefined> {
    checkTopic("topic", topic);
    // What is remembered may have been deleted since.
    this.#instance.nameServers.forget(topic);
    return this.#instance.nameServers.refresh(topic);
  }

  clusterInfo(): Promise<{ brokers: RouteBroker[]; clusters: Map<string, string[]> }> {
    return this.#instance.nameServers.clusterInfo();
  }

  /** Progress of `group` in each queue of `topic`. Rejects with MILLRACE_TOPIC_UNKNOWN. */
  async consumerOffsets(group: string, topic: string): Promise<QueueProgress[]> {
    checkGroup("group", group);
    const queues = await this.queues(topic);
    return Promise.all(queues.map((queue) => this.#progress(group, queue)));
  }

  /** Messages of `topic` that `group` has not committed, over all queues. */
  async consumerLag(group: string, topic: string): Promise<number> {
    return (await this.consumerOffsets(group, topic)).reduce((sum, { lag }) => sum + lag, 0);
  }

  /** The readable queues of a topic. Rejects with MILLRACE_TOPIC_UNKNOWN. */
  async queues(topic: string): Promise<MessageQueue[]> {
    const route = await this.topicRoute(topic);
    if (route === undefined) throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no broker has the topic "${topic}"`, { topic });
    return readableQueues(route);
  }

  /** First readable offset of a queue. */
  async minOffset(queue: MessageQueue): Promise<number> {
    await this.#know(queue);
    return offsetOf(await askBroker(this.#instance, queue, RequestCode.GET_MIN_OFFSET, {}));
  }

  /** One past the last message of a queue. */
  async maxOffset(queue: MessageQueue): Promise<number> {
    await this.#know(queue);
    return maxOffset(this.#instance, queue);
  }

  /** Offset of the first message that was stored at `timestampMs` or later. */
  async searchOffset(queue: MessageQueue, timestampMs: number): Promise<number> {
    await this.#know(queue);
    const header = { timestamp: timestampMs, boundaryType: "LOWER" };
    return offsetOf(await askBroker(this.#instance, queue, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, header));
  }

  /**
   * Moves a group: to a time (ms since 1970; -1: to the end), or in one queue to an offset. The group's
   * consumers, if any, follow by themselves.
   * @returns the new offsets, queue by queue
   */
  async resetOffset(
    group: string,
    topic: string,
    to: { timestamp: number } | { queueId: number; offset: number; brokerName?: string },
  ): Promise<{ queue: MessageQueue; offset: number }[]> {
    checkGroup("group", group);
    const header: HeaderValues =
      "timestamp" in to
        ? { group, topic, timestamp: to.timestamp, isForce: true }
        : { group, topic, timestamp: 0, isForce: true, queueId: to.queueId, offset: to.offset };
    const route = await this.topicRoute(topic);
    if (route === undefined) throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no broker has the topic "${topic}"`, { topic });
    const only = "queueId" in to ? to.brokerName : undefined;
    const masters = route.brokers.filter(({ brokerName }) => only === undefined || brokerName === only).flatMap(masterOf);
    const answers = await Promise.all(
      masters.map((address) => this.#ask(address, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, header)),
    );
    return answers.flatMap((answer) =>
      parseQueueTable(memberOf(parseJson(answer.body), "offsetTable")).map(({ queue, value }) => ({
        queue,
        offset: Number(value),
      })),
    );
  }

  /** The message with an offsetMsgId (made by the broker). Rejects with MILLRACE_REQUEST_FAILED when it is gone. */
  async viewMessage(offsetMsgId: string): Promise<ConsumedMessage> {
    const offset = physicalOffsetOf(offsetMsgId);
    if (offset === undefined) throw invalidOption("offsetMsgId", offsetMsgId, "32 or 56 hexadecimal digits");
    const answer = await this.#ask(storeAddressOf(offsetMsgId), RequestCode.VIEW_MESSAGE_BY_ID, { offset });
    const message = this.#messagesIn(answer.body, "")[0];
    if (message === undefined)
      throw new MillraceError("MILLRACE_PROTOCOL", "the broker's answer holds no message", { offsetMsgId });
    return message;
  }

  /** Messages of `topic` with the word `key` among their keys, newest last. */
  async queryByKey(topic: string, key: string, options: QueryOptions = {}): Promise<ConsumedMessage[]> {
    const messages = await this.#query(topic, key, options, { indexType: "K" });
    // The index knows hashes only.
    return messages.filter((message) => message.keys.includes(key));
  }

  /** Messages of `topic` with the UNIQ_KEY `msgId`; more than one if a send was repeated. */
  async queryByMsgId(topic: string, msgId: string, options: QueryOptions = {}): Promise<ConsumedMessage[]> {
    const messages = await this.#query(topic, msgId, options, { indexType: "U", _UNIQUE_KEY_QUERY: true });
    return messages.filter((message) => message.msgId === msgId);
  }

  async close(): Promise<void> {
    this.#instance.nameServers.stop();
    await this.#instance.remoting.close();
  }

  async #query(topic: string, key: string, options: QueryOptions, extra: HeaderValues): Promise<ConsumedMessage[]> {
    const header: HeaderValues = {
      topic: checkTopic("topic", topic),
      key,
      maxNum: checkInteger("maxCount", options.maxCount ?? 64, 1, 10_000),
      beginTimestamp: options.beginMs ?? 0,
      endTimestamp: options.endMs ?? this.#instance.clock.now(),
      ...extra,
    };
    const route = await this.topicRoute(topic);
    const found: ConsumedMessage[] = [];
    for (const broker of route?.brokers ?? []) {
      for (const address of masterOf(broker)) {
        const answer = await this.#instance.remoting.invoke(
          address,
          clientRequest(RequestCode.QUERY_MESSAGE, header),
          TIMEOUT_MS,
        );
        if (answer.code === ResponseCode.SUCCESS) found.push(...this.#messagesIn(answer.body, broker.brokerName));
        else if (answer.code !== ResponseCode.QUERY_NOT_FOUND) throw requestFailed(address, answer);
      }
    }
    return found.sort((a, b) => a.storeTimestamp - b.storeTimestamp);
  }

  /**
   * Where a message is and why: delayed, filtered, acked, in retry, dead-lettered …; from each broker that has it. Brokers of
   * Apache's know no such request.
   * @param messageId offsetMsgId or unique key
   */
  async explain(messageId: string, { topic = "", group = "" }: ExplainOptions = {}): Promise<BrokerExplanation[]> {
    const { brokers } = await this.clusterInfo();
    const header = { msgId: messageId, ...(topic === "" ? {} : { topic }), ...(group === "" ? {} : { group }) };
    const found: BrokerExplanation[] = [];
    for (const broker of brokers) {
      for (const address of masterOf(broker)) {
        const answer = await this.#instance.remoting.invoke(
          address,
          clientRequest(OwnRequestCode.EXPLAIN_MESSAGE, header),
          TIMEOUT_MS,
        );
        if (answer.code === ResponseCode.SUCCESS) {
          found.push({ brokerName: broker.brokerName, ...(JSON.parse(answer.body.toString("utf8")) as Explanation) });
        } else if (answer.code !== ResponseCode.QUERY_NOT_FOUND) throw requestFailed(address, answer);
      }
    }
    return found;
  }

  async #progress(group: string, queue: MessageQueue): Promise<QueueProgress> {
    const [stored, min, max] = await Promise.all([
      askBroker(this.#instance, queue, RequestCode.QUERY_CONSUMER_OFFSET, { consumerGroup: group, setZeroIfNotFound: false }),
      this.minOffset(queue),
      this.maxOffset(queue),
    ]);
    const consumerOffset = stored.code === ResponseCode.QUERY_NOT_FOUND ? undefined : offsetOf(stored);
    return {
      queue,
      minOffset: min,
      maxOffset: max,
      consumerOffset,
      lag: Math.max(0, max - Math.max(min, consumerOffset ?? min)),
    };
  }

  /** Sees to it that the address of the queue's broker is known. */
  async #know(queue: MessageQueue): Promise<void> {
    if (this.#instance.nameServers.readAddress(queue.brokerName) === undefined) await this.topicRoute(queue.topic);
  }

  async #masters(only: { brokerName?: string; cluster?: string }): Promise<string[]> {
    const { brokers } = await this.clusterInfo();
    const masters = brokers
      .filter(({ brokerName }) => only.brokerName === undefined || brokerName === only.brokerName)
      .filter(({ cluster }) => only.cluster === undefined || cluster === only.cluster)
      .flatMap(masterOf);
    if (masters.length > 0) return masters;
    throw new MillraceError("MILLRACE_CONFIG_INVALID", "the name servers know no such broker with a master", {
      brokerName: only.brokerName ?? "any",
      cluster: only.cluster ?? "any",
    });
  }

  async #ask(address: string, code: number, header: HeaderValues): Promise<RemotingCommand> {
    const answer = await this.#instance.remoting.invoke(address, clientRequest(code, header), TIMEOUT_MS);
    if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(address, answer);
    return answer;
  }

  /** Records of several topics and queues may stand here: each is read for itself. */
  #messagesIn(body: Buffer, brokerName: string): ConsumedMessage[] {
    const messages: ConsumedMessage[] = [];
    let at = 0;
    for (const { topic, queueId, size } of decodeMessages(body)) {
      messages.push(...readMessages({ topic, brokerName, queueId }, body.subarray(at, at + size), BODY_SIZE_MAX));
      at += size;
    }
    return messages;
  }
}

function masterOf(broker: RouteBroker): string[] {
  const address = broker.addresses.get(MASTER_ID);
  return address === undefined ? [] : [address];
}

/** `ip:port` in an offsetMsgId: ip (4 or 16 bytes), port as int32, both in hex. */
function storeAddressOf(offsetMsgId: string): string {
  const host = Buffer.from(offsetMsgId.slice(0, -16), "hex");
  const port = host.readInt32BE(host.length - 4);
  if (host.length === 8) return `${host[0]}.${host[1]}.${host[2]}.${host[3]}:${port}`;
  const groups = Array.from({ length: 8 }, (_, index) => host.readUInt16BE(2 * index).toString(16));
  return `[${groups.join(":")}]:${port}`;
}
