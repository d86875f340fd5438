import { isLmq, lmqNameFault } from "../../format/names.ts";
import { dispatchNames, mayDispatch, multiDispatchGrowth } from "../../format/record/multi-dispatch.ts";
import { encodeProperties, PROPERTIES_SIZE_MAX, PROPERTY } from "../../format/record/properties.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { PERM_READ, PERM_WRITE, type TopicConfig } from "../../format/topic-config.ts";
import type { MessageStore } from "../message-store.ts";
import type { SendRefusal } from "../send/send-responses.ts";

/** Names as in the configuration. */
export interface LmqSettings {
  enableLmq: boolean;
  enableMultiDispatch: boolean;
  enableLmqQuota: boolean;
  maxLmqConsumeQueueNum: number;
}

/** The queue of every such name. */
const LMQ_QUEUE_COUNT = 1;

/**
 * Queues of further names (`%LMQ%…`) that messages of other topics go to. They come into being by being named, by a message
 * or a pull, and stand in no table of topics. Control thread only.
 * Source: Apache `LmqTopicConfigManager`, `HookUtils.handleLmqQuota`.
 */
export class LmqTopics {
  readonly #settings: LmqSettings;
  readonly #store: Pick<MessageStore, "ensureQueues">;
  /** When a message last named it, ms; 0: not since the start. */
  readonly #known = new Map<string, number>();
  readonly #now: () => number;

  /** @param stored names of directories that the store has queues in */
  constructor(settings: LmqSettings, store: Pick<MessageStore, "ensureQueues">, stored: readonly string[], now: () => number) {
    this.#settings = settings;
    this.#store = store;
    this.#now = now;
    for (const topic of stored) if (isLmq(topic)) this.#known.set(topic, 0);
  }

  /** Names that there are queues of. */
  get names(): Pick<ReadonlyMap<string, number>, "size" | "keys"> {
    return this.#known;
  }

  /** When a message last named the queue, ms. */
  namedMs(name: string): number {
    return this.#known.get(name) ?? 0;
  }

  /** What any such name has for a configuration, whether there is a queue of it or not; undefined: it is none. */
  config(topic: string): TopicConfig | undefined {
    if (!this.#settings.enableLmq || !isLmq(topic) || lmqNameFault(topic) !== undefined) return undefined;
    return {
      topicName: topic,
      readQueueNums: LMQ_QUEUE_COUNT,
      writeQueueNums: LMQ_QUEUE_COUNT,
      perm: PERM_READ | PERM_WRITE,
      topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0,
      order: false,
      attributes: {},
    };
  }

  /**
   * Makes the queue of a name that `config` knows usable by all threads.
   * @returns why there may be no more of them, or undefined
   * @throws MillraceError MILLRACE_BUSY when the store has no room for more queues
   */
  ensure(name: string): SendRefusal | undefined {
    if (this.#known.has(name)) return undefined;
    const { enableLmqQuota, maxLmqConsumeQueueNum } = this.#settings;
    if (enableLmqQuota && this.#known.size >= maxLmqConsumeQueueNum) {
      const remark = "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded.";
      return { code: ResponseCode.LMQ_QUOTA_EXCEEDED, remark };
    }
    this.#store.ensureQueues(name, LMQ_QUEUE_COUNT);
    this.#known.set(name, 0);
    return undefined;
  }

  forget(name: string): void {
    this.#known.delete(name);
  }

  /**
   * Readies a message for the further queues that it names, before it is stored or parked.
   * @param properties of the message; offsets that the sender claims are taken out of them
   */
  admit(topic: string, properties: Map<string, string>): SendRefusal | undefined {
    const text = properties.get(PROPERTY.MULTI_DISPATCH);
    if (!this.#settings.enableLmq || text === undefined) return undefined;
    properties.delete(PROPERTY.MULTI_QUEUE_OFFSET);
    if (!mayDispatch(topic)) return undefined;
    const names = dispatchNames(text);
    if (names === undefined) {
      return illegal(`${PROPERTY.MULTI_DISPATCH} names something else than queues: %LMQ% and printable ASCII without / and \\`);
    }
    if (Buffer.byteLength(encodeProperties(properties)) + multiDispatchGrowth(names.length) > PROPERTIES_SIZE_MAX) {
      return illegal(`the properties are larger than ${PROPERTIES_SIZE_MAX} bytes with the offsets in ${names.length} queues`);
    }
    if (!this.#settings.enableMultiDispatch) return undefined;
    for (const name of names) {
      const refusal = this.ensure(name);
      if (refusal !== undefined) return refusal;
      this.#known.set(name, this.#now());
    }
    return undefined;
  }
}

function illegal(remark: string): SendRefusal {
  return { code: ResponseCode.MESSAGE_ILLEGAL, remark };
}
