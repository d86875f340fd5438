import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { memberOf, parseJson, type QueueKey, queueKeyFrom, writeJson } from "../../format/text/fastjson.ts";
import type { HandlerTable } from "../contracts.ts";

export interface QueueLocksOptions {
  clock: Clock;
}

/** From the last call of its owner. Source: Apache `RebalanceLockManager`, rocketmq.broker.rebalance.lockMaxLiveTime. */
export const LOCK_LIFE_MS = 60_000;

interface QueueLock {
  clientId: string;
  lastUpdateMs: number;
}

/**
 * LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42): which client of an orderly group may consume a queue. In memory only, as
 * on Apache's broker: after a restart the clients lock anew. Source: Apache `RebalanceLockManager`.
 */
export class QueueLocks {
  readonly #clock: Clock;
  /** By group, then by queue. */
  readonly #groups = new Map<string, Map<string, QueueLock>>();
  readonly #sweep: Timer;

  constructor(options: QueueLocksOptions) {
    this.#clock = options.clock;
    this.#sweep = options.clock.setTicker(() => this.#forgetExpired(), LOCK_LIFE_MS);
  }

  close(): void {
    this.#sweep.cancel();
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.LOCK_BATCH_MQ, (command) => this.#lockBatch(command)],
      [RequestCode.UNLOCK_BATCH_MQ, (command) => this.#unlockBatch(command)],
    ]);
  }

  /** Does a client of the group hold a queue right now, that is, does the group consume in order? */
  isAnyHeld(group: string): boolean {
    for (const lock of this.#groups.get(group)?.values() ?? []) if (this.#isHeld(lock)) return true;
    return false;
  }

  /** Who has the queue to itself, and until when, ms. */
  holder(group: string, queue: QueueKey): { clientId: string; untilMs: number } | undefined {
    const lock = this.#groups.get(group)?.get(keyOf(queue));
    if (lock === undefined || !this.#isHeld(lock)) return undefined;
    return { clientId: lock.clientId, untilMs: lock.lastUpdateMs + LOCK_LIFE_MS };
  }

  /** Is the queue not locked by another client? Locks it, or makes the lock live longer. */
  lock(group: string, queue: QueueKey, clientId: string): boolean {
    let locks = this.#groups.get(group);
    if (locks === undefined) {
      locks = new Map();
      this.#groups.set(group, locks);
    }
    const key = keyOf(queue);
    const before = locks.get(key);
    if (before !== undefined && before.clientId !== clientId && this.#isHeld(before)) return false;
    locks.set(key, { clientId, lastUpdateMs: this.#clock.now() });
    return true;
  }

  /** A lock of another client stays. */
  unlock(group: string, queue: QueueKey, clientId: string): void {
    const locks = this.#groups.get(group);
    const key = keyOf(queue);
    if (locks?.get(key)?.clientId === clientId) locks.delete(key);
    if (locks?.size === 0) this.#groups.delete(group);
  }

  #isHeld(lock: QueueLock): boolean {
    return this.#clock.now() - lock.lastUpdateMs <= LOCK_LIFE_MS;
  }

  #forgetExpired(): void {
    for (const [group, locks] of this.#groups) {
      for (const [key, lock] of locks) if (!this.#isHeld(lock)) locks.delete(key);
      if (locks.size === 0) this.#groups.delete(group);
    }
  }

  #lockBatch(command: RemotingCommand): RemotingCommand {
    const { group, clientId, queues } = batchFrom(command.body);
    const lockOKMQSet = queues.filter((queue) => this.lock(group, queue, clientId));
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson({ lockOKMQSet })));
  }

  #unlockBatch(command: RemotingCommand): RemotingCommand {
    const { group, clientId, queues } = batchFrom(command.body);
    for (const queue of queues) this.unlock(group, queue, clientId);
    return response(command, ResponseCode.SUCCESS);
  }
}

/** No name contains a control character that would matter: a text with one is only a key that nobody else has. */
function keyOf(queue: QueueKey): string {
  return `${queue.queueId}\0${queue.brokerName}\0${queue.topic}`;
}

/** Source: Apache `LockBatchRequestBody`, `UnlockBatchRequestBody`. */
function batchFrom(body: Buffer): { group: string; clientId: string; queues: QueueKey[] } {
  const value = parseJson(body);
  const group = memberOf(value, "consumerGroup");
  const clientId = memberOf(value, "clientId");
  const queues = memberOf(value, "mqSet");
  if (typeof group !== "string" || typeof clientId !== "string" || (queues !== undefined && !Array.isArray(queues))) {
    throw new MillraceError("MILLRACE_PROTOCOL", "a lock request needs consumerGroup, clientId and mqSet");
  }
  return { group, clientId, queues: (queues ?? []).map(queueKeyFrom) };
}
