import { allocateAveragely } from "../../base/allocate.ts";
import type { Timer } from "../../base/clock.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { memberOf, parseJson } from "../../format/text/fastjson.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import { type MessageQueue, queueKey, readableQueues, type TopicRoute } from "../connection/routes.ts";
import type { AssignedQueue } from "./assigned-queue.ts";
import type { ConsumerSettings } from "./consumer-options.ts";

/** Pause before looking again for a topic that has no route yet, ms; doubles up to the usual interval. */
const ROUTELESS_RETRY_MS = 1_000;
const TIMEOUT_MS = 3_000;

export interface RebalancerHooks {
  topics(): Iterable<string>;
  /** Those of `queues` that could be taken over. Never rejects. */
  assign(queues: readonly MessageQueue[]): Promise<AssignedQueue[]>;
  /** The queues are somebody else's now. Never rejects. */
  revoke(queues: readonly AssignedQueue[]): Promise<void>;
}

/**
 * Finds out which queues this member of the group owns: all members share the readable queues of each topic
 * by the same rule from the same sorted lists, so nobody needs to be asked but the broker, for the members.
 * One round at a time; requests meanwhile lead to one more. Source: Apache `RebalanceImpl`.
 */
export class Rebalancer {
  readonly #instance: ClientInstance;
  readonly #settings: ConsumerSettings;
  readonly #hooks: RebalancerHooks;
  readonly #assigned = new Map<string, AssignedQueue>();
  #ticker: Timer | undefined;
  #retry: Timer | undefined;
  #retryMs = ROUTELESS_RETRY_MS;
  #round: Promise<void> | undefined;
  #isWanted = false;
  #isStopped = false;
  /** Spreads the questions for members over the brokers. */
  #turn = 0;

  constructor(instance: ClientInstance, settings: ConsumerSettings, hooks: RebalancerHooks) {
    this.#instance = instance;
    this.#settings = settings;
    this.#hooks = hooks;
  }

  get assigned(): IterableIterator<AssignedQueue> {
    return this.#assigned.values();
  }

  find(queue: MessageQueue): AssignedQueue | undefined {
    return this.#assigned.get(queueKey(queue));
  }

  /** @returns false if `old` is not assigned any more */
  replace(old: AssignedQueue, by: AssignedQueue): boolean {
    const key = queueKey(old.queue);
    if (this.#assigned.get(key) !== old) return false;
    this.#assigned.set(key, by);
    return true;
  }

  start(): void {
    this.#ticker = this.#instance.clock.setTicker(() => void this.request(), this.#settings.rebalanceIntervalMs);
  }

  /** Asks for a round. @returns when one that began after this call is over */
  request(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    this.#isWanted = true;
    this.#round ??= this.#runWanted();
    return this.#round;
  }

  /** Ends rounds; resolves when none is under way. The queues stay assigned. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#ticker?.cancel();
    this.#retry?.cancel();
    await this.#round;
  }

  /** Drops one queue that turned out not to be ours (its lock was lost); a later round may bring it back. */
  async giveUp(assigned: AssignedQueue): Promise<void> {
    const key = queueKey(assigned.queue);
    if (this.#assigned.get(key) !== assigned) return;
    this.#assigned.delete(key);
    await this.#hooks.revoke([assigned]);
  }

  async #runWanted(): Promise<void> {
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false;
      const results = await Promise.all([...this.#hooks.topics()].map((topic) => this.#rebalanceTopic(topic)));
      if (results.every((isComplete) => isComplete)) this.#retryMs = ROUTELESS_RETRY_MS;
      else this.#retrySoon();
    }
    this.#round = undefined;
  }

  /** Some topic, often the group's retry topic that the first heartbeat creates, is not known yet. */
  #retrySoon(): void {
    if (this.#isStopped) return;
    this.#retry?.cancel();
    this.#retry = this.#instance.clock.setTimer(() => void this.request(), this.#retryMs);
    this.#retryMs = Math.min(this.#settings.rebalanceIntervalMs, this.#retryMs * 2);
  }

  /** @returns false when it must be tried again before the usual time */
  async #rebalanceTopic(topic: string): Promise<boolean> {
    try {
      const route = await this.#instance.nameServers.route(topic);
      if (route === undefined) return false;
      const mine = await this.#shareOf(route);
      return mine === undefined ? false : await this.#change(topic, mine);
    } catch (error) {
      this.#instance.report(error);
      return false;
    }
  }

  /** undefined: nobody could be asked, all stays as it is. */
  async #shareOf(route: TopicRoute): Promise<MessageQueue[] | undefined> {
    const queues = readableQueues(route);
    if (this.#settings.isBroadcasting) return queues;
    const members = await this.#members(route);
    if (members === undefined) return undefined;
    if (!members.includes(this.#instance.clientId)) {
      // The others share without us; a heartbeat brings us back, and the broker then tells everyone.
      void this.#instance.heartbeat();
    }
    return allocateAveragely(queues, members, this.#instance.clientId);
  }

  /** Ids of the group's members, sorted; undefined when no broker of the topic could tell. */
  async #members(route: TopicRoute): Promise<string[] | undefined> {
    const { brokers } = route;
    for (let step = 0; step < brokers.length; step++) {
      const address = this.#instance.nameServers.readAddress(brokers[(this.#turn + step) % brokers.length]!.brokerName);
      if (address === undefined) continue;
      try {
        await this.#instance.introduce(address);
        const command = clientRequest(RequestCode.GET_CONSUMER_LIST_BY_GROUP, { consumerGroup: this.#settings.group });
        const answer = await this.#instance.remoting.invoke(address, command, TIMEOUT_MS);
        if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(`${address}: members of the group:`, answer);
        const ids = memberOf(parseJson(answer.body), "consumerIdList");
        this.#turn += step;
        // Default order: by UTF-16 code units, as all other members sort.
        if (Array.isArray(ids)) return ids.filter((id): id is string => typeof id === "string").sort();
      } catch (error) {
        this.#instance.report(error);
      }
    }
    return undefined;
  }

  /** @returns whether all queues could be taken over */
  async #change(topic: string, mine: readonly MessageQueue[]): Promise<boolean> {
    const keys = new Set(mine.map((queue) => queueKey(queue)));
    const lost: AssignedQueue[] = [];
    for (const [key, assigned] of this.#assigned) {
      if (assigned.queue.topic !== topic || keys.has(key)) continue;
      this.#assigned.delete(key);
      lost.push(assigned);
    }
    if (lost.length > 0) await this.#hooks.revoke(lost);
    const wanted = mine.filter((queue) => !this.#assigned.has(queueKey(queue)));
    if (wanted.length === 0) return true;
    const taken = await this.#hooks.assign(wanted);
    for (const assigned of taken) this.#assigned.set(queueKey(assigned.queue), assigned);
    return taken.length === wanted.length;
  }
}
