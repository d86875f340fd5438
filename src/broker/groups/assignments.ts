import { allocateAveragely, allocateByCircle } from "../../base/allocate.ts";
import { RETRY_PREFIX } from "../../format/names.ts";
import { type RequestMode, requestModeFrom, requestModesText } from "../../format/record/pop-records.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import type { Log } from "../../observe/log.ts";
import type { RequestHandler } from "../channel.ts";
import type { ConfigFile } from "../config-file.ts";
import type { ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";

/** A queue as the name servers tell it; it may be another broker's. */
export interface RoutedQueue {
  topic: string;
  brokerName: string;
  queueId: number;
}

export interface AssignmentsOptions {
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  /** messageRequestMode.json. */
  file: ConfigFile;
  /** Readable queues of the topic on all brokers, sorted; undefined: there is no such topic. */
  queuesOf: (topic: string) => Promise<readonly RoutedQueue[] | undefined>;
  /** Names as in the configuration; read at each use. */
  settings: { defaultMessageRequestMode: "PULL" | "POP"; defaultPopShareQueueNum: number; serverLoadBalancerEnable: boolean };
  log: Log;
}

type Strategy = <T>(items: readonly T[], members: readonly string[], self: string) => T[];

const STRATEGIES: ReadonlyMap<string, Strategy> = new Map([
  ["AVG", allocateAveragely],
  ["AVG_BY_CIRCLE", allocateByCircle],
]);
/** queueId of "whichever of the broker". */
const ANY_QUEUE = -1;

/**
 * Which queues a consumer is to read, and whether by pull or by pop: QUERY_ASSIGNMENT (400) for clients that leave the
 * sharing out to the broker, and the mode of each group (401, 402). Control thread only.
 * Source: Apache `QueryAssignmentProcessor`, `MessageRequestModeManager`.
 */
export class Assignments {
  readonly #o: AssignmentsOptions;
  /** By topic and group. */
  readonly #modes = new Map<string, Map<string, RequestMode>>();

  constructor(options: AssignmentsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map<number, RequestHandler>([
      [RequestCode.QUERY_ASSIGNMENT, (command) => this.#query(command)],
      [RequestCode.SET_MESSAGE_REQUEST_MODE, (command) => this.#setMode(command)],
      [RequestCode.GET_ALL_MESSAGE_REQUEST_MODE, (command) => response(command, 0, undefined, {}, Buffer.from(this.#text()))],
    ]);
  }

  /** Once. @throws MillraceError MILLRACE_STORE_CORRUPT */
  load(): void {
    const parsed = this.#o.file.read((text) => parseJson(text));
    for (const [topic, groups] of entriesOf(memberOf(parsed, "messageRequestModeMap"))) {
      for (const [group, mode] of entriesOf(groups)) this.#put(String(topic), String(group), requestModeFrom(mode));
    }
  }

  #put(topic: string, group: string, mode: RequestMode): void {
    const groups = this.#modes.get(topic) ?? new Map<string, RequestMode>();
    groups.set(group, mode);
    this.#modes.set(topic, groups);
  }

  #text(): string {
    return requestModesText(this.#modes);
  }

  /** @throws MillraceError MILLRACE_PROTOCOL on a body that is none, MILLRACE_STORE_… where it cannot be saved */
  async #setMode(command: RemotingCommand): Promise<RemotingCommand> {
    const { topics, groups, file, log } = this.#o;
    const mode = requestModeFrom(parseJson(command.body));
    const { topic, consumerGroup } = mode;
    if (topic.startsWith(RETRY_PREFIX)) {
      return response(command, ResponseCode.NO_PERMISSION, "retry topic is not allowed to set mode");
    }
    if (topics.get(topic) === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist`);
    if (groups.find(consumerGroup) === undefined) {
      return response(command, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist");
    }
    this.#put(topic, consumerGroup, mode);
    await file.saveLater(() => this.#text());
    log.info({ topic, group: consumerGroup, mode: mode.mode, share: mode.popShareQueueNum }, "message request mode set");
    return response(command, ResponseCode.SUCCESS);
  }

  #modeOf(topic: string, group: string): Pick<RequestMode, "mode" | "popShareQueueNum"> {
    const { defaultMessageRequestMode, defaultPopShareQueueNum } = this.#o.settings;
    const isRetry = topic.startsWith(RETRY_PREFIX);
    const byDefault = {
      mode: isRetry ? ("PULL" as const) : defaultMessageRequestMode,
      popShareQueueNum: defaultPopShareQueueNum,
    };
    return this.#modes.get(topic)?.get(group) ?? byDefault;
  }

  async #query(command: RemotingCommand): Promise<RemotingCommand> {
    const body = parseJson(command.body);
    const text = (name: string): string => {
      const member = memberOf(body, name);
      return typeof member === "string" ? member : "";
    };
    const [topic, group] = [text("topic"), text("consumerGroup")];
    const mode = this.#modeOf(topic, group);
    const isBroadcast = text("messageModel") === "BROADCASTING";
    const queues = await this.#o.queuesOf(topic);
    // undefined: the client keeps what it has.
    const share =
      queues === undefined || isBroadcast || !this.#o.settings.serverLoadBalancerEnable
        ? queues
        : this.#shareOf(group, text("clientId"), text("strategyName"), queues, mode);
    const distinct = share && [...new Map(share.map((queue) => [`${queue.brokerName}@${queue.queueId}`, queue])).values()];
    const messageQueueAssignments = distinct?.map(({ brokerName, queueId }) => ({
      messageQueue: { brokerName, queueId, topic },
      mode: mode.mode,
    }));
    const members = messageQueueAssignments === undefined ? {} : { messageQueueAssignments };
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(members)));
  }

  #shareOf(
    group: string,
    self: string,
    strategyName: string,
    queues: readonly RoutedQueue[],
    { mode, popShareQueueNum }: Pick<RequestMode, "mode" | "popShareQueueNum">,
  ): RoutedQueue[] | undefined {
    const online = this.#o.consumers.group(group);
    const strategy = STRATEGIES.get(strategyName);
    if (online === undefined || strategy === undefined) {
      this.#o.log.warn({ group, self, strategyName, isOnline: online !== undefined }, "queues cannot be shared out");
      return undefined;
    }
    const members = [...new Set([...online.clients.values()].map(({ clientId }) => clientId))].sort();
    if (mode === "PULL") return strategy(queues, members, self);
    if (popShareQueueNum <= 0 || popShareQueueNum >= members.length - 1) {
      return queues.map((queue) => ({ ...queue, queueId: ANY_QUEUE }));
    }
    const index = members.indexOf(self);
    if (members.length > queues.length) return index < 0 ? [] : [queues[index % queues.length]!];
    // Its own, and those of the next so many members: each queue has several readers.
    const own = strategy(queues, members, self);
    if (index < 0) return own;
    for (let i = 1; i <= popShareQueueNum; i++) own.push(...strategy(queues, members, members[(index + i) % members.length]!));
    return own;
  }
}
