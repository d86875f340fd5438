import { joined, topicKind } from "../../format/remoting/pop-info.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";

/**
 * The messages of one queue that a group has popped in order and not wholly acknowledged. Members are named as in
 * consumerOrderInfo.json. Source: Apache `ConsumerOrderInfoManager.OrderInfo`.
 */
interface OrderInfo {
  popTime: number;
  /** Invisible time, ms. */
  i: number;
  /** First queueOffset, then distances from it. */
  o: number[];
  /** When single messages are visible again, by queueOffset, ms. */
  ot: Map<number, number>;
  /** How often a message has been popped before, by queueOffset; only where it has. */
  oc: Map<number, number>;
  /** Last pop, ms. */
  l: number;
  /** Bits of the acknowledged ones. */
  cm: number;
  a: string | undefined;
}

/** Of a message in a queue that is popped in order. */
export interface OrderPlace {
  isPopped: boolean;
  isAcked: boolean;
  /** Of a popped one, when it is visible again; of another, when all are. */
  untilMs: number;
  /** Pops before the last one. */
  before: number;
}

/** Outcomes of an acknowledgement; else the queueOffset to go on from. */
export const ORDER_ILLEGAL = -1;
export const ORDER_IGNORED = -2;

const UNUSED_MS = 86_400_000;

/**
 * Pop in order: a queue whose popped messages are not all acknowledged gives out nothing more until they are, or until
 * their invisible time is over; then all from the first unacknowledged on come again. The same attemptId may ask again,
 * since its answer may have been lost. Control thread only. Source: Apache `ConsumerOrderInfoManager`.
 */
export class OrderInfos {
  readonly #table = new Map<string, Map<number, OrderInfo>>();
  readonly #now: () => number;
  /** Something has changed since `text`. */
  isDirty = false;

  constructor(now: () => number) {
    this.#now = now;
  }

  #infoOf(topic: string, group: string, queueId: number): OrderInfo | undefined {
    return this.#table.get(`${topic}@${group}`)?.get(queueId);
  }

  isBlocked(attemptId: string | undefined, topic: string, group: string, queueId: number): boolean {
    const info = this.#infoOf(topic, group, queueId);
    if (info === undefined || (info.a !== undefined && info.a === attemptId)) return false;
    const now = this.#now();
    return info.o.some((_, index) => !isAcked(info, index) && now < visibleAt(info, index));
  }

  /**
   * What is known of one message of the queue: until when it, or what stands before it, is invisible, ms, and how often it was
   * popped before.
   */
  placeOf(topic: string, group: string, queueId: number, queueOffset: number): OrderPlace | undefined {
    const info = this.#infoOf(topic, group, queueId);
    if (info === undefined || queueOffset < info.o[0]!) return undefined;
    const open = [...info.o.keys()].filter((index) => !isAcked(info, index));
    const blockedUntilMs = Math.max(0, ...open.map((index) => visibleAt(info, index)));
    const index = info.o.findIndex((_, at) => offsetAt(info, at) === queueOffset);
    const before = info.oc.get(queueOffset) ?? 0;
    if (index < 0) return { isPopped: false, isAcked: false, untilMs: blockedUntilMs, before };
    return { isPopped: true, isAcked: isAcked(info, index), untilMs: visibleAt(info, index), before };
  }

  /** Messages are handed out. @returns their part of orderCountInfo */
  update(
    attemptId: string | undefined,
    topic: string,
    group: string,
    queueId: number,
    popTime: number,
    invisibleTime: number,
    queueOffsets: readonly number[],
  ): string {
    const first = queueOffsets[0]!;
    const before = this.#infoOf(topic, group, queueId);
    const info: OrderInfo = {
      popTime,
      i: invisibleTime,
      o: queueOffsets.map((offset, index) => (index === 0 ? offset : offset - first)),
      ot: new Map(),
      oc: new Map(),
      l: this.#now(),
      cm: 0,
      a: attemptId,
    };
    if (before !== undefined) info.oc = consumedBefore(info, before);
    const queues = this.#table.get(`${topic}@${group}`) ?? new Map<number, OrderInfo>();
    queues.set(queueId, info);
    this.#table.set(`${topic}@${group}`, queues);
    this.isDirty = true;
    const kind = topicKind(topic);
    let text = "";
    for (const [offset, count] of info.oc) text = joined(text, `${kind} qo${queueId}%${offset} ${count}`);
    // Old clients know counts of whole queues only.
    const least = info.oc.size === info.o.length ? Math.min(...info.oc.values()) : 0;
    return joined(text, `${kind} ${queueId} ${least}`);
  }

  /** One message is acknowledged. @returns queueOffset that the group goes on from, or ORDER_ILLEGAL, ORDER_IGNORED */
  acknowledge(topic: string, group: string, queueId: number, queueOffset: number, popTime: number): number {
    const info = this.#infoOf(topic, group, queueId);
    if (info === undefined) return queueOffset + 1;
    if (popTime !== info.popTime) return ORDER_IGNORED;
    const index = info.o.findIndex((_, at) => offsetAt(info, at) === queueOffset);
    if (index < 0) return ORDER_ILLEGAL;
    info.cm |= 1 << index;
    this.isDirty = true;
    const next = info.o.findIndex((_, at) => !isAcked(info, at));
    return next < 0 ? offsetAt(info, info.o.length - 1) + 1 : offsetAt(info, next);
  }

  setVisibleAt(topic: string, group: string, queueId: number, queueOffset: number, popTime: number, visibleMs: number): void {
    const info = this.#infoOf(topic, group, queueId);
    if (info === undefined || info.popTime !== popTime) return;
    info.ot.set(queueOffset, visibleMs);
    this.isDirty = true;
  }

  /** The group starts elsewhere. */
  clear(topic: string, group: string, queueId: number): void {
    if (this.#table.get(`${topic}@${group}`)?.delete(queueId) === true) this.isDirty = true;
  }

  /** @param isThere whether topic, group and queue still exist */
  text(isThere: (topic: string, group: string, queueId: number) => boolean): string {
    const oldest = this.#now() - UNUSED_MS;
    const table: Record<string, Map<number, object>> = {};
    for (const [key, queues] of this.#table) {
      const at = key.indexOf("@");
      for (const [queueId, info] of queues) {
        if (info.l < oldest || !isThere(key.slice(0, at), key.slice(at + 1), queueId)) queues.delete(queueId);
      }
      if (queues.size === 0) this.#table.delete(key);
      else table[key] = new Map([...queues].map(([queueId, info]) => [queueId, members(info)]));
    }
    this.isDirty = false;
    const orderInfoCount = Object.values(table).reduce((sum, queues) => sum + queues.size, 0);
    return writeJson({ orderInfoCount, orderedConsumptionLevel: "QUEUE", table });
  }

  /** Takes over what a file says; entries that cannot be are left out. */
  load(text: string): void {
    for (const [key, queues] of entriesOf(memberOf(parseJson(text), "table"))) {
      const infos = new Map<number, OrderInfo>();
      for (const [queueId, value] of entriesOf(queues)) {
        const info = infoFrom(value);
        if (info !== undefined) infos.set(Number(queueId), info);
      }
      if (infos.size > 0) this.#table.set(String(key), infos);
    }
  }
}

function isAcked(info: OrderInfo, index: number): boolean {
  return (info.cm & (1 << index)) !== 0;
}

function offsetAt(info: OrderInfo, index: number): number {
  return index === 0 ? info.o[0]! : info.o[0]! + info.o[index]!;
}

function visibleAt(info: OrderInfo, index: number): number {
  return info.ot.get(offsetAt(info, index)) ?? info.popTime + info.i;
}

/** The same attempt again is no further one. */
function consumedBefore(info: OrderInfo, before: OrderInfo): Map<number, number> {
  if (before.a !== undefined && before.a === info.a) return before.oc;
  const popped = new Set(before.o.map((_, index) => offsetAt(before, index)));
  const counts = new Map<number, number>();
  for (const index of info.o.keys()) {
    const offset = offsetAt(info, index);
    if (popped.has(offset)) counts.set(offset, (before.oc.get(offset) ?? 0) + 1);
  }
  return counts;
}

function members({ a, cm, i, l, o, oc, ot, popTime }: OrderInfo): object {
  return { ...(a === undefined ? {} : { a }), cm, i, l, o, oc, ...(ot.size > 0 ? { ot } : {}), popTime };
}

function infoFrom(value: unknown): OrderInfo | undefined {
  const number = (name: string): number => Number(memberOf(value, name) ?? 0);
  const byOffset = (name: string): Map<number, number> =>
    new Map(entriesOf(memberOf(value, name)).map(([offset, count]) => [Number(offset), Number(count)]));
  const listed = memberOf(value, "o");
  const attempt = memberOf(value, "a");
  const info: OrderInfo = {
    popTime: number("popTime"),
    i: number("i"),
    o: Array.isArray(listed) ? listed.map(Number) : [],
    ot: byOffset("ot"),
    oc: byOffset("oc"),
    l: number("l"),
    cm: number("cm"),
    a: typeof attempt === "string" ? attempt : undefined,
  };
  const numbers = [info.popTime, info.i, info.l, info.cm, ...info.o, ...info.ot.values(), ...info.oc.values()];
  return info.o.length > 0 && info.o.length <= 32 && numbers.every(Number.isSafeInteger) ? info : undefined;
}
