import { groupNameFault } from "../../format/names.ts";
import { optionalBoolean, optionalText, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import type { ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "./offsets.ts";

export interface OffsetRequestsOptions {
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  offsets: Offsets;
  store: MessageStore;
  /** The newest so many bytes of the log count as in memory: accessMessageInMemoryMaxRatio of the machine's memory. */
  inMemorySize: number;
}

const LONG_MAX = 2n ** 63n - 1n;

/**
 * Committed offsets: query 14, commit 15, all of them 43, correction 308, copy to another group 314.
 * Source: Apache `ConsumerManageProcessor`, `AdminBrokerProcessor`.
 */
export class OffsetRequests {
  readonly #o: OffsetRequestsOptions;

  constructor(options: OffsetRequestsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.QUERY_CONSUMER_OFFSET, (command) => this.#query(command)],
      [RequestCode.UPDATE_CONSUMER_OFFSET, (command) => this.#commit(command)],
      [RequestCode.GET_ALL_CONSUMER_OFFSET, (command) => this.#all(command)],
      [RequestCode.QUERY_CORRECTION_OFFSET, (command) => this.#correction(command)],
      [RequestCode.CLONE_GROUP_OFFSET, (command) => this.#clone(command)],
    ]);
  }

  #query(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const offset = this.#o.offsets.get(group, topic, queueId);
    if (offset >= 0) return response(command, ResponseCode.SUCCESS, undefined, { offset });
    if (optionalBoolean(command, "setZeroIfNotFound") === false) {
      return response(
        command,
        ResponseCode.QUERY_NOT_FOUND,
        `group ${group} has no offset of ${topic} queue ${queueId}, and zero is not wanted`,
      );
    }
    if (this.#isWholeQueueInMemory(topic, queueId)) return response(command, ResponseCode.SUCCESS, undefined, { offset: 0 });
    return response(command, ResponseCode.QUERY_NOT_FOUND, `group ${group} has no offset of ${topic} queue ${queueId} yet`);
  }

  /** A new group on a young queue starts at its first message, wherever the client wants to start. */
  #isWholeQueueInMemory(topic: string, queueId: number): boolean {
    const { store, inMemorySize } = this.#o;
    if (store.minQueueOffset(topic, queueId) > 0) return false;
    const first = store.queueEntry(topic, queueId, 0);
    return first !== undefined && store.maxPhysicalOffset() - first.physicalOffset <= inMemorySize;
  }

  #commit(command: RemotingCommand): RemotingCommand {
    const { groups, topics, offsets } = this.#o;
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const offset = requiredInteger(command, "commitOffset");
    if (groups.get(group) === undefined)
      return response(command, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, `Group ${group} not exist!`);
    const config = topics.get(topic);
    if (config === undefined) return response(command, ResponseCode.TOPIC_NOT_EXIST, `Topic ${topic} not exist!`);
    // A topic may have shrunk under its consumers; a queue that never was would only fill the table.
    const queueCount = Math.max(config.readQueueNums, config.writeQueueNums);
    if (queueId < 0 || (queueId >= queueCount && offsets.get(group, topic, queueId) < 0)) {
      return response(
        command,
        ResponseCode.INVALID_PARAMETER,
        `queueId ${queueId} is not in 0 to ${queueCount - 1} of topic ${topic}`,
      );
    }
    if (offsets.pendingReset(group, topic, queueId) >= 0) {
      return response(command, ResponseCode.SUCCESS, "ignored: a reset of this offset waits for the next pull");
    }
    offsets.commit(group, topic, queueId, offset);
    return response(command, ResponseCode.SUCCESS);
  }

  #all(command: RemotingCommand): RemotingCommand {
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(this.#o.offsets.encode()));
  }

  /**
   * The smallest offset of each queue over all groups but `filterGroups`; Long.MAX_VALUE where `compareGroup` is
   * behind it. Unlike Apache's broker we only look: that one deletes the offsets of `filterGroups` on the way.
   */
  #correction(command: RemotingCommand): RemotingCommand {
    const { offsets, store } = this.#o;
    const topic = requiredText(command, "topic");
    const compared = offsets.queuesOf(requiredText(command, "compareGroup"), topic);
    const left = new Set((optionalText(command, "filterGroups") ?? "").split(",").map((group) => group.trim()));
    const smallest = new Map<number, number>();
    for (const group of offsets.groupsOf(topic)) {
      if (left.has(group)) continue;
      for (const [queueId, offset] of offsets.queuesOf(group, topic)) {
        if (offset < store.minQueueOffset(topic, queueId)) continue;
        smallest.set(queueId, Math.min(offset, smallest.get(queueId) ?? Number.POSITIVE_INFINITY));
      }
    }
    const correctionOffsets = new Map<number, number | bigint>(smallest);
    for (const [queueId, offset] of compared) if ((smallest.get(queueId) ?? 0) > offset) correctionOffsets.set(queueId, LONG_MAX);
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson({ correctionOffsets })));
  }

  #clone(command: RemotingCommand): RemotingCommand {
    const { topics, consumers, offsets } = this.#o;
    const from = requiredText(command, "srcGroup");
    const to = requiredText(command, "destGroup");
    const topic = optionalText(command, "topic");
    const fault = groupNameFault(to);
    if (fault !== undefined) return response(command, ResponseCode.INVALID_PARAMETER, fault);
    const subscriptions = optionalBoolean(command, "offline") === true ? undefined : consumers.group(from)?.subscriptions;
    for (const name of topic === undefined || topic.trim() === "" ? offsets.topicsOf(from) : [topic]) {
      if (topics.get(name) === undefined) continue;
      if (subscriptions !== undefined && subscriptions.size > 0 && !subscriptions.has(name)) continue;
      for (const [queueId, offset] of offsets.queuesOf(from, name)) offsets.commit(to, name, queueId, offset);
    }
    return response(command, ResponseCode.SUCCESS);
  }
}
