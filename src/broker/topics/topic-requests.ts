import { MillraceError } from "../../base/errors.ts";
import { queueNameFault, RETRY_PREFIX } from "../../format/names.ts";
import {
  optionalInteger,
  optionalText,
  requiredBoolean,
  requiredInteger,
  requiredText,
} from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import { type TopicConfig, topicConfigFrom, topicConfigMembers } from "../../format/topic-config.ts";
import type { Channel, RequestHandler } from "../channel.ts";
import type { HandlerTable } from "../contracts.ts";
import { pageOf } from "../versioned-table.ts";
import { changeAttributes, parseAttributeChanges, TOPIC_ATTRIBUTES } from "./attributes.ts";
import { type Topics, type TopicsOptions, topicConfigFault } from "./topics.ts";

/**
 * Requests about topics: 17, 18, 21, 215, 305, 316, 351. Source: Apache `AdminBrokerProcessor`.
 */
export function topicHandlers(topics: Topics, options: TopicsOptions): HandlerTable {
  const requests = new TopicRequests(topics, options);
  return new Map<number, RequestHandler>([
    [RequestCode.UPDATE_AND_CREATE_TOPIC, (command, channel) => requests.update(command, channel)],
    [RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, (command, channel) => requests.updateList(command, channel)],
    [RequestCode.GET_ALL_TOPIC_CONFIG, (command) => requests.all(command)],
    [RequestCode.GET_TOPIC_CONFIG, (command) => requests.one(command)],
    [RequestCode.DELETE_TOPIC_IN_BROKER, (command, channel) => requests.delete(command, channel)],
    [RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER, (command) => requests.system(command)],
    [RequestCode.CLEAN_UNUSED_TOPIC, (command) => requests.cleanUnused(command)],
  ]);
}

class TopicRequests {
  readonly #topics: Topics;
  readonly #o: TopicsOptions;

  constructor(topics: Topics, options: TopicsOptions) {
    this.#topics = topics;
    this.#o = options;
  }

  async update(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const name = requiredText(command, "topic");
    requiredText(command, "defaultTopic");
    const config: TopicConfig = {
      topicName: name,
      readQueueNums: requiredInteger(command, "readQueueNums"),
      writeQueueNums: requiredInteger(command, "writeQueueNums"),
      perm: requiredInteger(command, "perm"),
      topicFilterType: requiredText(command, "topicFilterType"),
      topicSysFlag: optionalInteger(command, "topicSysFlag") ?? 0,
      order: requiredBoolean(command, "order"),
      attributes: Object.fromEntries(parseAttributeChanges(optionalText(command, "attributes") ?? "")),
    };
    return this.#change(command, channel, [config]);
  }

  async updateList(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const list = memberOf(parseJson(command.body), "topicConfigList");
    if (!Array.isArray(list)) throw new MillraceError("MILLRACE_PROTOCOL", "the body has no topicConfigList");
    const configs = list.map((value) => {
      const name = memberOf(value, "topicName");
      if (typeof name !== "string") throw new MillraceError("MILLRACE_PROTOCOL", "a topic without a name");
      return topicConfigFrom(name, value);
    });
    return this.#change(command, channel, configs);
  }

  /** @param wanted attributes still as `+key` and `-key` */
  async #change(command: RemotingCommand, channel: Channel, wanted: readonly TopicConfig[]): Promise<RemotingCommand> {
    const changed: TopicConfig[] = [];
    for (const config of wanted) {
      const { topicName } = config;
      const fault = queueNameFault(topicName) ?? this.#systemFault(topicName) ?? topicConfigFault(config);
      if (fault !== undefined) return response(command, ResponseCode.INVALID_PARAMETER, fault);
      if (config.attributes["+message.type"] === "MIXED" && !this.#o.settings.enableMixedMessageType) {
        return response(command, ResponseCode.INVALID_PARAMETER, "MIXED message type is not supported.");
      }
      const known = this.#topics.get(topicName);
      const attributes = changeAttributes(
        TOPIC_ATTRIBUTES,
        known === undefined,
        known?.attributes ?? {},
        entriesOf(config.attributes) as [string, string][],
      );
      const next = { ...config, attributes };
      if (known === undefined || !equalTopics(known, next)) changed.push(next);
    }
    if (changed.length > 0) {
      await this.#topics.put(changed);
      this.#o.log.info(
        { topics: changed.map(({ topicName }) => topicName).join(" "), caller: channel.remoteAddress },
        "topics updated",
      );
    }
    return response(command, ResponseCode.SUCCESS);
  }

  #systemFault(topic: string): string | undefined {
    if (!this.#o.settings.validateSystemTopicWhenUpdateTopic || !this.#topics.system.has(topic)) return undefined;
    return `The topic[${topic}] is conflict with system topic.`;
  }

  async delete(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const topic = requiredText(command, "topic");
    const fault = queueNameFault(topic) ?? this.#systemFault(topic);
    if (fault !== undefined) return response(command, ResponseCode.INVALID_PARAMETER, fault);
    const topics = [topic];
    if (this.#o.settings.clearRetryTopicWhenDeleteTopic) {
      for (const group of this.#o.groupsOf(topic)) {
        for (const separator of ["+", "_"]) {
          const retryTopic = `${RETRY_PREFIX}${group}${separator}${topic}`;
          if (this.#topics.get(retryTopic) !== undefined) topics.push(retryTopic);
        }
      }
    }
    await this.#topics.delete(topics);
    this.#o.log.info({ topics: topics.join(" "), caller: channel.remoteAddress }, "topics deleted on request");
    return response(command, ResponseCode.SUCCESS);
  }

  all(command: RemotingCommand): RemotingCommand {
    const { table, dataVersion, size } = this.#topics;
    const page = pageOf(table, dataVersion, command, { sequence: "topicSeq", count: "maxTopicNum" });
    const body = {
      dataVersion,
      mappingDataVersion: dataVersion,
      topicConfigTable: new Map(page.map(([name, config]) => [name, topicConfigMembers(config)])),
      topicQueueMappingDetailMap: {},
      topicQueueMappingInfoMap: {},
    };
    return response(command, ResponseCode.SUCCESS, undefined, { totalTopicNum: size }, Buffer.from(writeJson(body)));
  }

  one(command: RemotingCommand): RemotingCommand {
    const topic = requiredText(command, "topic");
    const config = this.#topics.get(topic);
    if (config === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `No topic in this broker. topic: ${topic}`);
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(topicConfigMembers(config))));
  }

  system(command: RemotingCommand): RemotingCommand {
    return response(
      command,
      ResponseCode.SUCCESS,
      undefined,
      {},
      Buffer.from(writeJson({ topicList: this.#topics.system.names() })),
    );
  }

  /** Deletes the queues of topics that do not exist any more. */
  async cleanUnused(command: RemotingCommand): Promise<RemotingCommand> {
    const unused = this.#o
      .storedTopics()
      .filter((topic) => this.#topics.get(topic) === undefined && queueNameFault(topic) === undefined);
    for (const topic of unused) await this.#o.store.dropQueues(topic);
    if (unused.length > 0) this.#o.log.info({ topics: unused.join(" ") }, "queues of unused topics deleted");
    return response(command, ResponseCode.SUCCESS);
  }
}

function equalTopics(a: TopicConfig, b: TopicConfig): boolean {
  const text = (config: TopicConfig): string =>
    JSON.stringify({
      ...topicConfigMembers(config),
      attributes: Object.entries(config.attributes).sort(([a], [b]) => (a < b ? -1 : 1)),
    });
  return text(a) === text(b);
}
