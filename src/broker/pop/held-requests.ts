import type { Clock, Timer } from "../../base/clock.ts";
import type { Channel } from "../channel.ts";
import { DueTicks } from "./due-ticks.ts";

export interface HeldRequestsOptions {
  clock: Clock;
  /** popPollingSize: requests of one topic, group and queueId. */
  countMax: () => number;
  /** maxPopPollingSize: requests in all. */
  totalMax: () => number;
  /** The queues that a request looks at, retry topics among them. */
  queuesOf: (wanted: Wanted) => Iterable<{ topic: string; queueId: number }>;
  /** Would a request find something in the queue now? */
  hasMore: (wanted: Wanted, topic: string, queueId: number) => boolean;
  /** Asks for `grown` to be called once the queue has grown. */
  watch: (topic: string, queueId: number) => void;
}

/** What a request waits for. */
export interface Wanted {
  topic: string;
  group: string;
  /** -1: all. */
  queueId: number;
  isOrdered: boolean;
}

export interface HeldRequest {
  readonly channel: Channel;
  /** When it has to be answered. */
  readonly deadlineMs: number;
  /** Looks again; holds itself again if there is nothing and `isOver` is false. */
  readonly serve: (isOver: boolean) => void;
}

interface Key extends Wanted {
  readonly requests: Set<HeldRequest>;
  /** Queues that it waits for. */
  readonly armed: Set<string>;
}

export type HoldOutcome = "held" | "full" | "over";

const TICK_MS = 20;
/** Of its time a request gives up so much for the way back. Source: Apache `PopRequest.isTimeout`. */
const EARLY_MS = 50;
/** Each so many ticks all keys are looked at: what is not announced (an expired lock of a queue in order) is found then. */
const LOOK_TICKS = 5;
const LOOK_ALL_TICKS = 50;

/**
 * Requests that have found nothing and wait for a message of their topic, by topic, group and queueId. A queue that has
 * grown wakes one request of each group; that one wakes the next if it leaves something. Control thread only.
 * Source: Apache `PopLongPollingService`.
 */
export class HeldRequests {
  readonly #o: HeldRequestsOptions;
  readonly #keys = new Map<string, Key>();
  /** Keys that wait for the queue. */
  readonly #waiting = new Map<string, Set<Key>>();
  readonly #deadlines = new DueTicks<{ key: Key; request: HeldRequest }>(TICK_MS);
  readonly #byChannel = new Map<number, Map<HeldRequest, Key>>();
  #total = 0;
  #ticks = 0;
  #ticker: Timer | undefined;

  constructor(options: HeldRequestsOptions) {
    this.#o = options;
  }

  get total(): number {
    return this.#total;
  }

  /** How many of them are held. */
  count(wanted: Omit<Wanted, "isOrdered">): number {
    return this.#keys.get(keyText(wanted))?.requests.size ?? 0;
  }

  hold(wanted: Wanted, request: HeldRequest): HoldOutcome {
    const { clock, countMax, totalMax } = this.#o;
    if (this.#total >= totalMax()) return "full";
    if (clock.now() > request.deadlineMs - EARLY_MS) return "over";
    const text = keyText(wanted);
    let key = this.#keys.get(text);
    if (key === undefined) {
      key = { ...wanted, requests: new Set(), armed: new Set() };
      this.#keys.set(text, key);
    }
    if (key.requests.size > countMax()) return "full";
    key.isOrdered ||= wanted.isOrdered;
    key.requests.add(request);
    const held = this.#byChannel.get(request.channel.id) ?? new Map<HeldRequest, Key>();
    held.set(request, key);
    this.#byChannel.set(request.channel.id, held);
    this.#total++;
    this.#deadlines.add(request.deadlineMs - EARLY_MS, { key, request });
    this.#ticker ??= clock.setTicker(() => this.#tick(), TICK_MS);
    this.#arm(key);
    return "held";
  }

  /** Asks to be told of news, and wakes a request if there are some already. */
  #arm(key: Key): void {
    for (const { topic, queueId } of this.#o.queuesOf(key)) {
      const text = queueText(topic, queueId);
      const keys = this.#waiting.get(text);
      if (keys === undefined) this.#waiting.set(text, new Set([key]));
      else keys.add(key);
      key.armed.add(text);
      this.#o.watch(topic, queueId);
      if (this.#o.hasMore(key, topic, queueId)) {
        // Not now: whoever holds has not answered its caller yet.
        setImmediate(() => this.#wakeOne(key));
        return;
      }
    }
  }

  #wakeOne(key: Key): void {
    const [request] = key.requests;
    if (request === undefined) return;
    this.#forget(key, request);
    request.serve(false);
    if (key.requests.size > 0) this.#arm(key);
  }

  #forget(key: Key, request: HeldRequest): boolean {
    if (!key.requests.delete(request)) return false;
    this.#total--;
    const held = this.#byChannel.get(request.channel.id);
    held?.delete(request);
    if (held?.size === 0) this.#byChannel.delete(request.channel.id);
    if (key.requests.size === 0) this.#drop(key);
    return true;
  }

  #drop(key: Key): void {
    this.#keys.delete(keyText(key));
    for (const text of key.armed) {
      const keys = this.#waiting.get(text);
      keys?.delete(key);
      if (keys?.size === 0) this.#waiting.delete(text);
    }
    key.armed.clear();
  }

  /** The queue has grown since `watch` was called. */
  grown(topic: string, queueId: number): void {
    const text = queueText(topic, queueId);
    const keys = this.#waiting.get(text);
    if (keys === undefined) return;
    this.#waiting.delete(text);
    for (const key of keys) {
      key.armed.delete(text);
      this.#wakeOne(key);
    }
  }

  /** There may be something for the group: a queue is free again, or has got a retry topic. */
  look(topic: string, group: string, queueId: number): void {
    for (const wanted of [-1, queueId]) {
      const key = this.#keys.get(keyText({ topic, group, queueId: wanted }));
      if (key !== undefined) this.#arm(key);
    }
  }

  #tick(): void {
    for (const { key, request } of this.#deadlines.takeDue(this.#o.clock.now())) {
      if (this.#forget(key, request)) request.serve(true);
    }
    this.#ticks++;
    if (this.#ticks % LOOK_TICKS === 0) {
      const isForAll = this.#ticks % LOOK_ALL_TICKS === 0;
      for (const key of [...this.#keys.values()]) if (isForAll || key.isOrdered) this.#arm(key);
    }
    if (this.#total > 0) return;
    this.#ticker?.cancel();
    this.#ticker = undefined;
  }

  /** Nobody would get the answer. */
  channelClosed(channelId: number): void {
    for (const [request, key] of [...(this.#byChannel.get(channelId) ?? [])]) this.#forget(key, request);
  }

  /** Forgets all: their connections are closed. */
  close(): void {
    this.#keys.clear();
    this.#waiting.clear();
    this.#byChannel.clear();
    this.#total = 0;
    this.#ticker?.cancel();
    this.#ticker = undefined;
  }
}

function keyText({ topic, group, queueId }: Omit<Wanted, "isOrdered">): string {
  return `${topic}@${group}@${queueId}`;
}

function queueText(topic: string, queueId: number): string {
  return `${topic}@${queueId}`;
}
