import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RETRY_PREFIX, TOPIC_SIZE_MAX, topicNameFault, UNSENDABLE_TOPICS } from "../../format/names.ts";
import { decodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { propertiesSizeMaxOf } from "../../format/record/record-crc.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import { type SendRequest, sendRequestOf, subMessagesOf } from "../../format/remoting/send-request.ts";
import { PERM_WRITE, TOPIC_UNIT, TOPIC_UNIT_SUB, type TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel } from "../channel.ts";
import type { GroupLookup } from "../contracts.ts";
import { isCompacted } from "../topics/compaction.ts";
import { PERM_READ_WRITE, type Topics } from "../topics/topics.ts";
import type { SendRefusal, SendResponses } from "./send-responses.ts";
import { isSpecialProperty, type SpecialSends } from "./special-send.ts";

export interface SendCheckOptions {
  settings: SendCheckSettings;
  topics: Topics;
  groups: GroupLookup;
  specials: SpecialSends;
  responses: SendResponses;
  clock: Clock;
  log: Log;
}

/** Names as in the configuration. */
export interface SendCheckSettings {
  enabledAppendPropCRC: boolean;
  brokerIP1: string;
  brokerPermission: number;
  /** ms since the epoch. */
  startAcceptSendRequestTimeStamp: number;
  maxMessageSize: number;
}

/**
 * Decides about sends (10, 310, 320) that an I/O worker has not served itself, and about replies. The order of the checks is Apache's,
 * since the first that fails is answered. Control thread only.
 * Source: Apache `SendMessageProcessor`, `AbstractSendMessageProcessor.msgCheck`.
 */
export class SendCheck {
  readonly #o: SendCheckOptions;

  constructor(options: SendCheckOptions) {
    this.#o = options;
  }

  /** @returns "replay": nothing is wrong, and the tables of the I/O workers are such that one can serve it now */
  checkSend(command: RemotingCommand, channel: Channel): RemotingCommand | "replay" | Promise<RemotingCommand> {
    const { responses, specials } = this.#o;
    let request: SendRequest;
    let topic: TopicConfig | SendRefusal;
    try {
      request = sendRequestOf(command);
      topic = this.#checkTopic(request, channel);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return responses.failed(command, error);
    }
    if ("code" in topic) return responses.refused(command, topic);
    const refusal = this.#checkContent(command, request) ?? keyRefusal(request, topic);
    if (refusal !== undefined) return responses.refused(command, refusal);
    if (request.batch) return this.#checkBatch(command, channel, request, topic);
    return specials.isSpecial(request) ? specials.store(command, channel, request, topic) : "replay";
  }

  /** The checks of a reply (324, 325): the same, but nothing of it is special. @returns its topic */
  checkReply(command: RemotingCommand, channel: Channel, request: SendRequest): TopicConfig | SendRefusal {
    const topic = this.#checkTopic(request, channel);
    return "code" in topic ? topic : (this.#checkContent(command, request) ?? topic);
  }

  #checkTopic(request: SendRequest, channel: Channel): TopicConfig | SendRefusal {
    const { settings, topics, groups, clock } = this.#o;
    const { topic: name, queueId } = request;
    if (clock.now() < settings.startAcceptSendRequestTimeStamp) {
      const until = new Date(settings.startAcceptSendRequestTimeStamp).toISOString();
      return { code: ResponseCode.SYSTEM_ERROR, remark: `broker unable to service, until ${until}` };
    }
    if ((settings.brokerPermission & PERM_WRITE) === 0 && topics.get(name)?.order === true) {
      return { code: ResponseCode.NO_PERMISSION, remark: `the broker[${settings.brokerIP1}] sending message is forbidden` };
    }
    const fault = topicNameFault(name);
    if (fault !== undefined) return { code: ResponseCode.INVALID_PARAMETER, remark: fault };
    if (UNSENDABLE_TOPICS.has(name))
      return { code: ResponseCode.NO_PERMISSION, remark: `Sending message to topic[${name}] is forbidden.` };
    const topic = topics.get(name) ?? this.#create(request);
    if (topic === undefined)
      return { code: ResponseCode.TOPIC_NOT_EXIST, remark: `topic[${name}] not exist, apply first please!` };
    const { readQueueNums, writeQueueNums } = topic;
    if (queueId >= Math.max(readQueueNums, writeQueueNums) || (queueId < 0 && writeQueueNums === 0)) {
      const remark = `request queueId[${queueId}] is illegal, topic[${name}] has ${readQueueNums} read and ${writeQueueNums} write queues`;
      return { code: ResponseCode.INVALID_PARAMETER, remark: `${remark}, producer: ${channel.remoteAddress}` };
    }
    const unserved = topics.serve(name);
    if (unserved !== undefined) return unserved;
    // A batch to a retry topic is refused for being one, whatever its group.
    if (name.startsWith(RETRY_PREFIX) && !request.batch && groups.find(name.slice(RETRY_PREFIX.length)) === undefined) {
      const remark = `subscription group not exist, ${name.slice(RETRY_PREFIX.length)}`;
      return { code: ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark };
    }
    return topic;
  }

  #create({ topic, defaultTopic, defaultTopicQueueNums, unitMode, producerGroup }: SendRequest): TopicConfig | undefined {
    const { topics, log } = this.#o;
    const isRetry = topic.startsWith(RETRY_PREFIX);
    const sysFlag = !unitMode ? 0 : isRetry ? TOPIC_UNIT_SUB : TOPIC_UNIT;
    const created = topics.createForSend(topic, defaultTopic, defaultTopicQueueNums, sysFlag);
    if (created !== undefined) return created;
    if (isRetry) return topics.ensure(topic, 1, PERM_READ_WRITE, sysFlag);
    log.warn({ topic, defaultTopic, producerGroup }, "a message was sent to a topic that does not exist");
    return undefined;
  }

  #checkContent(command: RemotingCommand, { topic, batch, properties }: SendRequest): SendRefusal | undefined {
    const { maxMessageSize } = this.#o.settings;
    const propertiesSizeMax = propertiesSizeMaxOf(this.#o.settings);
    if (batch && topic.length > TOPIC_SIZE_MAX) return illegal(`message topic length too long ${topic.length}`);
    if (batch && topic.startsWith(RETRY_PREFIX)) return illegal(`batch request does not support retry group ${topic}`);
    if (topic.length > TOPIC_SIZE_MAX && !topic.startsWith(RETRY_PREFIX))
      return illegal(`message topic length too long ${topic.length}`);
    if (command.body.length === 0) return illegal("the message is illegal, it has no body");
    if (command.body.length > maxMessageSize) {
      return illegal(
        `the message is illegal, its body has ${command.body.length} bytes, msg body length limit ${maxMessageSize}B`,
      );
    }
    // Its length in characters at most equals that in bytes, so the cheap look comes first.
    if (properties.length > propertiesSizeMax || Buffer.byteLength(properties) > propertiesSizeMax) {
      return illegal(`the message is illegal, its properties are larger than the limit of ${propertiesSizeMax} bytes`);
    }
    return undefined;
  }

  #checkBatch(
    command: RemotingCommand,
    channel: Channel,
    request: SendRequest,
    topic: TopicConfig,
  ): RemotingCommand | "replay" | Promise<RemotingCommand> {
    const { responses, specials } = this.#o;
    const messages = subMessagesOf(command.body);
    if (messages === undefined) return responses.refused(command, illegal("the message is illegal, its body is no batch"));
    let isSpecial = specials.isSpecial(request);
    for (const { properties } of [request, ...messages]) {
      for (const [name, value] of decodeProperties(properties)) {
        if (isParkingProperty(name, value)) {
          // Apache's broker would deliver such a message at once, as if it had never been asked for anything else.
          const remark = "the message is illegal, messages of a batch can be neither delayed, timed nor part of a transaction";
          return responses.refused(command, illegal(remark));
        }
        isSpecial ||= isSpecialProperty(name, value);
      }
    }
    return isSpecial ? specials.storeBatch(command, channel, request, topic, messages) : "replay";
  }
}

/** Without a key a message of a compacted topic would be lost. */
function keyRefusal({ batch, properties }: SendRequest, topic: TopicConfig): SendRefusal | undefined {
  if (batch || !isCompacted(topic)) return undefined;
  const keys = decodeProperties(properties).get(PROPERTY.KEYS) ?? "";
  return keys.trim() === "" ? illegal("Required message key is missing") : undefined;
}

/** Does the property ask to hold the message back? */
function isParkingProperty(name: string, value: string): boolean {
  if (name === PROPERTY.DELAY) return Number(value) > 0;
  if (name === PROPERTY.TRANSACTION_PREPARED) return value.toLowerCase() === "true";
  return name === PROPERTY.TIMER_DELAY_SEC || name === PROPERTY.TIMER_DELAY_MS || name === PROPERTY.TIMER_DELIVER_MS;
}

function illegal(remark: string): SendRefusal {
  return { code: ResponseCode.MESSAGE_ILLEGAL, remark };
}
