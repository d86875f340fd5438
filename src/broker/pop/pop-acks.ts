import type { Clock } from "../../base/clock.ts";
import { type AckRecord, type BatchAck, type CheckPointRecord, decodeBatchAcks } from "../../format/record/pop-records.ts";
import { optionalBoolean, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { ORDER_REVIVE_QUEUE, type PopHandle, parseHandle, topicOfKind } from "../../format/remoting/pop-info.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel, RequestHandler } from "../channel.ts";
import type { HandlerTable, OffsetLookup, TopicLookup } from "../contracts.ts";
import { type MessageStore, offsetBehind } from "../message-store.ts";
import type { CheckPoints } from "./check-points.ts";
import type { HeldRequests } from "./held-requests.ts";
import { ORDER_ILLEGAL, type OrderInfos } from "./order-info.ts";
import { queueIllegal, type Refusal, topicGone } from "./pop-checks.ts";

export interface PopAcksOptions {
  points: CheckPoints;
  orders: OrderInfos;
  held: HeldRequests;
  store: MessageStore;
  topics: TopicLookup;
  offsets: OffsetLookup;
  clock: Clock;
  log: Log;
}

const UNCHANGED = { invisibleTime: 0, popTime: 0, reviveQid: 0 };

/**
 * What consumers say of messages that they have popped: done (ACK_MESSAGE, BATCH_ACK_MESSAGE), or let it come back at
 * another time (CHANGE_MESSAGE_INVISIBLETIME). Control thread only.
 * Source: Apache `AckMessageProcessor`, `ChangeInvisibleTimeProcessor`.
 */
export class PopAcks {
  readonly #o: PopAcksOptions;

  constructor(options: PopAcksOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map<number, RequestHandler>([
      [RequestCode.ACK_MESSAGE, (command, channel) => this.#ack(command, channel)],
      [RequestCode.BATCH_ACK_MESSAGE, (command, channel) => this.#ackBatch(command, channel)],
      [RequestCode.CHANGE_MESSAGE_INVISIBLETIME, (command, channel) => this.#change(command, channel)],
    ]);
  }

  /** @throws MillraceError MILLRACE_PROTOCOL on a bad field, MILLRACE_STORE_… where it cannot be stored */
  async #ack(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const extraInfo = requiredText(command, "extraInfo");
    const offset = requiredInteger(command, "offset");
    const refusal = this.#queueRefusal(topic, queueId, channel) ?? this.#offsetRefusal(topic, queueId, offset);
    if (refusal !== undefined) return response(command, refusal.code, refusal.remark);
    const handle = parseHandle(extraInfo);
    if (handle.reviveQueueId === ORDER_REVIVE_QUEUE) {
      const fault = this.#ackInOrder(topic, group, queueId, offset, handle.popTime, channel);
      return fault === undefined ? response(command, ResponseCode.SUCCESS) : response(command, fault.code, fault.remark);
    }
    await this.#o.points.acknowledge(ackOf(handle, topic, group, queueId, [offset]), handle.invisibleTime, handle.reviveQueueId);
    return response(command, ResponseCode.SUCCESS);
  }

  #queueRefusal(topic: string, queueId: number, channel: Channel): Refusal | undefined {
    const config = this.#o.topics.get(topic);
    if (config === undefined) return topicGone(topic);
    if (queueId >= 0 && queueId < config.readQueueNums) return undefined;
    return { code: ResponseCode.MESSAGE_ILLEGAL, remark: queueIllegal(config, queueId, channel.remoteAddress) };
  }

  /** One past the end is let through, as by Apache's broker. */
  #offsetRefusal(topic: string, queueId: number, offset: number): Refusal | undefined {
    const { store } = this.#o;
    const [min, max] = [store.minQueueOffset(topic, queueId), store.maxQueueOffset(topic, queueId)];
    if (offset >= min && offset <= max) return undefined;
    const remark = `offset is illegal, key:${topic}@${queueId}, commit:${offset}, store:${min}~${max}`;
    return { code: ResponseCode.NO_MESSAGE, remark };
  }

  #ackInOrder(
    topic: string,
    group: string,
    queueId: number,
    offset: number,
    popTime: number,
    channel: Channel,
  ): Refusal | undefined {
    const { offsets, orders, held, store } = this.#o;
    const committed = offsets.get(group, topic, queueId);
    if (offset < committed) return undefined;
    const next = orders.acknowledge(topic, group, queueId, offset, popTime);
    if (next === ORDER_ILLEGAL) {
      const key = `${topic}@${group}@${queueId}`;
      const remark = `offset is illegal, key:${key}, old:${committed}, commit:${offset}, next:${next}, ${channel.remoteAddress}`;
      return { code: ResponseCode.MESSAGE_ILLEGAL, remark };
    }
    if (next < 0) return undefined;
    // All of a whole batch goes by its first message.
    const place = Math.max(next, offsetBehind(store, topic, queueId, next - 1));
    if (offsets.pendingReset(group, topic, queueId) < 0) offsets.commit(group, topic, queueId, place);
    if (!orders.isBlocked(undefined, topic, group, queueId)) held.look(topic, group, queueId);
    return undefined;
  }

  async #ackBatch(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const batch = decodeBatchAcks(command.body);
    if (batch === undefined) return response(command, ResponseCode.NO_MESSAGE);
    let fault: Refusal | undefined;
    const results = await Promise.allSettled(
      batch.acks.map(async (ack) => {
        fault = (await this.#ackOne(ack, batch.brokerName, channel)) ?? fault;
      }),
    );
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return fault === undefined ? response(command, ResponseCode.SUCCESS) : response(command, fault.code, fault.remark);
  }

  async #ackOne(ack: BatchAck, brokerName: string, channel: Channel): Promise<Refusal | undefined> {
    const { points, store } = this.#o;
    const { group, queueId, startOffset, popTime, invisibleTime, reviveQueueId } = ack;
    const topic = topicOfKind(ack.topic, group, ack.kind);
    const [min, max] = [store.minQueueOffset(topic, queueId), store.maxQueueOffset(topic, queueId)];
    const offsets = ack.offsets.filter((offset) => offset >= min && offset <= max);
    if (reviveQueueId === ORDER_REVIVE_QUEUE) {
      const faults = offsets.map((offset) => this.#ackInOrder(topic, group, queueId, offset, popTime, channel));
      return faults.findLast((fault) => fault !== undefined);
    }
    if (offsets.length > 0) {
      await points.acknowledge(
        { topic, group, queueId, startOffset, popTime, brokerName, offsets },
        invisibleTime,
        reviveQueueId,
      );
    }
    return undefined;
  }

  async #change(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const { store, points, clock } = this.#o;
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const extraInfo = requiredText(command, "extraInfo");
    const offset = requiredInteger(command, "offset");
    const told = requiredInteger(command, "invisibleTime");
    const invisibleTime = Math.max(0, told);
    const refusal = this.#queueRefusal(topic, queueId, channel);
    if (refusal !== undefined) return response(command, refusal.code, refusal.remark, UNCHANGED);
    if (offset < store.minQueueOffset(topic, queueId) || offset >= store.maxQueueOffset(topic, queueId)) {
      return response(command, ResponseCode.NO_MESSAGE, `there is no message at offset ${offset}`, UNCHANGED);
    }
    const handle = parseHandle(extraInfo);
    const { reviveQueueId } = handle;
    if (reviveQueueId === ORDER_REVIVE_QUEUE) {
      return response(
        command,
        ResponseCode.SUCCESS,
        undefined,
        this.#changeInOrder(topic, group, queueId, offset, handle, invisibleTime),
      );
    }
    if (!points.hasQueue(reviveQueueId)) {
      return response(command, ResponseCode.SYSTEM_ERROR, `there is no revive queue ${reviveQueueId}`, UNCHANGED);
    }
    const record: CheckPointRecord = {
      startOffset: offset,
      popTime: 0,
      invisibleTime,
      bitMap: 0,
      queueId,
      topic,
      group,
      distances: [0],
      brokerName: handle.brokerName,
      rePutTimes: 0,
      isSuspended: optionalBoolean(command, "suspend") ?? false,
    };
    // The new check point first: in between the message may come back twice, never not at all.
    const popTime = points.freeTime(record, clock.now());
    await points.add({ ...record, popTime }, reviveQueueId, channel.remoteAddress);
    await points.acknowledge(ackOf(handle, topic, group, queueId, [offset]), handle.invisibleTime, reviveQueueId);
    return response(command, ResponseCode.SUCCESS, undefined, { invisibleTime: told, popTime, reviveQid: reviveQueueId });
  }

  #changeInOrder(
    topic: string,
    group: string,
    queueId: number,
    offset: number,
    handle: PopHandle,
    invisibleTime: number,
  ): HeaderValues {
    const { offsets, orders, clock, held } = this.#o;
    const { popTime, reviveQueueId } = handle;
    if (offset < offsets.get(group, topic, queueId)) return UNCHANGED;
    const visibleMs = clock.now() + invisibleTime;
    orders.setVisibleAt(topic, group, queueId, offset, popTime, visibleMs);
    if (invisibleTime === 0) held.look(topic, group, queueId);
    return { invisibleTime: visibleMs - popTime, popTime, reviveQid: reviveQueueId };
  }
}

function ackOf(handle: PopHandle, topic: string, group: string, queueId: number, offsets: readonly number[]): AckRecord {
  const { startOffset, popTime, brokerName } = handle;
  return { topic, group, queueId, startOffset, popTime, brokerName, offsets };
}
