import {
  optionalBoolean,
  optionalInteger,
  optionalText,
  requiredInteger,
  requiredText,
} from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, type RemotingCommand, request, response } from "../../format/remoting/remoting-command.ts";
import { memberOf, parseJson, parseQueueTable, type QueueKey, queueTable, writeJson } from "../../format/text/fastjson.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { RequestHandler } from "../channel.ts";
import type { ConsumerClient, ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "./offsets.ts";

export interface OffsetResetOptions {
  brokerName: string;
  log: Log;
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  offsets: Offsets;
  store: MessageStore;
  /** useServerSideResetOffset, read at each request. */
  isServerSide: () => boolean;
}

/** Clients older than this (V3_0_7_SNAPSHOT) know neither 220 nor 221. */
const CLIENT_VERSION_MIN = 28;
const CLIENT_TIMEOUT_MS = 5000;
const ALL_QUEUES = -1;
const UNSET = -1;

/**
 * INVOKE_BROKER_TO_RESET_OFFSET (222) and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): what an administrator does to
 * a group's progress, and what the group's clients say it is. Source: Apache `AdminBrokerProcessor`, `Broker2Client`.
 */
export class OffsetReset {
  readonly #o: OffsetResetOptions;

  constructor(options: OffsetResetOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map<number, RequestHandler>([
      [RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, (command) => this.#reset(command)],
      [RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, (command) => this.#status(command)],
    ]);
  }

  #reset(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "group");
    const topic = requiredText(command, "topic");
    const timestampMs = requiredInteger(command, "timestamp");
    const config = this.#o.topics.get(topic);
    if (config === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `Topic ${topic} does not exist`);
    if (this.#o.groups.get(group) === undefined) {
      return response(command, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, `Group ${group} does not exist`);
    }
    if (this.#o.isServerSide()) return this.#resetHere(command, group, config, timestampMs);
    return this.#resetByClients(command, group, config, timestampMs);
  }

  #resetHere(command: RemotingCommand, group: string, config: TopicConfig, timestampMs: number): RemotingCommand {
    const { store, offsets, log } = this.#o;
    const topic = config.topicName;
    const queueId = optionalInteger(command, "queueId") ?? ALL_QUEUES;
    const wanted = optionalInteger(command, "offset") ?? UNSET;
    if (queueId >= config.readQueueNums) {
      return response(
        command,
        ResponseCode.INVALID_PARAMETER,
        `queueId ${queueId} is not in 0 to ${config.readQueueNums - 1} of topic ${topic}`,
      );
    }
    const targets = new Map<number, number>();
    if (queueId >= 0 && wanted !== UNSET) {
      const min = store.minQueueOffset(topic, queueId);
      const max = store.maxQueueOffset(topic, queueId);
      // As Apache's broker: one past the end is let through.
      if (wanted < min || wanted > max + 1) {
        return response(command, ResponseCode.SYSTEM_ERROR, `Target offset ${wanted} not in consume queue range [${min}-${max}]`);
      }
      targets.set(queueId, wanted);
    } else if (queueId >= 0) {
      targets.set(queueId, this.#offsetAt(topic, queueId, timestampMs));
    } else {
      for (let queue = 0; queue < config.readQueueNums; queue++) targets.set(queue, this.#offsetAt(topic, queue, timestampMs));
    }
    if (targets.size === 0) return response(command, ResponseCode.NO_MESSAGE, `topic ${topic} has no queues to reset`);
    for (const [queue, offset] of targets) offsets.reset(group, topic, queue, offset);
    log.info({ group, topic, offsets: Object.fromEntries(targets) }, "offsets reset");
    return this.#resetDone(command, topic, targets);
  }

  /** Every client of the group sets its own offsets, commits them, and starts over. */
  #resetByClients(command: RemotingCommand, group: string, config: TopicConfig, timestampMs: number): RemotingCommand {
    const { offsets, consumers, log } = this.#o;
    const topic = config.topicName;
    const isForced = optionalBoolean(command, "isForce") === true;
    const targets = new Map<number, number>();
    for (let queueId = 0; queueId < config.writeQueueNums; queueId++) {
      const committed = offsets.get(group, topic, queueId);
      if (committed < 0) {
        return response(command, ResponseCode.SYSTEM_ERROR, `group ${group} has no offset of ${topic} queue ${queueId}`);
      }
      const offset = this.#offsetAt(topic, queueId, timestampMs);
      targets.set(queueId, isForced || offset < committed ? offset : committed);
    }
    const clients = [...(consumers.group(group)?.clients.values() ?? [])];
    if (clients.length === 0) {
      return response(
        command,
        ResponseCode.CONSUMER_NOT_ONLINE,
        `group ${group} has no consumer online that could reset its offsets of ${topic}`,
      );
    }
    const old = clients.find(({ version }) => version < CLIENT_VERSION_MIN);
    if (old !== undefined) return this.#tooOld(command, old);
    const header = { topic, group, timestamp: timestampMs, isForce: isForced };
    for (const { channel, language } of clients) {
      const body = language === "CPP" ? this.#listBody(topic, targets) : this.#tableBody(topic, targets);
      const note = request(RequestCode.RESET_CONSUMER_CLIENT_OFFSET, channel.nextOpaque(), header, body);
      channel.write({ ...note, flag: FLAG_ONEWAY });
    }
    log.info({ group, topic, clients: clients.length }, "clients told to reset their offsets");
    return this.#resetDone(command, topic, targets);
  }

  async #status(command: RemotingCommand): Promise<RemotingCommand> {
    const topic = requiredText(command, "topic");
    const group = requiredText(command, "group");
    const wanted = optionalText(command, "clientAddr")?.trim() ?? "";
    const clients = [...(this.#o.consumers.group(group)?.clients.values() ?? [])];
    if (clients.length === 0) return response(command, ResponseCode.SYSTEM_ERROR, `group ${group} has no consumer online`);
    const asked = wanted === "" ? clients : clients.filter(({ clientId }) => clientId === wanted);
    const old = asked.find(({ version }) => version < CLIENT_VERSION_MIN);
    if (old !== undefined) return this.#tooOld(command, old);
    const answers = await Promise.all(asked.map((client) => this.#statusOf(client, group, topic)));
    const consumerTable = new Map<string, Map<QueueKey, unknown>>();
    for (const [at, { clientId }] of asked.entries()) {
      const answer = answers[at];
      if (answer !== undefined) consumerTable.set(clientId, answer);
    }
    return response(
      command,
      ResponseCode.SUCCESS,
      undefined,
      {},
      Buffer.from(writeJson({ consumerTable, messageQueueTable: {} })),
    );
  }

  /** What the client holds of the topic, or undefined if it does not say: the others' answers still count. */
  async #statusOf(client: ConsumerClient, group: string, topic: string): Promise<Map<QueueKey, unknown> | undefined> {
    const { channel, clientId } = client;
    try {
      const question = request(RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, channel.nextOpaque(), { topic, group });
      const answer = await channel.invoke(question, CLIENT_TIMEOUT_MS);
      if (answer.code !== ResponseCode.SUCCESS || answer.body.length === 0) return undefined;
      const table = parseQueueTable(memberOf(parseJson(answer.body), "messageQueueTable"));
      return queueTable(table.map(({ queue, value }) => [queue, value] as const));
    } catch (error) {
      this.#o.log.warn({ group, clientId, error: String(error) }, "consumer did not tell its status");
      return undefined;
    }
  }

  /** First message at or after the time; a negative time is the end. */
  #offsetAt(topic: string, queueId: number, timestampMs: number): number {
    const { store } = this.#o;
    if (timestampMs < 0) return store.maxQueueOffset(topic, queueId);
    return Math.max(0, store.searchOffset(topic, queueId, timestampMs, "LOWER"));
  }

  #tooOld(command: RemotingCommand, { clientId, version }: ConsumerClient): RemotingCommand {
    return response(command, ResponseCode.SYSTEM_ERROR, `client ${clientId} of version ${version} is too old for this request`);
  }

  #resetDone(command: RemotingCommand, topic: string, targets: ReadonlyMap<number, number>): RemotingCommand {
    return response(command, ResponseCode.SUCCESS, undefined, {}, this.#tableBody(topic, targets));
  }

  /** Source: Apache `ResetOffsetBody`. */
  #tableBody(topic: string, targets: ReadonlyMap<number, number>): Buffer {
    const { brokerName } = this.#o;
    const entries = [...targets].map(([queueId, offset]) => [{ brokerName, queueId, topic }, offset] as const);
    return Buffer.from(writeJson({ offsetTable: queueTable(entries) }));
  }

  /** Source: Apache `ResetOffsetBodyForC`, for clients whose JSON has no objects as keys. */
  #listBody(topic: string, targets: ReadonlyMap<number, number>): Buffer {
    const { brokerName } = this.#o;
    const offsetTable = [...targets].map(([queueId, offset]) => ({ brokerName, offset, queueId, topic }));
    return Buffer.from(writeJson({ offsetTable }));
  }
}
