import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import { MASTER_ID } from "../connection/routes.ts";
import type { AssignedQueue } from "./assigned-queue.ts";
import { type ConsumedMessage, readMessages } from "./consumed-message.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import type { Subscription } from "./subscription.ts";

/** Bits of the pull's sysFlag. Source: Apache `PullSysFlag`. */
const FLAG_COMMIT_OFFSET = 1;
const FLAG_SUSPEND = 2;

/** How much longer than the broker may hold a pull we wait for its answer, ms. Source: Apache `PullAPIWrapper` users (15 s, 30 s). */
const ANSWER_MARGIN_MS = 15_000;
/** Pauses before the next pull, ms. Source: Apache `DefaultMQPushConsumerImpl`, but shorter after errors that a heartbeat mends. */
const PAUSE_BUSY_MS = 20;
const PAUSE_UNSUBSCRIBED_MS = 500;
const PAUSE_ERROR_MS = 3_000;
const PAUSE_CONNECTION_MS = 1_000;

export interface PullerHooks {
  /** The topic's subscription; undefined once it is given up. */
  subscription(topic: string): Subscription | undefined;
  /** New messages wait in the queue's window. */
  onMessages(assigned: AssignedQueue): void;
  /** The broker moved the group: what was held is void, and the new offset must be stored. */
  onOffsetMoved(assigned: AssignedQueue): void;
}

/** Pulls one queue after another answer, as long as it is ours and its window has room. */
export class Puller {
  readonly #instance: ClientInstance;
  readonly #settings: ConsumerSettings;
  readonly #hooks: PullerHooks;

  constructor(instance: ClientInstance, settings: ConsumerSettings, hooks: PullerHooks) {
    this.#instance = instance;
    this.#settings = settings;
    this.#hooks = hooks;
  }

  /** Pulls until the queue is dropped. Never rejects: failures are reported, and tried again. */
  async run(assigned: AssignedQueue): Promise<void> {
    let brokerId = MASTER_ID;
    while (!assigned.isDropped) {
      if (!assigned.window.hasRoom) {
        await assigned.changed();
        continue;
      }
      const subscription = this.#hooks.subscription(assigned.queue.topic);
      if (subscription === undefined) return;
      let pauseMs: number;
      try {
        const answer = await this.#pull(assigned, subscription, brokerId);
        if (assigned.isDropped) return;
        brokerId = Number(answer.extFields["suggestWhichBrokerId"] ?? MASTER_ID);
        pauseMs = this.#take(assigned, subscription, answer);
      } catch (error) {
        if (assigned.isDropped) return;
        brokerId = MASTER_ID;
        pauseMs = await this.#onFailure(assigned, error);
      }
      if (pauseMs > 0) await assigned.pause(this.#instance.clock, pauseMs);
    }
  }

  async #pull(assigned: AssignedQueue, subscription: Subscription, brokerId: number): Promise<RemotingCommand> {
    const { queue, window } = assigned;
    const { group, isBroadcasting, pullBatchSize, pullSuspendMs } = this.#settings;
    const address = this.#instance.nameServers.readAddress(queue.brokerName, brokerId);
    if (address === undefined) {
      throw new MillraceError("MILLRACE_CONNECTION", `the name servers know no address of broker ${queue.brokerName}`, {
        brokerName: queue.brokerName,
      });
    }
    await this.#instance.introduce(address);
    const offset = window.nextPullOffset;
    const commitOffset = isBroadcasting ? 0 : window.commitOffset;
    assigned.lastPullMs = this.#instance.clock.now();
    const answer = await this.#instance.remoting.invoke(
      address,
      clientRequest(RequestCode.PULL_MESSAGE, {
        consumerGroup: group,
        topic: queue.topic,
        queueId: queue.queueId,
        queueOffset: offset,
        maxMsgNums: pullBatchSize,
        sysFlag: FLAG_SUSPEND | (commitOffset > 0 ? FLAG_COMMIT_OFFSET : 0),
        commitOffset,
        suspendTimeoutMillis: pullSuspendMs,
        subscription: subscription.expression,
        subVersion: subscription.version,
        expressionType: subscription.expressionType,
        bname: queue.brokerName,
      }),
      pullSuspendMs + ANSWER_MARGIN_MS,
    );
    // A reset has come in between: the answer is about the wrong place.
    if (window.nextPullOffset !== offset) return { ...answer, code: ResponseCode.PULL_RETRY_IMMEDIATELY, extFields: {} };
    return answer;
  }

  /** @returns pause before the next pull, ms */
  #take(assigned: AssignedQueue, subscription: Subscription, answer: RemotingCommand): number {
    const { window } = assigned;
    const nextOffset = Number(answer.extFields["nextBeginOffset"] ?? window.nextPullOffset);
    switch (answer.code) {
      case ResponseCode.SUCCESS: {
        const messages = readMessages(assigned.queue, answer.body, this.#settings.maxBodySize, window.nextPullOffset);
        window.add(
          subscription.needsTagCheck ? messages.filter((message) => subscription.matches(message.tags)) : messages,
          nextOffset,
        );
        if (window.hasWaiting) this.#hooks.onMessages(assigned);
        return 0;
      }
      case ResponseCode.PULL_NOT_FOUND:
      case ResponseCode.PULL_RETRY_IMMEDIATELY:
        window.add(NO_MESSAGES, nextOffset);
        return 0;
      case ResponseCode.PULL_OFFSET_MOVED:
        window.reset(nextOffset);
        this.#hooks.onOffsetMoved(assigned);
        return 0;
      default:
        throw requestFailed(`broker ${assigned.queue.brokerName}: pull of ${assigned.queue.topic}:`, answer);
    }
  }

  /** @returns pause before the next pull, ms */
  async #onFailure(assigned: AssignedQueue, error: unknown): Promise<number> {
    if (!(error instanceof MillraceError)) {
      this.#instance.report(error);
      return PAUSE_ERROR_MS;
    }
    switch (error.details["responseCode"]) {
      case ResponseCode.SYSTEM_BUSY:
      case ResponseCode.FLOW_CONTROL:
        return PAUSE_BUSY_MS;
      case ResponseCode.SUBSCRIPTION_NOT_EXIST:
      case ResponseCode.SUBSCRIPTION_NOT_LATEST:
      case ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST:
        // The broker has not heard of our subscription (it was started again, say).
        await this.#instance.heartbeat();
        return PAUSE_UNSUBSCRIBED_MS;
      default:
    }
    if (error.code === "MILLRACE_CLOSED") return PAUSE_ERROR_MS;
    this.#instance.report(error);
    if (error.code !== "MILLRACE_CONNECTION") return error.code === "MILLRACE_TIMEOUT" ? PAUSE_BUSY_MS : PAUSE_ERROR_MS;
    this.#instance.nameServers.refresh(assigned.queue.topic).catch((failure: unknown) => this.#instance.report(failure));
    return PAUSE_CONNECTION_MS;
  }
}

const NO_MESSAGES: readonly ConsumedMessage[] = [];
