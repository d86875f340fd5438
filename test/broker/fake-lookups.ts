import type { RequestHandler } from "../../src/broker/channel.ts";
import type { GroupLookup, HandlerTable, SubscriptionGroupConfig, TopicLookup } from "../../src/broker/contracts.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../src/format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../src/format/topic-config.ts";
import { FakeChannel } from "./fake-store.ts";

/** Topics in a map. */
export class FakeTopics implements TopicLookup {
  readonly topics: Map<string, TopicConfig> = new Map();

  add(topicName: string, queueNums = 2, order = false): TopicConfig {
    const config: TopicConfig = {
      topicName,
      readQueueNums: queueNums,
      writeQueueNums: queueNums,
      perm: 6,
      topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0,
      order,
      attributes: {},
    };
    this.topics.set(topicName, config);
    return config;
  }

  get(topic: string): TopicConfig | undefined {
    return this.topics.get(topic);
  }

  all(): Iterable<TopicConfig> {
    return this.topics.values();
  }

  serve(): undefined {
    return undefined;
  }

  ensure(topic: string, queueNums: number): TopicConfig {
    return this.topics.get(topic) ?? this.add(topic, queueNums);
  }
}

/** Groups in a map; `find` makes those whose name does not begin with "no". */
export class FakeGroups implements GroupLookup {
  readonly groups: Map<string, SubscriptionGroupConfig> = new Map();

  add(groupName: string, changes: Partial<SubscriptionGroupConfig> = {}): SubscriptionGroupConfig {
    const config: SubscriptionGroupConfig = {
      groupName,
      consumeEnable: true,
      consumeFromMinEnable: true,
      consumeBroadcastEnable: true,
      consumeMessageOrderly: false,
      retryQueueNums: 1,
      retryMaxTimes: 16,
      groupRetryPolicy: {},
      brokerId: 0,
      whichBrokerWhenConsumeSlowly: 1,
      notifyConsumerIdsChangedEnable: true,
      groupSysFlag: 0,
      consumeTimeoutMinute: 15,
      attributes: {},
      ...changes,
    };
    this.groups.set(groupName, config);
    return config;
  }

  find(group: string): SubscriptionGroupConfig | undefined {
    return this.groups.get(group) ?? (group.startsWith("no") ? undefined : this.add(group));
  }

  get(group: string): SubscriptionGroupConfig | undefined {
    return this.groups.get(group);
  }

  all(): Iterable<SubscriptionGroupConfig> {
    return this.groups.values();
  }

  isForbidden(): boolean {
    return false;
  }
}

/** Answers by the handler of the request's code. */
export async function ask(
  handlers: HandlerTable,
  code: number,
  header: HeaderValues = {},
  body?: string,
  channel: FakeChannel = new FakeChannel(),
): Promise<RemotingCommand> {
  const handler: RequestHandler | undefined = handlers.get(code);
  if (handler === undefined) throw new Error(`no handler for ${code}`);
  const command = { ...request(code, 77, header, Buffer.from(body ?? "")), version: 477, language: "JAVA" };
  const answer = await handler(command, channel);
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

/** Rejects what is no message of code 0. */
export function bodyOf(answer: RemotingCommand): string {
  if (answer.code !== 0) throw new Error(`code ${answer.code}: ${answer.remark}`);
  return answer.body.toString();
}

/** Of a broker whose groups filter by tags only. */
export const NO_FILTERS = {
  register: (): boolean => false,
  unregister: (): void => {},
  get: (): undefined => undefined,
  ofGroup: (): never[] => [],
};
export const NOT_FILTERING = { enablePropertyFilter: false, filterSupportRetry: false };
