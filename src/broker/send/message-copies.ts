import { DLQ_PREFIX, RETRY_PREFIX, SCHEDULE_TOPIC } from "../../format/names.ts";
import { type DecodedMessage, decodeMessage } from "../../format/record/message.ts";
import { offsetMessageId, physicalOffsetOf } from "../../format/record/message-id.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { popNormalTopic, popRetryTopic } from "../../format/remoting/pop-info.ts";
import type { TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import { HALF_TOPIC, TIMER_TOPIC } from "../topics/system-topics.ts";

/** Records with the same unique key that are looked at in one topic. */
const COPIES_MAX = 64;
const NEVER_MS = Number.MAX_SAFE_INTEGER;
/** Where a message waits before it reaches its topic. */
const WAITING_TOPICS: readonly string[] = [SCHEDULE_TOPIC, TIMER_TOPIC, HALF_TOPIC];

/**
 * All that the log has of one message: it is stored once in its topic, and again for each delay, retry and dead letter, every time
 * with the same unique key.
 */
export class MessageCopies {
  readonly #topics: TopicLookup;
  readonly #store: MessageStore;

  constructor(topics: TopicLookup, store: MessageStore) {
    this.#topics = topics;
    this.#store = store;
  }

  /**
   * @param id     offsetMsgId or unique key
   * @param topic  "" for any
   * @param groups whose retry and dead-letter topics are looked at as well
   * @returns in the order in which they were stored
   */
  find(id: string, topic: string, groups: readonly string[]): DecodedMessage[] {
    const named = this.#byOffsetId(id);
    const key = named?.properties.get(PROPERTY.UNIQ_KEY) ?? id;
    const found = new Map<number, DecodedMessage>();
    if (named !== undefined) found.set(named.physicalOffset, named);
    for (const where of this.#topicsToSearch(named, topic, groups)) {
      for (const copy of this.#byKey(where, key)) found.set(copy.physicalOffset, copy);
    }
    // A topic that was not named: what waits, or was sent back, tells where the message belongs.
    for (const copy of [...found.values()]) {
      const home = homeOf(copy);
      for (const other of home === copy.topic ? [] : this.#byKey(home, key)) found.set(other.physicalOffset, other);
    }
    return [...found.values()].sort((a, b) => a.physicalOffset - b.physicalOffset);
  }

  #topicsToSearch(named: DecodedMessage | undefined, topic: string, groups: readonly string[]): Set<string> {
    const ofGroups = (home: string): string[] => groups.flatMap((group) => [...retryTopicsOf(group, home), DLQ_PREFIX + group]);
    if (named !== undefined) return new Set([named.topic, homeOf(named), ...WAITING_TOPICS, ...ofGroups(homeOf(named))]);
    if (topic !== "") return new Set([topic, ...WAITING_TOPICS, ...ofGroups(topic)]);
    return new Set([...[...this.#topics.all()].map(({ topicName }) => topicName), ...WAITING_TOPICS]);
  }

  #byOffsetId(id: string): DecodedMessage | undefined {
    const physicalOffset = physicalOffsetOf(id);
    const record = physicalOffset === undefined ? undefined : this.#store.readRecord(physicalOffset);
    if (record === undefined) return undefined;
    const message = decodeMessage(record);
    // A unique key has the same form: its last half may be an offset by chance.
    return offsetMessageId(message.storeHost, message.physicalOffset) === id.toUpperCase() ? message : undefined;
  }

  #byKey(topic: string, key: string): DecodedMessage[] {
    const { physicalOffsets } = this.#store.queryIndex(topic, key, COPIES_MAX, 0, NEVER_MS, "U");
    return physicalOffsets.flatMap((physicalOffset) => {
      const record = this.#store.readRecord(physicalOffset);
      const message = record === undefined ? undefined : decodeMessage(record);
      return message?.topic === topic && message.properties.get(PROPERTY.UNIQ_KEY) === key ? [message] : [];
    });
  }
}

/** Where the group's retries of the topic's messages go: of those sent back, and of those popped and not acknowledged. */
export function retryTopicsOf(group: string, topic: string): string[] {
  return [RETRY_PREFIX + group, popRetryTopic(topic, group, false), popRetryTopic(topic, group, true)];
}

/** The topic that the message was sent to in the first place. */
export function homeOf({ topic, properties }: DecodedMessage): string {
  const real = WAITING_TOPICS.includes(topic) ? (properties.get(PROPERTY.REAL_TOPIC) ?? topic) : topic;
  const isAgain = real.startsWith(RETRY_PREFIX) || real.startsWith(DLQ_PREFIX);
  const home = isAgain ? (properties.get(PROPERTY.RETRY_TOPIC) ?? real) : real;
  // What was popped and came back tells only the group, and its topic's name the rest.
  const group = home.startsWith(RETRY_PREFIX) ? properties.get(PROPERTY.ORIGIN_GROUP) : undefined;
  return group === undefined ? home : popNormalTopic(home, group);
}

/** Where it goes when its time has come, for what waits; else undefined. */
export function destinationOf({ topic, properties }: DecodedMessage): string | undefined {
  return WAITING_TOPICS.includes(topic) ? properties.get(PROPERTY.REAL_TOPIC) : undefined;
}
