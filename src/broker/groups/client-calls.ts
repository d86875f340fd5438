import { MillraceError } from "../../base/errors.ts";
import { physicalOffsetOf } from "../../format/record/message-id.ts";
import { optionalText, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, request, response } from "../../format/remoting/remoting-command.ts";
import type { ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";

export interface ClientCallsOptions {
  brokerName: string;
  consumers: ConsumerLookup;
  topics: TopicLookup;
  groups: GroupLookup;
  store: MessageStore;
}

/** Clients older than this (V3_1_8_SNAPSHOT) know neither request. */
const CLIENT_VERSION_MIN = 62;
const CLIENT_TIMEOUT_MS = 10_000;

/**
 * Requests of an administrator that a consumer has to answer: GET_CONSUMER_RUNNING_INFO (307) and
 * CONSUME_MESSAGE_DIRECTLY (309) go to the client as they are, and its answer comes back.
 * Source: Apache `AdminBrokerProcessor.callConsumer`.
 */
export class ClientCalls {
  readonly #o: ClientCallsOptions;

  constructor(options: ClientCallsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_CONSUMER_RUNNING_INFO, (command) => this.#runningInfo(command)],
      [RequestCode.CONSUME_MESSAGE_DIRECTLY, (command) => this.#consumeDirectly(command)],
    ]);
  }

  #runningInfo(command: RemotingCommand): Promise<RemotingCommand> {
    return this.#forward(command, requiredText(command, "consumerGroup"), requiredText(command, "clientId"), {}, command.body);
  }

  async #consumeDirectly(command: RemotingCommand): Promise<RemotingCommand> {
    const { brokerName, topics, groups, store } = this.#o;
    const group = requiredText(command, "consumerGroup");
    const messageId = requiredText(command, "msgId");
    const physicalOffset = physicalOffsetOf(messageId);
    const record = physicalOffset === undefined ? undefined : store.readRecord(physicalOffset);
    if (record === undefined) return response(command, ResponseCode.SYSTEM_ERROR, `no message of id ${messageId} is stored here`);
    const added: Record<string, string> = { brokerName };
    const topic = topics.get(optionalText(command, "topic") ?? "");
    if (topic !== undefined) added["topicSysFlag"] = String(topic.topicSysFlag);
    const config = groups.get(group);
    if (config !== undefined) added["groupSysFlag"] = String(config.groupSysFlag);
    return this.#forward(command, group, optionalText(command, "clientId") ?? "", added, record);
  }

  async #forward(
    command: RemotingCommand,
    group: string,
    clientId: string,
    added: Readonly<Record<string, string>>,
    body: Buffer,
  ): Promise<RemotingCommand> {
    const client = this.#o.consumers.client(group, clientId);
    if (client === undefined)
      return response(command, ResponseCode.SYSTEM_ERROR, `The Consumer <${group}> <${clientId}> not online`);
    if (client.version < CLIENT_VERSION_MIN) {
      return response(
        command,
        ResponseCode.SYSTEM_ERROR,
        `client ${clientId} of version ${client.version} is too old for this request`,
      );
    }
    const { channel } = client;
    try {
      const header = { ...command.extFields, ...added };
      const answer = await channel.invoke(request(command.code, channel.nextOpaque(), header, body), CLIENT_TIMEOUT_MS);
      return response(command, answer.code, answer.remark, answer.extFields, answer.body);
    } catch (error) {
      const isTimeout = error instanceof MillraceError && error.code === "MILLRACE_TIMEOUT";
      const reason = error instanceof Error ? error.message : String(error);
      if (isTimeout)
        return response(command, ResponseCode.CONSUME_MSG_TIMEOUT, `consumer <${group}> <${clientId}> Timeout: ${reason}`);
      return response(command, ResponseCode.SYSTEM_ERROR, `invoke consumer <${group}> <${clientId}> Exception: ${reason}`);
    }
  }
}
