import { sleep } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import { CLIENT_OPTION_KEYS, ClientInstance, type ClientOptions } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import { type MessageQueue, PERM_READ } from "../connection/routes.ts";
import { checkGroup, checkInteger, checkKnownKeys, checkTopic } from "../options.ts";
import { type ConsumedMessage, readMessages } from "./consumed-message.ts";
import type { ConsumeFrom } from "./consumer-options.ts";
import { askBroker, initialOffset, offsetOf } from "./group-offsets.ts";
import { ALL_TAGS } from "./subscription.ts";

export interface TopicReaderOptions extends ClientOptions {
  /** Name under which the broker lets us read; no progress is kept in it. Default TOOLS_CONSUMER, which RocketMQ keeps for tools. */
  group?: string;
  /** Most messages asked for in one pull; a broker has its own limit too. Default 1,024. */
  pullBatchSize?: number;
  /** Largest body that a compressed message may unpack to, bytes. Default 32 MiB. */
  maxBodySize?: number;
}

export interface ReadRange {
  /** First queueOffset. */
  from: number;
  /** One past the last; without it, waits for more at the queue's end. */
  until?: number;
  signal?: AbortSignal;
}

/** Bits of the pull's sysFlag: wait for messages; the request carries its own subscription. Source: Apache `PullSysFlag`. */
const FLAG_SUSPEND = 2;
const FLAG_SUBSCRIPTION = 4;
/** How long the broker may hold a pull that finds nothing, ms, and how much longer we wait for its answer. */
const SUSPEND_MS = 15_000;
const ANSWER_MARGIN_MS = 15_000;
const PAUSE_BUSY_MS = 20;

/**
 * Reads queues of topics from wherever one likes, in order, as often as one likes: no group is joined, no
 * progress is stored, nobody else's share of the queues changes.
 *
 * ```ts
 * const reader = new TopicReader({ namesrvAddr: "127.0.0.1:9876" });
 * for (const queue of await reader.queues("Orders")) {
 *   const { min, max } = await reader.range(queue);
 *   for await (const messages of reader.read(queue, { from: min, until: max })) show(messages);
 * }
 * await reader.close();
 * ```
 */
export class TopicReader {
  readonly #instance: ClientInstance;
  readonly #group: string;
  readonly #pullBatchSize: number;
  readonly #maxBodySize: number;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID */
  constructor(options: TopicReaderOptions) {
    checkKnownKeys(options, [...CLIENT_OPTION_KEYS, "group", "pullBatchSize", "maxBodySize"], "a topic reader");
    this.#group = checkGroup("group", options.group ?? "TOOLS_CONSUMER");
    this.#pullBatchSize = checkInteger("pullBatchSize", options.pullBatchSize ?? 1024, 1, 65_536);
    this.#maxBodySize = checkInteger("maxBodySize", options.maxBodySize ?? 33_554_432, 1, 1 << 30);
    this.#instance = new ClientInstance(options);
  }

  /**
   * All readable queues of a topic, by broker name and queueId.
   * Rejects with MILLRACE_TOPIC_UNKNOWN, MILLRACE_CONNECTION, MILLRACE_TIMEOUT
   */
  async queues(topic: string): Promise<MessageQueue[]> {
    const route = await this.#instance.nameServers.refresh(checkTopic("topic", topic));
    if (route === undefined) throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no broker has the topic "${topic}"`, { topic });
    return route.queues
      .filter(({ perm }) => (perm & PERM_READ) !== 0)
      .flatMap(({ brokerName, readQueueNums }) =>
        Array.from({ length: readQueueNums }, (_, queueId) => ({ topic, brokerName, queueId })),
      );
  }

  /** First readable queueOffset, and one past the last that is stored, dispatched or not. Rejects as a request to a broker may. */
  async range(queue: MessageQueue): Promise<{ min: number; max: number }> {
    const [min, max] = await Promise.all([
      askBroker(this.#instance, queue, RequestCode.GET_MIN_OFFSET, {}).then(offsetOf),
      askBroker(this.#instance, queue, RequestCode.GET_MAX_OFFSET, { committed: false }).then(offsetOf),
    ]);
    return { min, max };
  }

  /** The offset that "first", "last" or a time stands for. Rejects as a request to a broker may. */
  async offsetAt(queue: MessageQueue, from: ConsumeFrom): Promise<number> {
    const { min, max } = await this.range(queue);
    if (from === "first") return min;
    if (from === "last") return max;
    return Math.max(min, await initialOffset(this.#instance, queue, from));
  }

  /**
   * Messages of one queue in the order of their offsets, some at a time; the next ones are fetched meanwhile.
   * Throws as a request to a broker may.
   */
  async *read(
    queue: MessageQueue,
    { from, until = Number.POSITIVE_INFINITY, signal }: ReadRange,
  ): AsyncGenerator<ConsumedMessage[]> {
    let ahead = from < until ? this.#pull(queue, from, signal) : undefined;
    while (ahead !== undefined) {
      const { messages, nextOffset } = await ahead;
      if (signal?.aborted === true) return;
      ahead = nextOffset < until ? this.#pull(queue, nextOffset, signal) : undefined;
      // Whoever leaves the loop early never awaits it.
      ahead?.catch(() => {});
      const wanted = nextOffset <= until ? messages : messages.filter(({ queueOffset }) => queueOffset < until);
      if (wanted.length > 0) yield wanted;
    }
  }

  async close(): Promise<void> {
    await this.#instance.close({});
  }

  async #pull(
    queue: MessageQueue,
    from: number,
    signal?: AbortSignal,
  ): Promise<{ messages: ConsumedMessage[]; nextOffset: number }> {
    for (;;) {
      if (signal?.aborted === true) return { messages: [], nextOffset: from };
      const answer = await this.#ask(queue, from);
      const nextOffset = Number(answer.extFields["nextBeginOffset"] ?? from);
      switch (answer.code) {
        case ResponseCode.SUCCESS:
          return { messages: readMessages(queue, answer.body, this.#maxBodySize, from), nextOffset };
        case ResponseCode.PULL_NOT_FOUND:
        case ResponseCode.PULL_RETRY_IMMEDIATELY:
        case ResponseCode.PULL_OFFSET_MOVED:
          // Nothing there yet, or no longer: go on where the broker says.
          if (nextOffset !== from) return { messages: [], nextOffset };
          break;
        case ResponseCode.SYSTEM_BUSY:
        case ResponseCode.FLOW_CONTROL:
          await sleep(this.#instance.clock, PAUSE_BUSY_MS);
          break;
        default:
          throw requestFailed(`broker ${queue.brokerName}: pull of ${queue.topic}:`, answer);
      }
    }
  }

  #ask({ topic, brokerName, queueId }: MessageQueue, queueOffset: number): Promise<RemotingCommand> {
    const address = this.#instance.nameServers.readAddress(brokerName);
    if (address === undefined) {
      throw new MillraceError("MILLRACE_CONNECTION", `the name servers know no address of broker ${brokerName}`, { brokerName });
    }
    const command = clientRequest(RequestCode.PULL_MESSAGE, {
      consumerGroup: this.#group,
      topic,
      queueId,
      queueOffset,
      maxMsgNums: this.#pullBatchSize,
      sysFlag: FLAG_SUSPEND | FLAG_SUBSCRIPTION,
      commitOffset: 0,
      suspendTimeoutMillis: SUSPEND_MS,
      subscription: ALL_TAGS,
      subVersion: this.#instance.clock.now(),
      expressionType: "TAG",
      bname: brokerName,
    });
    return this.#instance.remoting.invoke(address, command, SUSPEND_MS + ANSWER_MARGIN_MS);
  }
}
