import type { Clock } from "../../base/clock.ts";
import type { EntryFilter } from "../../filter/entry-filter.ts";
import {
  optionalBoolean,
  optionalInteger,
  optionalText,
  requiredInteger,
  requiredText,
} from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Channel, RequestHandler } from "../channel.ts";
import type { HandlerTable, TopicLookup } from "../contracts.ts";
import { type MessageStore, PICK_COUNT_MAX } from "../message-store.ts";
import type { HeldRequests, Wanted } from "./held-requests.ts";
import type { OrderInfos } from "./order-info.ts";
import type { PopChecks, Refusal } from "./pop-checks.ts";
import type { PopQueues } from "./pop-queues.ts";

export interface PopLooksOptions {
  checks: PopChecks;
  queues: PopQueues;
  orders: OrderInfos;
  /** Pops that wait, and notifications that do. */
  held: HeldRequests;
  notices: HeldRequests;
  store: MessageStore;
  topics: TopicLookup;
  clock: Clock;
}

const NO_NOTICE = { hasMsg: false, pollingFull: false };
const NOTHING = { invisibleTime: 0, popTime: 0, restNum: 0, reviveQid: 0 };

/**
 * Requests that look and take nothing: NOTIFICATION (is there something to pop?), PEEK_MESSAGE, POLLING_INFO (how many wait?),
 * and POP_ROLLBACK, which has nothing to roll back where RocksDB was never used. Control thread only.
 * Source: Apache `NotificationProcessor`, `PeekMessageProcessor`, `PollingInfoProcessor`, `AdminBrokerProcessor`.
 */
export class PopLooks {
  readonly #o: PopLooksOptions;

  constructor(options: PopLooksOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map<number, RequestHandler>([
      [RequestCode.NOTIFICATION, (command, channel) => this.#notify(command, channel)],
      [RequestCode.PEEK_MESSAGE, (command, channel) => this.#peek(command, channel)],
      [RequestCode.POLLING_INFO, (command, channel) => this.#pollingInfo(command, channel)],
      [RequestCode.POP_ROLLBACK, (command) => response(command, ResponseCode.SUCCESS)],
    ]);
  }

  #find(command: RemotingCommand, channel: Channel): { topic: TopicConfig; group: string; queueId: number } | Refusal {
    const { checks } = this.#o;
    const group = requiredText(command, "consumerGroup");
    const name = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const topic = checks.brokerRefusal("peeking") ?? checks.find(name, group, queueId, channel.remoteAddress);
    return "remark" in topic ? topic : { topic, group, queueId };
  }

  #notify(command: RemotingCommand, channel: Channel): RemotingCommand | undefined {
    const { clock, notices } = this.#o;
    const pollTime = requiredInteger(command, "pollTime");
    const found = this.#find(command, channel);
    if ("remark" in found) return response(command, found.code, found.remark, NO_NOTICE);
    const filter = this.#o.checks.filterOf(optionalText(command, "expType"), optionalText(command, "exp") ?? "");
    if ("remark" in filter) return response(command, filter.code, filter.remark, NO_NOTICE);
    const { topic, group, queueId } = found;
    const isOrdered = optionalBoolean(command, "order") ?? false;
    const attemptId = optionalText(command, "attemptId");
    const look = (): boolean => this.#hasMessage(topic.topicName, group, queueId, isOrdered, attemptId, filter);
    const told = (hasMsg: boolean, pollingFull = false): RemotingCommand =>
      response(command, ResponseCode.SUCCESS, undefined, { hasMsg, pollingFull });
    if (look()) return told(true);
    if (pollTime <= 0) return told(false);
    const wanted: Wanted = { topic: topic.topicName, group, queueId, isOrdered };
    const deadlineMs = (optionalInteger(command, "bornTime") || clock.now()) + pollTime;
    const serve = (isOver: boolean): void => {
      const hasMsg = look();
      if (hasMsg || isOver || notices.hold(wanted, { channel, deadlineMs, serve }) !== "held") channel.write(told(hasMsg));
    };
    const outcome = notices.hold(wanted, { channel, deadlineMs, serve });
    return outcome === "held" ? undefined : told(false, outcome === "full");
  }

  #hasMessage(
    topic: string,
    group: string,
    queueId: number,
    isOrdered: boolean,
    attemptId: string | undefined,
    filter: EntryFilter,
  ): boolean {
    const { topics, queues, orders, checks } = this.#o;
    const isAll = filter === checks.filterOf(undefined, "");
    const inQueue = (name: string, id: number): boolean => {
      if ((isOrdered && orders.isBlocked(attemptId, name, group, id)) || queues.rest(name, group, id, 0) <= 0) return false;
      // What comes again has passed the filter before.
      if (isAll || name !== topic) return true;
      return queues.pick(name, id, queues.position(name, group, id, 0), 1, filter).queueOffsets.length > 0;
    };
    const inTopic = (name: string): boolean =>
      Array.from({ length: topics.get(name)?.readQueueNums ?? 0 }, (_, id) => id).some((id) => inQueue(name, id));
    if (queueId >= 0 ? inQueue(topic, queueId) : inTopic(topic)) return true;
    return queues.retryTopics(topic, group).some(inTopic);
  }

  #peek(command: RemotingCommand, channel: Channel): RemotingCommand | undefined {
    const { topics, queues, store, checks } = this.#o;
    const wanted = requiredInteger(command, "maxMsgNums");
    const found = this.#find(command, channel);
    if ("remark" in found) return response(command, found.code, found.remark, NOTHING);
    const { topic, group, queueId } = found;
    const filter = checks.filterOf(undefined, "");
    if ("remark" in filter) return response(command, filter.code, filter.remark, NOTHING);
    const places = queueId >= 0 ? [{ topic: topic.topicName, queueId }] : queuesOf(topic);
    for (const name of queues.retryTopics(topic.topicName, group)) places.push(...queuesOf(topics.get(name)!));
    const records: number[] = [];
    let restNum = 0;
    for (const place of places) {
      restNum += queues.rest(place.topic, group, place.queueId, 0);
      const room = Math.min(wanted, PICK_COUNT_MAX) - records.length / 2;
      if (room <= 0) continue;
      records.push(
        ...queues.pick(place.topic, place.queueId, queues.position(place.topic, group, place.queueId, 0), room, filter).records,
      );
    }
    const header = { ...NOTHING, restNum };
    if (records.length === 0) return response(command, ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", header);
    const answer = response(command, ResponseCode.SUCCESS, "FOUND", header);
    if (channel.writeRecords === undefined) {
      const bodies = records.filter((_, index) => index % 2 === 0).map((offset) => store.readRecord(offset) ?? Buffer.alloc(0));
      return { ...answer, body: Buffer.concat(bodies) };
    }
    channel.writeRecords(answer, records);
    return undefined;
  }

  #pollingInfo(command: RemotingCommand, channel: Channel): RemotingCommand {
    const found = this.#find(command, channel);
    if ("remark" in found) return response(command, found.code, found.remark, { pollingNum: 0 });
    const { topic, group, queueId } = found;
    const pollingNum = this.#o.held.count({ topic: topic.topicName, group, queueId });
    return response(command, ResponseCode.SUCCESS, undefined, { pollingNum });
  }
}

function queuesOf(topic: TopicConfig): { topic: string; queueId: number }[] {
  return Array.from({ length: topic.readQueueNums }, (_, queueId) => ({ topic: topic.topicName, queueId }));
}
