import type { Clock, Timer } from "../../base/clock.ts";
import { reviveTopic } from "../../format/record/pop-records.ts";
import type { Log } from "../../observe/log.ts";
import type { ConfigFile } from "../config-file.ts";
import type { GroupLookup, HandlerTable, TopicLookup } from "../contracts.ts";
import { type MessageStore, offsetBehind } from "../message-store.ts";
import type { Offsets } from "../offsets/offsets.ts";
import { CheckPoints } from "./check-points.ts";
import { HeldRequests, type Wanted } from "./held-requests.ts";
import { OrderInfos, type OrderPlace } from "./order-info.ts";
import { PopAcks } from "./pop-acks.ts";
import { PopChecks } from "./pop-checks.ts";
import { PopLooks } from "./pop-looks.ts";
import { PopMessages } from "./pop-messages.ts";
import { type PopQueueSettings, PopQueues } from "./pop-queues.ts";
import { Revival } from "./revival.ts";

/** Names as in the configuration; read at each use. */
export interface PopSettings extends PopQueueSettings {
  brokerName: string;
  brokerClusterName: string;
  brokerIP1: string;
  brokerPermission: number;
  popPollingSize: number;
  maxPopPollingSize: number;
  popFromRetryProbability: number;
  popFromRetryProbabilityForPriority: number;
  priorityOrderAsc: boolean;
  popResponseReturnActualRetryTopic: boolean;
  flushConsumerOffsetInterval: number;
}

export interface PopOptions {
  settings: PopSettings;
  store: MessageStore;
  topics: TopicLookup;
  groups: GroupLookup;
  offsets: Offsets;
  /** Resolves once the disk has all topics. */
  saveTopics: () => Promise<void>;
  /** consumerOrderInfo.json. */
  file: ConfigFile;
  /** `ip:port` of the broker. */
  storeHost: string;
  /** The newest so many bytes of the log count as in memory. */
  inMemorySize: number;
  clock: Clock;
  log: Log;
}

/** One message of a pop that is not settled. */
export interface Popped {
  /** When it is, or would have been, visible again. */
  untilMs: number;
  /** Address of the consumer; "" where it is not known any more. */
  holder: string;
  isAcked: boolean;
  /** So often it could not be put back. */
  failedTimes: number;
}

/** Pop consumption: its parts, put together. Control thread only. */
export class Pop {
  readonly #o: PopOptions;
  readonly #orders: OrderInfos;
  readonly #queues: PopQueues;
  readonly #points: CheckPoints;
  readonly #revival: Revival;
  readonly #held: HeldRequests;
  readonly #notices: HeldRequests;
  readonly #handlers: HandlerTable;
  #ticker: Timer | undefined;

  constructor(options: PopOptions) {
    this.#o = options;
    const { settings, store, topics, groups, offsets, storeHost, clock, log } = options;
    this.#orders = new OrderInfos(() => clock.now());
    const orders = this.#orders;
    this.#queues = new PopQueues({ ...options, orders });
    const queues = this.#queues;
    this.#points = new CheckPoints({
      store,
      topics,
      offsets,
      topic: reviveTopic(settings.brokerClusterName),
      storeHost,
      clock,
      log,
      onDue: (point) => this.#revival.revive(point),
      onIdle: () => this.#revival.idle(),
      onFound: ({ topic, group, queueId, startOffset, distances }) => {
        const end = offsetBehind(store, topic, queueId, startOffset + distances.at(-1)!);
        const isThere = end <= store.maxQueueOffset(topic, queueId);
        if (isThere && offsets.get(group, topic, queueId) < end) offsets.commit(group, topic, queueId, end);
      },
      onSettled: (topic, group, queueId, count) => queues.addInFlight(topic, group, queueId, -count),
    });
    const points = this.#points;
    this.#held = this.#heldRequests();
    this.#notices = this.#heldRequests();
    const [held, notices] = [this.#held, this.#notices];
    store.onGrown = (topic, queueId) => {
      held.grown(topic, queueId);
      notices.grown(topic, queueId);
    };
    this.#revival = new Revival({
      store,
      topics,
      groups,
      offsets,
      points,
      storeHost,
      saveTopics: () => options.saveTopics(),
      isSecondForm: () => settings.enableRetryTopicV2,
      log,
      onRevived: (topic, group) => {
        held.look(topic, group, -1);
        notices.look(topic, group, -1);
      },
    });
    const checks = new PopChecks({ topics, groups, settings });
    const parts = { checks, queues, points, orders, held, notices, store, topics, groups, offsets, clock, log };
    this.#handlers = new Map([
      ...new PopMessages({ ...parts, settings, brokerName: settings.brokerName }).handlers(),
      ...new PopAcks(parts).handlers(),
      ...new PopLooks(parts).handlers(),
    ]);
  }

  #heldRequests(): HeldRequests {
    const { settings, store, clock } = this.#o;
    return new HeldRequests({
      clock,
      countMax: () => settings.popPollingSize,
      totalMax: () => settings.maxPopPollingSize,
      queuesOf: (wanted) => this.#queuesOf(wanted),
      hasMore: ({ group, isOrdered }, topic, queueId) => this.#queues.hasMore(topic, group, queueId, isOrdered),
      watch: (topic, queueId) => store.watch(topic, queueId),
    });
  }

  *#queuesOf({ topic, group, queueId, isOrdered }: Wanted): Iterable<{ topic: string; queueId: number }> {
    const { topics } = this.#o;
    if (queueId >= 0) yield { topic, queueId };
    const names = isOrdered ? [] : this.#queues.retryTopics(topic, group);
    for (const name of queueId >= 0 ? names : [topic, ...names]) {
      const count = topics.get(name)?.readQueueNums ?? 0;
      for (let id = 0; id < count; id++) yield { topic: name, queueId: id };
    }
  }

  handlers(): HandlerTable {
    return this.#handlers;
  }

  /** What became of the message by the group's pops, as far as it is not settled; undefined: nothing, or all is. */
  popped(topic: string, group: string, queueId: number, queueOffset: number): Popped | undefined {
    const found = this.#points.newestOf(topic, group, queueId, queueOffset);
    if (found === undefined) return undefined;
    const { point, isAcked } = found;
    return { untilMs: point.popTime + point.invisibleTime, holder: point.holder ?? "", isAcked, failedTimes: point.rePutTimes };
  }

  /** The same of pops in order. */
  poppedInOrder(topic: string, group: string, queueId: number, queueOffset: number): OrderPlace | undefined {
    return this.#orders.placeOf(topic, group, queueId, queueOffset);
  }

  /** Once, when topics, groups and offsets are there. @throws MillraceError MILLRACE_STORE_CORRUPT */
  load(): void {
    const { file, offsets, clock, settings } = this.#o;
    file.read((text) => this.#orders.load(text));
    this.#points.load(offsets.savedMs);
    this.#ticker = clock.setTicker(() => this.#saveQuietly(), settings.flushConsumerOffsetInterval, "once");
  }

  /** Resolves once the disk has what is popped in order. @throws MillraceError MILLRACE_STORE_… */
  async save(): Promise<void> {
    const { topics, groups } = this.#o;
    if (!this.#orders.isDirty) return;
    const isThere = (topic: string, group: string, queueId: number): boolean =>
      (topics.get(topic)?.readQueueNums ?? 0) > queueId && groups.get(group) !== undefined;
    try {
      await this.#o.file.saveLater(() => this.#orders.text(isThere));
    } catch (error) {
      this.#orders.isDirty = true;
      throw error;
    }
  }

  #saveQuietly(): void {
    this.save().catch((error: unknown) => {
      this.#o.log.error({ file: this.#o.file.path, error: String(error) }, "what is popped in order could not be saved");
    });
  }

  channelClosed(channelId: number): void {
    this.#held.channelClosed(channelId);
    this.#notices.channelClosed(channelId);
  }

  /** @throws MillraceError as `save` */
  async close(): Promise<void> {
    this.#ticker?.cancel();
    this.#held.close();
    this.#notices.close();
    this.#points.close();
    this.#revival.close();
    await this.save();
  }
}
