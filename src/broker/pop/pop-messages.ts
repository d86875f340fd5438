import type { Clock } from "../../base/clock.ts";
import type { EntryFilter } from "../../filter/entry-filter.ts";
import type { CheckPointRecord } from "../../format/record/pop-records.ts";
import {
  optionalBoolean,
  optionalInteger,
  optionalText,
  requiredInteger,
  requiredText,
} from "../../format/remoting/command-fields.ts";
import { joined, ORDER_REVIVE_QUEUE, topicKind } from "../../format/remoting/pop-info.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import { READ_FOUND } from "../../store/queue/queue-reader.ts";
import type { Channel } from "../channel.ts";
import type { GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import { type MessageStore, PICK_COUNT_MAX } from "../message-store.ts";
import type { Offsets } from "../offsets/offsets.ts";
import { CHECK_POINTS_MAX, type CheckPoints } from "./check-points.ts";
import type { HeldRequests } from "./held-requests.ts";
import type { OrderInfos } from "./order-info.ts";
import type { PopChecks, Refusal } from "./pop-checks.ts";
import type { PopQueues } from "./pop-queues.ts";
import { retryRecord } from "./retry-record.ts";

export interface PopMessagesOptions {
  checks: PopChecks;
  queues: PopQueues;
  points: CheckPoints;
  orders: OrderInfos;
  held: HeldRequests;
  store: MessageStore;
  topics: TopicLookup;
  groups: Pick<GroupLookup, "get">;
  offsets: Pick<Offsets, "commit" | "noteServed" | "savedMs" | "oldestOpenPopMs">;
  brokerName: string;
  /** Names as in the configuration. */
  settings: {
    brokerIP1: string;
    popFromRetryProbability: number;
    popFromRetryProbabilityForPriority: number;
    priorityOrderAsc: boolean;
    popResponseReturnActualRetryTopic: boolean;
  };
  clock: Clock;
  log: Log;
}

/** A pop request, read once. */
interface PopRequest {
  command: RemotingCommand;
  channel: Channel;
  group: string;
  topic: string;
  queueId: number;
  count: number;
  invisibleTime: number;
  initMode: number;
  isOrdered: boolean;
  attemptId: string | undefined;
  deadlineMs: number;
  mayWait: boolean;
  filter: EntryFilter;
}

/** What one queue gives to a pop. */
interface Share {
  topic: string;
  queueId: number;
  from: number;
  nextOffset: number;
  queueOffsets: number[];
  records: number[];
  isRetry: boolean;
}

/** What is gathered for one answer. */
interface Gathered {
  popTime: number;
  reviveQueueId: number;
  shares: Share[];
  count: number;
  rest: number;
  orderCounts: string;
}

const NOTHING = { invisibleTime: 0, popTime: 0, restNum: 0, reviveQid: 0 };
/** A group's attribute: how many of its pops of such topics hold to priorities, percent. */
const PRIORITY_FACTOR = "priority.factor";
/** A request that comes so long after its time is not begun. Source: Apache `PopMessageRequestHeader.isTimeoutTooMuch`. */
const LATE_MS = 500;

/**
 * POP_MESSAGE (200050): hands out messages that are then invisible for a while, to whoever of the group asks. What is
 * handed out is in a stored check point first. Control thread only. Source: Apache `PopMessageProcessor`.
 */
export class PopMessages {
  readonly #o: PopMessagesOptions;
  /** What is being stored: its offsets are not committed yet. */
  readonly #open = new Set<Gathered>();
  #turn = 0;

  constructor(options: PopMessagesOptions) {
    this.#o = options;
    options.offsets.oldestOpenPopMs = () => Math.min(...[...this.#open].map(({ popTime }) => popTime));
  }

  handlers(): HandlerTable {
    return new Map([[RequestCode.POP_MESSAGE, (command, channel) => this.#pop(command, channel)]]);
  }

  #pop(command: RemotingCommand, channel: Channel): Promise<RemotingCommand | undefined> | RemotingCommand {
    const request = this.#read(command, channel);
    if ("remark" in request) return response(command, request.code, request.remark, NOTHING);
    return this.#serve(request, false);
  }

  /** @throws MillraceError MILLRACE_PROTOCOL when a field is missing or malformed */
  #read(command: RemotingCommand, channel: Channel): PopRequest | Refusal {
    const { checks, settings, points, clock } = this.#o;
    const group = requiredText(command, "consumerGroup");
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const count = requiredInteger(command, "maxMsgNums");
    const invisibleTime = requiredInteger(command, "invisibleTime");
    const pollTime = requiredInteger(command, "pollTime");
    const initMode = requiredInteger(command, "initMode");
    const now = clock.now();
    const bornTime = optionalInteger(command, "bornTime") || now;
    const remark = (text: string): string => `the broker[${settings.brokerIP1}] pop message${text}`;
    if (now - bornTime - pollTime > LATE_MS)
      return { code: ResponseCode.POLLING_TIMEOUT, remark: remark(" is timeout too much") };
    const refusal = checks.brokerRefusal("pop");
    if (refusal !== undefined) return refusal;
    if (count > PICK_COUNT_MAX) {
      return { code: ResponseCode.INVALID_PARAMETER, remark: remark(`'s num is greater than ${PICK_COUNT_MAX}`) };
    }
    if (count < 0) return { code: ResponseCode.SYSTEM_ERROR, remark: remark(`'s num is ${count}`) };
    const config = checks.find(topic, group, queueId, channel.remoteAddress);
    if ("remark" in config) return config;
    const filter = checks.filterOf(optionalText(command, "expType"), optionalText(command, "exp") ?? "");
    if ("remark" in filter) return filter;
    if (points.size >= CHECK_POINTS_MAX) {
      return {
        code: ResponseCode.SYSTEM_BUSY,
        remark: `${points.size} pops wait for their acknowledgement: no more can be kept`,
      };
    }
    return {
      command,
      channel,
      group,
      topic,
      queueId,
      count,
      invisibleTime: Math.max(0, invisibleTime),
      initMode,
      isOrdered: optionalBoolean(command, "order") ?? false,
      attemptId: optionalText(command, "attemptId"),
      deadlineMs: bornTime + pollTime,
      mayWait: pollTime > 0,
      filter,
    };
  }

  /** @returns undefined: it is held, or answered with records */
  async #serve(request: PopRequest, isOver: boolean): Promise<RemotingCommand | undefined> {
    const { points, orders, settings, held, clock } = this.#o;
    const topic = this.#o.topics.get(request.topic);
    if (topic === undefined) return this.#empty(request, ResponseCode.POLLING_TIMEOUT, this.#gathering(request));
    const gathered = this.#gathering(request);
    const isByPriority = this.#isByPriority(request, topic);
    const { popFromRetryProbability, popFromRetryProbabilityForPriority } = settings;
    const first = this.#turn % 100 < (isByPriority ? popFromRetryProbabilityForPriority : popFromRetryProbability);
    if (first && !request.isOrdered) this.#takeRetries(request, gathered);
    if (request.queueId >= 0) this.#take(request, gathered, request.topic, request.queueId, false);
    else this.#takeAll(request, gathered, topic, false, isByPriority);
    if (!first && !request.isOrdered && gathered.count < request.count) this.#takeRetries(request, gathered);
    if (!request.isOrdered && gathered.shares.length > 0) await this.#storeCheckPoints(request, gathered);
    if (request.isOrdered) for (const share of gathered.shares) this.#noteOrder(request, gathered, share, orders);

    const wanted = { topic: request.topic, group: request.group, queueId: request.queueId, isOrdered: request.isOrdered };
    if (gathered.shares.length > 0) {
      this.#answer(request, gathered);
      // The queues are free again, and may have more.
      for (const { queueId } of gathered.shares) held.look(wanted.topic, wanted.group, queueId);
      return undefined;
    }
    if (!request.mayWait || isOver || points.size >= CHECK_POINTS_MAX) {
      return this.#empty(request, ResponseCode.POLLING_TIMEOUT, gathered);
    }
    const { deadlineMs, channel } = request;
    const outcome = held.hold(wanted, { channel, deadlineMs, serve: (isLast) => this.#serveAgain(request, isLast) });
    if (outcome === "held") return undefined;
    const code = outcome === "full" ? ResponseCode.POLLING_FULL : ResponseCode.POLLING_TIMEOUT;
    return this.#empty(request, code, { ...gathered, popTime: clock.now() });
  }

  #serveAgain(request: PopRequest, isOver: boolean): void {
    this.#serve(request, isOver)
      .then((answer) => answer !== undefined && request.channel.write(answer))
      .catch((error: unknown) => {
        const remark = error instanceof Error ? error.message : String(error);
        request.channel.write(response(request.command, ResponseCode.SYSTEM_ERROR, remark, NOTHING));
      });
  }

  #gathering(request: PopRequest): Gathered {
    const { points, clock } = this.#o;
    this.#turn = (this.#turn + 37) % 1_000_000_000; // Prime to 100: goes through all percents, and through all queues.
    const reviveQueueId = request.isOrdered ? ORDER_REVIVE_QUEUE : this.#turn % Math.max(1, points.queueCount);
    return { popTime: clock.now(), reviveQueueId, shares: [], count: 0, rest: 0, orderCounts: "" };
  }

  #takeRetries(request: PopRequest, gathered: Gathered): void {
    const names = this.#o.queues.retryTopics(request.topic, request.group);
    // Answers cannot tell the two forms apart: one pop takes from one of them.
    const name = names[this.#turn % Math.max(1, names.length)];
    const topic = name === undefined ? undefined : this.#o.topics.get(name);
    if (topic !== undefined) this.#takeAll(request, gathered, topic, true, false);
  }

  /** A message's priority is the number of its queue; all else begins at any queue. */
  #isByPriority({ group, isOrdered }: PopRequest, { attributes }: TopicConfig): boolean {
    if (attributes["message.type"] !== "PRIORITY" || isOrdered) return false;
    const factor = Number(this.#o.groups.get(group)?.attributes[PRIORITY_FACTOR] ?? 100);
    return this.#turn % 100 < factor;
  }

  #takeAll(request: PopRequest, gathered: Gathered, topic: TopicConfig, isRetry: boolean, isByPriority: boolean): void {
    const { topicName, readQueueNums } = topic;
    for (let i = 0; i < readQueueNums; i++) {
      const place = this.#o.settings.priorityOrderAsc ? readQueueNums - 1 - i : i;
      this.#take(request, gathered, topicName, (place + (isByPriority ? 0 : this.#turn)) % readQueueNums, isRetry);
    }
  }

  /** Takes what the queue has, as far as there is room in the answer. */
  #take(request: PopRequest, gathered: Gathered, topic: string, queueId: number, isRetry: boolean): void {
    const { queues, orders, offsets } = this.#o;
    const { group, initMode, isOrdered, attemptId } = request;
    const rest = (): number => queues.rest(topic, group, queueId, initMode);
    if (queues.isFull(topic, group, queueId) || !queues.tryLock(topic, group, queueId)) {
      if (!isOrdered) gathered.rest += rest();
      return;
    }
    let isTaken = false;
    try {
      const offset = queues.begin(topic, group, queueId, initMode);
      if (isOrdered && orders.isBlocked(attemptId, topic, group, queueId)) return;
      if (gathered.count >= request.count) {
        gathered.rest += rest();
        return;
      }
      const picked = queues.pick(topic, queueId, offset, request.count - gathered.count, request.filter);
      if (picked.status === READ_FOUND && picked.queueOffsets.length > 0) {
        gathered.shares.push({ topic, queueId, isRetry, ...picked });
        gathered.count += picked.queueOffsets.length;
        isTaken = true;
      } else if (picked.nextOffset !== offset) offsets.commit(group, topic, queueId, picked.nextOffset);
      gathered.rest += this.#o.store.maxQueueOffset(topic, queueId) - picked.nextOffset;
    } finally {
      if (!isTaken || isOrdered) queues.unlock(topic, group, queueId);
    }
  }

  /** Of what could not be stored nothing is handed out. */
  async #storeCheckPoints(request: PopRequest, gathered: Gathered): Promise<void> {
    const { points, queues, offsets, log } = this.#o;
    const { group } = request;
    const holder = request.channel.remoteAddress;
    const records = gathered.shares.map((share) => this.#checkPoint(request, share));
    // A start goes by it: what is popped after a save is later than the save, also in the same millisecond.
    gathered.popTime = Math.max(gathered.popTime, offsets.savedMs + 1);
    for (const record of records) gathered.popTime = points.freeTime(record, gathered.popTime);
    this.#open.add(gathered);
    const stored = records.map((record) => points.add({ ...record, popTime: gathered.popTime }, gathered.reviveQueueId, holder));
    const results = await Promise.allSettled(stored);
    this.#open.delete(gathered);
    gathered.shares = gathered.shares.filter(({ topic, queueId, nextOffset, queueOffsets }, index) => {
      const result = results[index]!;
      if (result.status === "fulfilled") {
        offsets.commit(group, topic, queueId, nextOffset);
        queues.addInFlight(topic, group, queueId, queueOffsets.length);
      } else log.warn({ group, topic, queueId, error: String(result.reason) }, "a check point could not be stored");
      queues.unlock(topic, group, queueId);
      return result.status === "fulfilled";
    });
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined && gathered.shares.length === 0) throw failed.reason;
  }

  #checkPoint({ group, invisibleTime }: PopRequest, { topic, queueId, from, queueOffsets }: Share): CheckPointRecord {
    return {
      startOffset: from,
      popTime: 0,
      invisibleTime,
      bitMap: 0,
      queueId,
      topic,
      group,
      distances: queueOffsets.map((offset) => offset - from),
      brokerName: this.#o.brokerName,
      rePutTimes: 0,
      isSuspended: false,
    };
  }

  /** The place moves on with the acknowledgements. */
  #noteOrder(request: PopRequest, gathered: Gathered, share: Share, orders: OrderInfos): void {
    const { group, attemptId, invisibleTime } = request;
    const { topic, queueId, from, queueOffsets } = share;
    const counts = orders.update(attemptId, topic, group, queueId, gathered.popTime, invisibleTime, queueOffsets);
    gathered.orderCounts = joined(gathered.orderCounts, counts);
    this.#o.offsets.commit(group, topic, queueId, from);
  }

  #header(request: PopRequest, { popTime, reviveQueueId, rest, shares, orderCounts }: Gathered): Record<string, string | number> {
    let startOffsetInfo = "";
    let msgOffsetInfo = "";
    for (const { topic, queueId, from, queueOffsets } of shares) {
      const place = `${topicKind(topic)} ${queueId}`;
      startOffsetInfo = joined(startOffsetInfo, `${place} ${from}`);
      msgOffsetInfo = joined(msgOffsetInfo, `${place} ${queueOffsets.join(",")}`);
    }
    const { invisibleTime, isOrdered } = request;
    const header = { popTime, invisibleTime, reviveQid: reviveQueueId, restNum: rest, startOffsetInfo, msgOffsetInfo };
    return isOrdered ? { ...header, orderCountInfo: orderCounts } : header;
  }

  #empty(request: PopRequest, code: number, gathered: Gathered): RemotingCommand {
    return response(request.command, code, "NO_MESSAGE_IN_QUEUE", this.#header(request, gathered));
  }

  #answer(request: PopRequest, gathered: Gathered): void {
    const { store, offsets, settings } = this.#o;
    const { command, channel, group } = request;
    for (const { topic, queueId, queueOffsets } of gathered.shares)
      offsets.noteServed(group, topic, queueId, queueOffsets.length);
    const answer = response(command, ResponseCode.SUCCESS, "FOUND", this.#header(request, gathered));
    const isPlain = settings.popResponseReturnActualRetryTopic || gathered.shares.every(({ isRetry }) => !isRetry);
    if (isPlain && channel.writeRecords !== undefined) {
      const records =
        gathered.shares.length === 1 ? gathered.shares[0]!.records : gathered.shares.flatMap((share) => share.records);
      channel.writeRecords(answer, records);
      return;
    }
    const bodies: Buffer[] = [];
    for (const share of gathered.shares) {
      for (let i = 0; i < share.records.length; i += 2) {
        const record = store.readRecord(share.records[i]!);
        if (record !== undefined) bodies.push(share.isRetry ? this.#asFirstSent(record, request, gathered, share) : record);
      }
    }
    channel.write({ ...answer, body: Buffer.concat(bodies) });
  }

  #asFirstSent(record: Buffer, request: PopRequest, { popTime, reviveQueueId }: Gathered, share: Share): Buffer {
    const { invisibleTime, topic } = request;
    const { brokerName } = this.#o;
    const { from, queueId } = share;
    const kind = topicKind(share.topic);
    return retryRecord(record, topic, { startOffset: from, popTime, invisibleTime, reviveQueueId, kind, brokerName, queueId });
  }
}
