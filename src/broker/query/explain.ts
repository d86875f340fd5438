import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { javaHash } from "../../base/java-hash.ts";
import { entryFilter, isTagType } from "../../filter/entry-filter.ts";
import { TIMER_PROPERTY } from "../../format/files/timer-record.ts";
import { DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC } from "../../format/names.ts";
import { type DecodedMessage, decodeMessage } from "../../format/record/message.ts";
import { offsetMessageId } from "../../format/record/message-id.ts";
import { encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { optionalText, requiredText } from "../../format/remoting/command-fields.ts";
import type { Explanation, Finding, MessagePlace } from "../../format/remoting/explanation.ts";
import { OwnRequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import type { ConsumerLookup, GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import type { ConsumerFilters } from "../groups/consumer-filters.ts";
import type { QueueLocks } from "../groups/queue-locks.ts";
import type { ScheduleService } from "../later/schedule.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "../offsets/offsets.ts";
import type { Pop } from "../pop/pop.ts";
import { destinationOf, homeOf, MessageCopies, retryTopicsOf } from "../send/message-copies.ts";
import { HALF_MARK_TOPIC, HALF_TOPIC, TIMER_TOPIC } from "../topics/system-topics.ts";
import { poppedFinding, poppedInOrderFinding, time } from "./pop-finding.ts";

export interface ExplainOptions {
  brokerName: string;
  topics: TopicLookup;
  groups: GroupLookup;
  consumers: ConsumerLookup;
  filters: Pick<ConsumerFilters, "get">;
  offsets: Pick<Offsets, "get" | "pullOffset" | "groupsOf">;
  locks: Pick<QueueLocks, "holder">;
  schedule: Pick<ScheduleService, "nextOffset">;
  pop: Pick<Pop, "popped" | "poppedInOrder">;
  store: MessageStore;
  clock: Clock;
}

/** Marks of ended transactions that are looked at. */
const MARKS_MAX = 20_000;

/**
 * EXPLAIN_MESSAGE: where one message is, for one group or each that has to do with its topic, and why. Our own request; Apache's
 * codes end at 200151. Header and answer: format/remoting/explanation.ts; QUERY_NOT_FOUND where the log has no such message.
 */
export class Explain {
  readonly #o: ExplainOptions;
  readonly #copies: MessageCopies;

  constructor(options: ExplainOptions) {
    this.#o = options;
    this.#copies = new MessageCopies(options.topics, options.store);
  }

  handlers(): HandlerTable {
    return new Map([[OwnRequestCode.EXPLAIN_MESSAGE, (command) => this.#explain(command)]]);
  }

  #explain(command: RemotingCommand): RemotingCommand {
    const id = requiredText(command, "msgId");
    const group = optionalText(command, "group") ?? "";
    const found = this.#copies.find(id, optionalText(command, "topic") ?? "", this.#groupsToSearch(group));
    // Who recalls a timed message stores a mark with its key.
    const marks = found.filter(({ properties }) => properties.has(TIMER_PROPERTY.DELETE_KEY));
    const copies = found.filter((copy) => !marks.includes(copy));
    const original = copies.find((copy) => homeOf(copy) === copy.topic) ?? copies[0];
    if (original === undefined) {
      return response(command, ResponseCode.QUERY_NOT_FOUND, `no message of id ${id} is stored on ${this.#o.brokerName}`);
    }
    const home = homeOf(original);
    const groups = group === "" ? this.#groupsOf(home) : [group];
    const findings = [...this.#ofMessage(copies, home, marks), ...groups.flatMap((name) => this.#ofGroup(name, copies, home))];
    const body: Explanation = { message: placeOf(original), copies: copies.map(placeOf), findings };
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
  }

  #groupsToSearch(group: string): string[] {
    return group === "" ? [...this.#o.groups.all()].map(({ groupName }) => groupName) : [group];
  }

  /** Groups that read the topic, or have. */
  #groupsOf(topic: string): string[] {
    const online = [...this.#o.consumers.all()].filter(({ subscriptions }) => subscriptions.has(topic)).map(({ group }) => group);
    return [...new Set([...online, ...this.#o.offsets.groupsOf(topic)])].sort();
  }

  /** What holds whoever asks. */
  #ofMessage(copies: readonly DecodedMessage[], home: string, marks: readonly DecodedMessage[]): Finding[] {
    const stored = copies.find(({ topic }) => topic === home);
    const findings: Finding[] = [];
    if (stored !== undefined)
      findings.push({ state: "stored", text: `stored in ${placeText(stored)} at ${time(stored.storeTimestamp)}` });
    const waiting = stored === undefined ? copies.findLast((copy) => destinationOf(copy) === home) : undefined;
    if (waiting !== undefined) findings.push(this.#waiting(waiting, home, marks.at(-1)));
    return findings;
  }

  /** Of what has not reached its topic. */
  #waiting(copy: DecodedMessage, home: string, mark: DecodedMessage | undefined): Finding {
    const since = time(copy.storeTimestamp);
    if (copy.topic === HALF_TOPIC) {
      const producers = copy.properties.get(PROPERTY.PRODUCER_GROUP) ?? "?";
      if (this.#isEnded(copy)) {
        return { state: "transaction-rolled-back", text: `transaction of the producers ${producers}: rolled back, or given up` };
      }
      const text = `half of a transaction of the producers ${producers} since ${since}, not committed`;
      return { state: "transaction-undecided", text };
    }
    if (mark !== undefined) return { state: "recalled", text: `recalled at ${time(mark.storeTimestamp)}: will not be delivered` };
    const until = this.#waitsUntil(copy);
    if (until === undefined)
      return { state: "delayed", text: `delayed since ${since}: its time is over, it is on its way to ${home}` };
    return { state: "delayed", until, text: `delayed since ${since}: goes to ${home} at ${time(until)}` };
  }

  /** Do the marks in the op topic name the half message? Looks at the newest of them. */
  #isEnded({ queueOffset, storeTimestamp }: DecodedMessage): boolean {
    const { store } = this.#o;
    const end = store.maxQueueOffset(HALF_MARK_TOPIC, 0);
    const first = Math.max(store.minQueueOffset(HALF_MARK_TOPIC, 0), end - MARKS_MAX);
    for (let at = end - 1; at >= first; at--) {
      const entry = store.queueEntry(HALF_MARK_TOPIC, 0, at);
      const record = entry === undefined ? undefined : store.readRecord(entry.physicalOffset);
      if (record === undefined) continue;
      const mark = decodeMessage(record);
      if (mark.storeTimestamp < storeTimestamp) return false;
      if (mark.body.toString("latin1").split(",").includes(String(queueOffset))) return true;
    }
    return false;
  }

  /** When the message leaves the schedule topic or the timer; undefined: it has, or is in neither. */
  #waitsUntil(copy: DecodedMessage): number | undefined {
    const { topic, queueId, queueOffset, properties } = copy;
    if (topic === SCHEDULE_TOPIC) {
      if (queueOffset < this.#o.schedule.nextOffset(queueId + 1)) return undefined;
      return this.#o.store.queueEntry(topic, queueId, queueOffset)?.tagsCode;
    }
    const out = topic === TIMER_TOPIC ? Number(properties.get(TIMER_PROPERTY.OUT_MS)) : Number.NaN;
    return out > this.#o.clock.now() ? out : undefined;
  }

  /** The latest of what became of the message in the group. */
  #ofGroup(group: string, copies: readonly DecodedMessage[], home: string): Finding[] {
    const retryTopics = retryTopicsOf(group, home);
    const dead = copies.findLast(({ topic }) => topic === DLQ_PREFIX + group);
    if (dead !== undefined) {
      const text = `dead-lettered after ${dead.reconsumeTimes} tries: ${placeText(dead)} at ${time(dead.storeTimestamp)}`;
      return [{ state: "dead-lettered", group, retry: dead.reconsumeTimes, text }];
    }
    const retry = copies.findLast((copy) => retryTopics.includes(destinationOf(copy) ?? copy.topic));
    if (retry === undefined) {
      const stored = copies.find(({ topic }) => topic === home);
      return stored === undefined ? [] : [this.#inQueue(group, stored)];
    }
    const retryMax = this.#o.groups.get(group)?.retryMaxTimes ?? 0;
    const tries = { retry: retry.reconsumeTimes, retryMax };
    const which = `retry ${retry.reconsumeTimes} of ${retryMax}`;
    const until = this.#waitsUntil(retry);
    if (until !== undefined) return [{ state: "retrying", group, ...tries, until, text: `${which}: waits until ${time(until)}` }];
    const way = destinationOf(retry);
    if (way !== undefined) {
      return [{ state: "retrying", group, ...tries, text: `${which}: its wait is over, it is on its way to ${way}` }];
    }
    const found = this.#inQueue(group, retry);
    return [{ ...found, ...tries, text: `${which}: ${found.text}` }];
  }

  /** Where the group stands in the message's queue. */
  #inQueue(group: string, message: DecodedMessage): Finding {
    const { store, offsets, clock } = this.#o;
    const { topic, queueId, queueOffset } = message;
    const min = store.minQueueOffset(topic, queueId);
    const committed = offsets.get(group, topic, queueId);
    const refusal = this.#notWanted(group, message);
    if (refusal !== undefined) return refusal;
    const popped = poppedFinding(this.#o, group, message) ?? poppedInOrderFinding(this.#o, group, message);
    if (popped !== undefined) return popped;
    if (queueOffset < committed) {
      return { state: "acked", group, text: `acked: the group has committed ${topic}/${queueId} up to ${committed}` };
    }
    if (queueOffset < min) {
      const text = `below the queue's first offset ${min}: deleted, or about to be, before the group had it`;
      return { state: "below-min-offset", group, text };
    }
    if (queueOffset >= store.maxQueueOffset(topic, queueId)) {
      return { state: "not-in-queue-yet", group, text: "stored, and not in its queue yet" };
    }
    const holder = this.#o.locks.holder(group, { topic, brokerName: this.#o.brokerName, queueId });
    const inOrder = holder === undefined ? "" : `; the queue is locked by ${holder.clientId} until ${time(holder.untilMs)}`;
    const before =
      committed < 0
        ? "the group has committed nothing here"
        : `committed up to ${committed}, ${queueOffset - committed} before it`;
    if (offsets.pullOffset(group, topic, queueId) > queueOffset) {
      return { state: "delivered", group, ...clientOf(holder), text: `given to a consumer, not acked yet (${before})${inOrder}` };
    }
    const newest = this.#o.consumers.group(group)?.clients.size ?? 0;
    const who = newest === 0 ? "; no consumer of the group is connected" : "";
    return {
      state: "waiting",
      group,
      ...clientOf(holder),
      text: `waits to be pulled at ${time(clock.now())}: ${before}${inOrder}${who}`,
    };
  }

  /** Why the group never sees the message. */
  #notWanted(group: string, message: DecodedMessage): Finding | undefined {
    const { topic } = message;
    const config = this.#o.groups.get(group);
    if (config === undefined) return { state: "not-subscribed", group, text: "there is no such group" };
    if (topic.startsWith(RETRY_PREFIX)) return undefined; // Every group reads its own retries, and all of them.
    const online = this.#o.consumers.group(group);
    if (online?.messageModel === "BROADCASTING") {
      return { state: "not-subscribed", group, text: "the group broadcasts: each of its consumers keeps its own offsets" };
    }
    const registered = this.#o.filters.get(topic, group);
    const subscription = online?.subscriptions.get(topic);
    if (online !== undefined && subscription === undefined) {
      return { state: "not-subscribed", group, text: `the group's consumers do not subscribe to ${topic}` };
    }
    const isTag = subscription === undefined ? registered === undefined : isTagType(subscription.expressionType);
    if (subscription === undefined && registered === undefined) return undefined;
    const expression = isTag ? (subscription?.subString ?? "*") : (registered?.expression ?? subscription?.subString ?? "");
    const type = isTag ? "TAG" : (registered?.expressionType ?? subscription?.expressionType ?? "");
    if (passes(type, expression, message)) return undefined;
    return { state: "filtered", group, expression, text: `filtered: does not pass the group's ${type} expression ${expression}` };
  }
}

function clientOf(holder: { clientId: string; untilMs: number } | undefined): Partial<Finding> {
  return holder === undefined ? {} : { clientId: holder.clientId, until: holder.untilMs };
}

function passes(type: string, expression: string, { properties }: DecodedMessage): boolean {
  try {
    const filter = entryFilter(type, expression);
    const tags = properties.get(PROPERTY.TAGS);
    if (!filter.matchesAll && !filter.codes.has(tags === undefined ? 0 : javaHash(tags))) return false;
    const text = Buffer.from(encodeProperties(properties));
    return filter.message?.matchesProperties(text, 0, text.length) ?? true;
  } catch (error) {
    if (error instanceof MillraceError) return false; // A wrong expression: the group is given nothing.
    throw error;
  }
}

function placeText({ topic, queueId, queueOffset, physicalOffset }: DecodedMessage): string {
  return `${topic}/${queueId} at ${queueOffset} (log ${physicalOffset})`;
}

function placeOf(message: DecodedMessage): MessagePlace {
  const { topic, queueId, queueOffset, physicalOffset, size, bornTimestamp, bornHost, storeTimestamp, storeHost } = message;
  return {
    offsetMsgId: offsetMessageId(storeHost, physicalOffset),
    uniqueKey: message.properties.get(PROPERTY.UNIQ_KEY) ?? "",
    topic,
    queueId,
    queueOffset,
    physicalOffset,
    size,
    bornTimestamp,
    bornHost,
    storeTimestamp,
    storeHost,
    reconsumeTimes: message.reconsumeTimes,
    keys: message.properties.get(PROPERTY.KEYS) ?? "",
    tags: message.properties.get(PROPERTY.TAGS) ?? "",
  };
}
