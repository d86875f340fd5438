import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { memberOf, parseJson } from "../../format/text/fastjson.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import { type MessageQueue, queueKey } from "../connection/routes.ts";

/** How often owned queues are locked again; the broker lets a lock lapse after 60 s. Source: Apache `ProcessQueue`. */
export const LOCK_RENEW_MS = 20_000;
/** A lock that was not confirmed for this long is treated as lost. */
export const LOCK_TRUST_MS = 30_000;
const TIMEOUT_MS = 1_000;

/** Locks of orderly consumption, held by client id on the brokers. Source: Apache `RebalanceImpl.lock`. */
export class QueueLocks {
  readonly #instance: ClientInstance;
  readonly #group: string;

  constructor(instance: ClientInstance, group: string) {
    this.#instance = instance;
    this.#group = group;
  }

  /**
   * Asks for (or renews) the locks of `queues`, one request to each broker.
   * @returns keys of those that are ours now, and of those about which no broker could be asked
   */
  async lock(queues: readonly MessageQueue[]): Promise<{ locked: Set<string>; unknown: Set<string> }> {
    const locked = new Set<string>();
    const unknown = new Set<string>();
    const perBroker = [...byBroker(queues)].map(async ([brokerName, mqSet]) => {
      try {
        const answer = await this.#ask(RequestCode.LOCK_BATCH_MQ, brokerName, mqSet);
        const granted = memberOf(parseJson(answer), "lockOKMQSet");
        for (const queue of Array.isArray(granted) ? granted : []) {
          const topic = memberOf(queue, "topic");
          const queueId = memberOf(queue, "queueId");
          if (typeof topic === "string" && typeof queueId === "number") locked.add(queueKey({ topic, brokerName, queueId }));
        }
      } catch (error) {
        this.#instance.report(error);
        for (const queue of mqSet) unknown.add(queueKey(queue));
      }
    });
    await Promise.all(perBroker);
    return { locked, unknown };
  }

  /** Gives locks back. Never rejects: they lapse by themselves. */
  async unlock(queues: readonly MessageQueue[]): Promise<void> {
    const perBroker = [...byBroker(queues)].map(async ([brokerName, mqSet]) => {
      try {
        await this.#ask(RequestCode.UNLOCK_BATCH_MQ, brokerName, mqSet);
      } catch (error) {
        this.#instance.report(error);
      }
    });
    await Promise.all(perBroker);
  }

  async #ask(code: number, brokerName: string, mqSet: readonly MessageQueue[]): Promise<Buffer> {
    const address = this.#instance.nameServers.brokerAddress(brokerName) ?? "";
    const body = { clientId: this.#instance.clientId, consumerGroup: this.#group, mqSet, onlyThisBroker: false };
    const answer = await this.#instance.remoting.invoke(
      address,
      clientRequest(code, {}, Buffer.from(JSON.stringify(body))),
      TIMEOUT_MS,
    );
    if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(`${address}: queue lock:`, answer);
    return answer.body;
  }
}

function byBroker(queues: readonly MessageQueue[]): Map<string, MessageQueue[]> {
  const perBroker = new Map<string, MessageQueue[]>();
  for (const { topic, brokerName, queueId } of queues) {
    const list = perBroker.get(brokerName) ?? [];
    list.push({ brokerName, queueId, topic });
    perBroker.set(brokerName, list);
  }
  return perBroker;
}
