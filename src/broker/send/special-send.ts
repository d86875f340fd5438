import { DLQ_PREFIX, liteQueueName, RETRY_PREFIX } from "../../format/names.ts";
import {
  SYS_FLAG_BORN_HOST_V6,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_MULTI_TAGS,
  SYS_FLAG_PREPARED,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_STORE_HOST_V6,
  SYS_FLAG_TRANSACTION_MASK,
} from "../../format/record/message.ts";
import { decodeProperties, encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { propertiesSizeMaxOf } from "../../format/record/record-crc.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import type { SendRequest, SubMessage } from "../../format/remoting/send-request.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Channel } from "../channel.ts";
import type { GroupLookup, TopicLookup } from "../contracts.ts";
import { delayLevelOf, parkDelayed } from "../later/delay-levels.ts";
import { recallHandle } from "../later/recall.ts";
import type { AppendResult, MessageStore, OutgoingMessage } from "../message-store.ts";
import { dedupWindowOf } from "../topics/attributes.ts";
import type { LmqTopics } from "../topics/lmq-topics.ts";
import { TIMER_TOPIC } from "../topics/system-topics.ts";
import { type SendRefusal, type SendResponses, storeRefusal } from "./send-responses.ts";

/** Changes where and how a message is stored, or says why it is not. */
export type MessageTransform = (message: OutgoingMessage) => OutgoingMessage | SendRefusal;

export interface SpecialSendsOptions {
  settings: SpecialSendSettings;
  responses: SendResponses;
  topics: TopicLookup;
  groups: GroupLookup;
  store: MessageStore;
  /** undefined: there are no queues of further names. */
  lmq?: LmqTopics;
  /** Somebody consumes the group's queues in order: what it cannot handle must not come back later. */
  isGroupLocked: (group: string) => boolean;
  newUniqueKey: () => string;
  /** Parks a half message; without it transactions are refused. */
  half?: MessageTransform | undefined;
  /** Parks a message with a delivery time. */
  timer: MessageTransform;
}

/** Names as in the configuration. */
export interface SpecialSendSettings {
  enabledAppendPropCRC: boolean;
  brokerIP1: string;
  brokerName: string;
  brokerClusterName: string;
  regionId: string;
  traceOn: boolean;
  rejectTransactionMessage: boolean;
  /** Levels of messageDelayLevel. */
  delayLevelCount: number;
}

/** From this sender version (V3_4_9) on the header's maxReconsumeTimes counts. */
const VERSION_MAX_RECONSUME = 121;
const TIMER_PROPERTIES = [PROPERTY.TIMER_DELAY_SEC, PROPERTY.TIMER_DELAY_MS, PROPERTY.TIMER_DELIVER_MS] as const;
const TIMER_OUT_MS = "TIMER_OUT_MS";
const PRIORITY = "_SYS_MSG_PRIORITY_";
const SHARDING_KEY = "__SHARDINGKEY";
const HOST_BITS = SYS_FLAG_BORN_HOST_V6 | SYS_FLAG_STORE_HOST_V6;
const UNUSUAL_BITS = SYS_FLAG_TRANSACTION_MASK | SYS_FLAG_INNER_BATCH | HOST_BITS;

/**
 * Stores what I/O workers do not: delayed and half messages, those with priority, sends to retry topics. The request
 * has passed all checks. Control thread only. Source: Apache `SendMessageProcessor`, `HookUtils`.
 */
export class SpecialSends {
  readonly #o: SpecialSendsOptions;
  #nextQueue = 0;

  constructor(options: SpecialSendsOptions) {
    this.#o = options;
  }

  /** Will an I/O worker leave the request to us, whatever its tables say? */
  isSpecial(request: SendRequest): boolean {
    const { topic, sysFlag, batch, reconsumeTimes } = request;
    if (topic.startsWith("%") || sysFlag < 0 || (sysFlag & UNUSUAL_BITS) !== 0) return true;
    if (batch) return reconsumeTimes > 0;
    for (const [name, value] of decodeProperties(request.properties)) if (isSpecialProperty(name, value)) return true;
    return false;
  }

  async store(command: RemotingCommand, channel: Channel, request: SendRequest, topic: TopicConfig): Promise<RemotingCommand> {
    const { responses, store, settings } = this.#o;
    const chosen = request.queueId >= 0 ? request.queueId : this.#anyQueue(topic);
    const received = withPriority(this.#messageOf(command, channel, request, topic, chosen), topic);
    const { queueId } = received;
    const further = this.#furtherRefusal(request.topic, received.properties);
    if (further !== undefined) return responses.refused(command, further);
    const message = this.#moved(command, request, received);
    if ("code" in message) return responses.refused(command, message);
    if (Buffer.byteLength(encodeProperties(message.properties)) > propertiesSizeMaxOf(settings)) {
      return responses.refused(
        command,
        illegal(`the properties are larger than ${propertiesSizeMaxOf(settings)} bytes with those that the broker adds`),
      );
    }
    try {
      const result = await store.append(message);
      // As Apache's broker: the queue in its topic, even where the message is parked elsewhere.
      const handle = recallHandle(settings.brokerName, message.properties);
      return responses.stored(command, [result], queueId, message.properties.get(PROPERTY.UNIQ_KEY), handle);
    } catch (error) {
      return responses.failed(command, error);
    }
  }

  /** One after the other: what is stored before a failure stays. */
  async storeBatch(
    command: RemotingCommand,
    channel: Channel,
    request: SendRequest,
    topic: TopicConfig,
    messages: readonly SubMessage[],
  ): Promise<RemotingCommand> {
    const { responses, store } = this.#o;
    if ((request.sysFlag & (SYS_FLAG_TRANSACTION_MASK | SYS_FLAG_INNER_BATCH)) !== 0) {
      return responses.refused(command, illegal("a batch can be neither part of a transaction nor an inner batch"));
    }
    const queueId = request.queueId >= 0 ? request.queueId : this.#anyQueue(topic);
    const envelope = this.#envelopeOf(channel, request, topic, queueId);
    const unpacked = messages.map(({ flag, body, properties }) => ({ flag, body, properties: decodeProperties(properties) }));
    for (const { properties } of unpacked) {
      const refusal = this.#furtherRefusal(request.topic, properties);
      if (refusal !== undefined) return responses.refused(command, refusal);
    }
    try {
      const results: AppendResult[] = [];
      for (const message of unpacked) results.push(await store.append({ ...envelope, ...message }));
      return responses.stored(command, results, queueId, undefined);
    } catch (error) {
      return responses.failed(command, error);
    }
  }

  /** A lite topic is a queue of its own name. Source: Apache `SendMessageProcessor.sendMessage`, `LiteUtil.toLmqName`. */
  #furtherRefusal(topic: string, properties: Map<string, string>): SendRefusal | undefined {
    const liteTopic = properties.get(PROPERTY.LITE_TOPIC);
    if (liteTopic !== undefined) properties.set(PROPERTY.MULTI_DISPATCH, liteQueueName(topic, liteTopic));
    try {
      return this.#o.lmq?.admit(topic, properties);
    } catch (error) {
      return storeRefusal(error);
    }
  }

  #anyQueue(topic: TopicConfig): number {
    this.#nextQueue = (this.#nextQueue + 1) & 0x3fff_ffff;
    return this.#nextQueue % topic.writeQueueNums;
  }

  #envelopeOf(channel: Channel, request: SendRequest, topic: TopicConfig, queueId: number): OutgoingMessage {
    const windowS = dedupWindowOf(topic.attributes);
    return {
      topic: request.topic,
      queueId,
      flag: request.flag,
      // The hosts' bits follow from the hosts.
      sysFlag: (request.sysFlag & ~HOST_BITS) | (topic.topicFilterType === "MULTI_TAG" ? SYS_FLAG_MULTI_TAGS : 0),
      bornTimestamp: request.bornTimestamp,
      bornHost: channel.remoteAddress,
      reconsumeTimes: request.reconsumeTimes,
      preparedTransactionOffset: 0,
      properties: new Map(),
      body: Buffer.alloc(0),
      once: windowS > 0 ? { topic: request.topic, windowS } : undefined,
    };
  }

  #messageOf(
    command: RemotingCommand,
    channel: Channel,
    request: SendRequest,
    topic: TopicConfig,
    queueId: number,
  ): OutgoingMessage {
    const { regionId, traceOn, brokerClusterName } = this.#o.settings;
    const properties = decodeProperties(request.properties);
    properties.delete(PROPERTY.POP_CK);
    properties.set(PROPERTY.MSG_REGION, regionId);
    properties.set(PROPERTY.TRACE_ON, String(traceOn));
    if (!properties.has(PROPERTY.UNIQ_KEY)) properties.set(PROPERTY.UNIQ_KEY, this.#o.newUniqueKey());
    properties.set(PROPERTY.CLUSTER, brokerClusterName);
    return { ...this.#envelopeOf(channel, request, topic, queueId), properties, body: command.body };
  }

  /** The message where it is to be stored. */
  #moved(command: RemotingCommand, request: SendRequest, message: OutgoingMessage): OutgoingMessage | SendRefusal {
    const { properties, sysFlag } = message;
    if (properties.has(PROPERTY.INNER_NUM) || (sysFlag & SYS_FLAG_INNER_BATCH) !== 0) {
      return illegal("a message that is no batch says that it is an inner batch");
    }
    if (request.topic.startsWith(RETRY_PREFIX)) return this.#parked(this.#deadOrAlive(command, request, message));
    return this.#parked(message);
  }

  /** Half, delayed and timed messages wait in topics of their own. */
  #parked(message: OutgoingMessage): OutgoingMessage | SendRefusal {
    const { settings, half } = this.#o;
    const { properties, sysFlag } = message;
    const delayLevel = delayLevelOf(properties, settings.delayLevelCount);
    if (
      properties.get(PROPERTY.TRANSACTION_PREPARED)?.toLowerCase() === "true" &&
      !(message.reconsumeTimes > 0 && delayLevel > 0)
    ) {
      if (!settings.rejectTransactionMessage && half !== undefined) return half(message);
      return {
        code: ResponseCode.NO_PERMISSION,
        remark: `the broker[${settings.brokerIP1}] sending transaction message is forbidden`,
      };
    }
    const transaction = sysFlag & SYS_FLAG_TRANSACTION_MASK;
    if (transaction === SYS_FLAG_PREPARED || transaction === SYS_FLAG_ROLLBACK) {
      return illegal(
        `sysFlag says that the message is part of a transaction, and the property ${PROPERTY.TRANSACTION_PREPARED} does not`,
      );
    }
    return this.later(message);
  }

  /** The message where it waits for its time, if it has to; committed messages of transactions come by here too. */
  later(message: OutgoingMessage): OutgoingMessage | SendRefusal {
    const { settings, timer } = this.#o;
    const { properties } = message;
    if (delayLevelOf(properties, settings.delayLevelCount) > 0) {
      for (const name of TIMER_PROPERTIES) properties.delete(name);
      return parkDelayed(message, settings.delayLevelCount);
    }
    if (isTimed(message)) {
      return timer(message);
    }
    return message;
  }

  /**
   * A consumer sends back what it could not handle. After too many tries, or where the group consumes in order, it goes
   * to the dead-letter topic. The group exists, since the checks have looked it up.
   */
  #deadOrAlive(command: RemotingCommand, request: SendRequest, message: OutgoingMessage): OutgoingMessage {
    const group = request.topic.slice(RETRY_PREFIX.length);
    const own = this.#o.groups.get(group)?.retryMaxTimes ?? 0;
    const max = command.version >= VERSION_MAX_RECONSUME ? (request.maxReconsumeTimes ?? own) : own;
    if (request.reconsumeTimes <= max && !this.#o.isGroupLocked(group)) return message;
    message.properties.set(PROPERTY.DELAY, "-1");
    const topic = this.#o.topics.ensure(`${DLQ_PREFIX}${group}`, 1, 6);
    return { ...message, topic: topic.topicName, queueId: 0 };
  }
}

/** Is the property one that decides where a message is stored? */
export function isSpecialProperty(name: string, value: string): boolean {
  if (name === PROPERTY.DELAY) return value !== "0";
  if (name.startsWith("TIMER_") || name.startsWith("INNER_")) return true;
  return name === PROPERTY.TRANSACTION_PREPARED || name === PROPERTY.POP_CK || name === PRIORITY || name === PROPERTY.LITE_TOPIC;
}

/** A message with a priority has its place in the queue of that number. Source: Apache `TopicMessageType.parseFromMessageProperty`. */
function withPriority(message: OutgoingMessage, topic: TopicConfig): OutgoingMessage {
  const { properties } = message;
  const text = properties.get(PRIORITY);
  if (text === undefined) return message;
  const isOtherwiseOrdered =
    properties.get(PROPERTY.TRANSACTION_PREPARED)?.toLowerCase() === "true" ||
    [PROPERTY.DELAY, ...TIMER_PROPERTIES, SHARDING_KEY].some((name) => properties.has(name));
  if (/^\d{1,9}$/.test(text) && !isOtherwiseOrdered) {
    return { ...message, queueId: Math.max(0, Math.min(Number(text), topic.writeQueueNums - 1)) };
  }
  properties.delete(PRIORITY);
  return message;
}

function isTimed({ topic, properties }: OutgoingMessage): boolean {
  if (topic === TIMER_TOPIC || properties.has(TIMER_OUT_MS)) return false;
  return TIMER_PROPERTIES.some((name) => properties.has(name));
}

function illegal(remark: string): SendRefusal {
  return { code: ResponseCode.MESSAGE_ILLEGAL, remark };
}
