import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { SYS_FLAG_COMPRESSED, SYS_FLAG_COMPRESSION_TYPE_MASK } from "../../format/record/message.ts";
import { decodeProperties, encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, request as requestOf } from "../../format/remoting/remoting-command.ts";
import { type SendRequest, sendRequestOf } from "../../format/remoting/send-request.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel } from "../channel.ts";
import type { HandlerTable } from "../contracts.ts";
import type { Producers } from "../groups/producers.ts";
import { parkDelayed } from "../later/delay-levels.ts";
import type { AppendResult, MessageStore } from "../message-store.ts";
import type { SendCheck } from "./send-check.ts";
import type { SendRefusal, SendResponses } from "./send-responses.ts";

export interface RequestReplyOptions {
  settings: RequestReplySettings;
  sendCheck: Pick<SendCheck, "checkReply">;
  responses: SendResponses;
  producers: Pick<Producers, "channelOf">;
  store: MessageStore;
  /** `ip:port` of the broker as clients know it. */
  storeHost: () => string;
  clock: Clock;
  log: Log;
}

/** Names as in the configuration. */
export interface RequestReplySettings {
  regionId: string;
  traceOn: boolean;
  storeReplyMessageEnable: boolean;
  /** Levels of messageDelayLevel. */
  delayLevelCount: number;
}

interface Outcome {
  code: number;
  remark?: string;
}

/** For the client that asked to take the reply. Source: Apache `Broker2Client.callClient`. */
const PUSH_TIMEOUT_MS = 10_000;

/**
 * SEND_REPLY_MESSAGE (324, 325): a reply is pushed (326) to the producer that asked, which the message's
 * REPLY_TO_CLIENT names, and stored besides. Whoever replies hears whether the one who asked has it.
 * Source: Apache `ReplyMessageProcessor`.
 */
export class RequestReply {
  readonly #o: RequestReplyOptions;
  #nextQueue = 0;

  constructor(options: RequestReplyOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.SEND_REPLY_MESSAGE, (command, channel) => this.#reply(command, channel)],
      [RequestCode.SEND_REPLY_MESSAGE_V2, (command, channel) => this.#reply(command, channel)],
    ]);
  }

  async #reply(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const { settings, sendCheck, responses } = this.#o;
    let request: SendRequest;
    let topic: TopicConfig | SendRefusal;
    try {
      request = sendRequestOf(command);
      topic = sendCheck.checkReply(command, channel, request);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return responses.failed(command, error);
    }
    if ("code" in topic) return responses.refused(command, topic);
    const queueId = request.queueId >= 0 ? request.queueId : this.#anyQueue(topic);
    const properties = decodeProperties(request.properties);
    properties.set(PROPERTY.MSG_REGION, settings.regionId);
    properties.set(PROPERTY.TRACE_ON, String(settings.traceOn));
    const outcome = await this.#push(command, channel, request, properties);
    // Read late, since the push may take its time.
    const kept = settings.storeReplyMessageEnable ? await this.#keep(command, channel, request, queueId, properties) : undefined;
    return responses.replied(command, outcome, queueId, kept);
  }

  #anyQueue(topic: TopicConfig): number {
    this.#nextQueue = (this.#nextQueue + 1) & 0x3fff_ffff;
    return this.#nextQueue % topic.writeQueueNums;
  }

  async #push(
    command: RemotingCommand,
    channel: Channel,
    request: SendRequest,
    properties: ReadonlyMap<string, string>,
  ): Promise<Outcome> {
    const { producers, storeHost, clock, log } = this.#o;
    const clientId = properties.get(PROPERTY.REPLY_TO_CLIENT);
    if (clientId === undefined) return failure(`reply message properties[${PROPERTY.REPLY_TO_CLIENT}] is null`);
    const target = producers.channelOf(clientId);
    if (target === undefined) return failure(`push reply message fail, channel of <${clientId}> not found.`);
    const { maxReconsumeTimes: _, batch: __, ...header } = request;
    const pushed = new Map(properties).set(PROPERTY.PUSH_REPLY_TIME, String(clock.now()));
    const push = {
      ...header,
      properties: encodeProperties(pushed),
      bornHost: channel.remoteAddress,
      storeHost: storeHost(),
      storeTimestamp: clock.now(),
    };
    let reason: string;
    try {
      const answer = await target.invoke(
        requestOf(RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, target.nextOpaque(), push, command.body),
        PUSH_TIMEOUT_MS,
      );
      if (answer.code === ResponseCode.SUCCESS) return { code: ResponseCode.SUCCESS };
      reason = `code ${answer.code}: ${answer.remark ?? ""}`;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    log.warn({ clientId, topic: request.topic, reason }, "a reply could not be handed over");
    return failure(`push reply message to ${clientId} fail.`);
  }

  /** The reply has been handed over, or not: whether it can be stored too does not change the answer. */
  async #keep(
    command: RemotingCommand,
    channel: Channel,
    request: SendRequest,
    queueId: number,
    properties: Map<string, string>,
  ): Promise<AppendResult | undefined> {
    const { topic, flag, sysFlag, bornTimestamp, reconsumeTimes } = request;
    const message = {
      topic,
      queueId,
      flag,
      // Unlike Apache's broker we keep what says that the body is compressed: who reads the topic needs it.
      sysFlag: sysFlag & (SYS_FLAG_COMPRESSED | SYS_FLAG_COMPRESSION_TYPE_MASK),
      bornTimestamp,
      bornHost: channel.remoteAddress,
      reconsumeTimes,
      preparedTransactionOffset: 0,
      properties,
      body: command.body,
    };
    try {
      return await this.#o.store.append(parkDelayed(message, this.#o.settings.delayLevelCount));
    } catch (error) {
      this.#o.log.error({ topic, queueId, error: String(error) }, "a reply could not be stored");
      return undefined;
    }
  }
}

function failure(remark: string): Outcome {
  return { code: ResponseCode.SYSTEM_ERROR, remark };
}
