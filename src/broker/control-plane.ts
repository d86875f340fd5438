import path from "node:path";
import { type Clock, houseKeeping, peersClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { ConfigValues } from "../config/keys.ts";
import { RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import { isOneway, type RemotingCommand, response } from "../format/remoting/remoting-command.ts";
import type { OffsetCells } from "../format/shared/offset-cells.ts";
import { PERM_WRITE } from "../format/topic-config.ts";
import type { Log } from "../observe/log.ts";
import { BrokerAdmin, type RetentionRequests } from "./admin/broker-admin.ts";
import { BrokerStats, type ServedTotals } from "./admin/broker-stats.ts";
import { KeyStats } from "./admin/key-stats.ts";
import { REFUSED_CODES } from "./admin/refused-codes.ts";
import type { Channel } from "./channel.ts";
import { ConfigFile } from "./config-file.ts";
import type { HandlerTable } from "./contracts.ts";
import { Assignments, type RoutedQueue } from "./groups/assignments.ts";
import { ClientCalls } from "./groups/client-calls.ts";
import { ConsumerFilters, type ConsumerFiltersOptions } from "./groups/consumer-filters.ts";
import { Consumers } from "./groups/consumers.ts";
import { Heartbeats } from "./groups/heartbeat.ts";
import { Producers } from "./groups/producers.ts";
import { PublishedGroups } from "./groups/published-groups.ts";
import { QueueLocks } from "./groups/queue-locks.ts";
import { SubscriptionGroups } from "./groups/subscription-groups.ts";
import { Recall } from "./later/recall.ts";
import { ScheduleService } from "./later/schedule.ts";
import { SendBack } from "./later/send-back.ts";
import { TimerParking } from "./later/timer-parking.ts";
import { TimerRequests } from "./later/timer-requests.ts";
import type { TimerView } from "./later/timer-view.ts";
import type { MessageStore } from "./message-store.ts";
import { ConsumeStats } from "./offsets/consume-stats.ts";
import { OffsetRequests } from "./offsets/offset-requests.ts";
import { OffsetReset } from "./offsets/offset-reset.ts";
import { Offsets } from "./offsets/offsets.ts";
import { Pop } from "./pop/pop.ts";
import { Explain } from "./query/explain.ts";
import { PullCheck } from "./query/pull-check.ts";
import { QueueQueries } from "./query/queue-queries.ts";
import { RequestReply } from "./send/request-reply.ts";
import { SendCheck } from "./send/send-check.ts";
import { SendResponses } from "./send/send-responses.ts";
import { SpecialSends } from "./send/special-send.ts";
import type { TablePublisher } from "./table-publisher.ts";
import { Compaction, type CompactionFiles } from "./topics/compaction.ts";
import { LiteTopics } from "./topics/lite-topics.ts";
import { LmqTopics } from "./topics/lmq-topics.ts";
import { TOPICS_FILE, Topics } from "./topics/topics.ts";
import { halfOf } from "./transactions/half-messages.ts";
import { Transactions } from "./transactions/transactions.ts";

export interface ControlPlaneOptions {
  /** Effective configuration. Administrators may change some keys of it at run time. */
  values: ConfigValues;
  clock: Clock;
  log: Log;
  store: MessageStore;
  cells: OffsetCells;
  tables: TablePublisher;
  /** Directory of topics.json and its like. */
  configDirectory: string;
  /** `ip:port` that clients are told. */
  brokerAddress: string;
  delayLevelsMs: readonly number[];
  compactionFiles: CompactionFiles;
  /** undefined: timerWheelEnable is off. */
  timer: TimerView | undefined;
  retention: RetentionRequests;
  /** The newest so many bytes of the log count as in memory. */
  inMemorySize: number;
  /** See ConsumerFiltersOptions.mark. */
  markFilters?: ConsumerFiltersOptions["mark"];
  /** For messages that come without one. */
  newUniqueKey: () => string;
  /** Readable queues of the topic on all brokers, as the name servers tell them; undefined: they know of none. */
  routedQueues: (topic: string) => Promise<readonly RoutedQueue[] | undefined>;
  /** Topics that the store has queues of. */
  storedTopics: () => readonly string[];
  /** Name servers must hear of it. @param topics those that have changed, by name; undefined: all may have */
  onTopicsChanged: (topics?: readonly string[]) => void;
  /** What the I/O workers have served since the start. */
  served: () => ServedTotals;
}

/** Answer to a request: a command, "replay" (the I/O worker's tables are right now, it shall serve it), or nothing. */
export type Verdict = "replay" | RemotingCommand | undefined;

const SEND_CODES: ReadonlySet<number> = new Set([
  RequestCode.SEND_MESSAGE,
  RequestCode.SEND_MESSAGE_V2,
  RequestCode.SEND_BATCH_MESSAGE,
]);
const PULL_CODES: ReadonlySet<number> = new Set([RequestCode.PULL_MESSAGE, RequestCode.LITE_PULL_MESSAGE]);

/**
 * What requests mean: the broker without sockets and files. Each part is a plain class of its own; this puts them
 * together and finds the handler of a request. Control thread only.
 */
export class ControlPlane {
  readonly topics: Topics;
  readonly compaction: Compaction;
  readonly #o: ControlPlaneOptions;
  readonly #groups: SubscriptionGroups;
  readonly #offsets: Offsets;
  readonly #filters: ConsumerFilters;
  readonly #consumers: Consumers;
  readonly #producers: Producers;
  readonly #locks: QueueLocks;
  readonly #heartbeats: Heartbeats;
  readonly #published: PublishedGroups;
  readonly #schedule: ScheduleService;
  readonly #stats: BrokerStats;
  readonly #keyStats: KeyStats;
  readonly #transactions: Transactions;
  readonly #assignments: Assignments;
  readonly #pop: Pop;
  readonly #sendCheck: SendCheck;
  readonly #pullCheck: PullCheck;
  readonly #lite: LiteTopics;
  readonly #handlers: HandlerTable;

  constructor(options: ControlPlaneOptions) {
    this.#o = options;
    const { values, clock, log, store, cells, tables, delayLevelsMs } = options;
    const [keeping, peers] = [houseKeeping(clock), peersClock(clock)];
    const { brokerName } = values;
    // Views of `values`, not copies: administrators may change it.
    const settings: ConfigValues & { delayLevelCount: number } = Object.assign(Object.create(values) as ConfigValues, {
      delayLevelCount: delayLevelsMs.length,
    });
    const file = (name: string): ConfigFile => new ConfigFile(path.join(options.configDirectory, name));
    this.#offsets = new Offsets({
      clock: keeping,
      log,
      cells,
      tables,
      file: file(values.enableLmq ? "lmqConsumerOffset.json" : "consumerOffset.json"),
      earlier: values.enableLmq ? file("consumerOffset.json") : undefined,
      saveIntervalMs: values.flushConsumerOffsetInterval,
    });
    const lmq = new LmqTopics(values, store, options.storedTopics(), () => clock.now());
    this.topics = new Topics({
      lmq,
      file: file(TOPICS_FILE),
      settings,
      store,
      tables,
      clock,
      log,
      onChanged: (changed) => {
        for (const { topicName } of changed) this.#offsets.republishTopic(topicName);
        options.onTopicsChanged(changed.map(({ topicName }) => topicName));
      },
      onDeleted: (topic) => {
        this.#offsets.removeTopic(topic);
        this.compaction.topicDeleted(topic);
      },
      groupsOf: (topic) => this.#offsets.groupsOf(topic),
      storedTopics: options.storedTopics,
      brokerPermission: () => values.brokerPermission,
      compactedUpTo: (topic) => this.compaction.bounds(topic),
    });
    this.#groups = new SubscriptionGroups({
      file: file("subscriptionGroup.json"),
      get autoCreate() {
        return values.autoCreateSubscriptionGroup;
      },
      isLmq: values.enableLmq,
      clock,
      log,
      onChanged: (group) => this.#publishGroup(group),
      onDeleted: (group, cleanOffset) => {
        if (cleanOffset) this.#offsets.removeGroup(group);
      },
    });
    const [topics, groups, offsets] = [this.topics, this.#groups, this.#offsets];
    this.compaction = new Compaction({
      topics,
      groups,
      store,
      files: options.compactionFiles,
      clock,
      log,
      intervalMs: values.compactionScheduleInternal,
      sizeMax: values.maxTransferBytesOnMessageInMemory,
      countMax: values.maxTransferCountOnMessageInMemory,
      onCompacted: (topic) => topics.republishOne(topic),
    });
    this.#filters = new ConsumerFilters({
      file: file("consumerFilter.json"),
      settings: values,
      clock: keeping,
      log,
      mark: options.markFilters,
    });
    const filters = this.#filters;
    this.#consumers = new Consumers({
      clock: peers,
      log,
      groups,
      topics,
      filters,
      isNotifying: () => values.notifyConsumerIdsChangedEnable,
      onChanged: (group) => this.#publishGroup(group),
    });
    const consumers = this.#consumers;
    this.#published = new PublishedGroups({ groups, consumers, tables, filters, settings: values });
    this.#producers = new Producers({ clock: peers, log });
    this.#heartbeats = new Heartbeats({ clock: peers, consumers, producers: this.#producers });
    this.#locks = new QueueLocks({ clock: peers });
    this.#schedule = new ScheduleService({
      store,
      file: file("delayOffset.json"),
      delayLevelsMs,
      saveIntervalMs: values.flushDelayOffsetInterval,
      clock,
      log,
    });
    this.#keyStats = new KeyStats({ topics, offsets, store, clock: keeping });
    this.#stats = new BrokerStats({ topics, store, served: options.served, keys: this.#keyStats, clock: keeping });
    const responses = new SendResponses({ ...values, storeHost: () => options.brokerAddress });
    const parking = new TimerParking({ settings, clock });
    const timerRequests = new TimerRequests({ timer: options.timer, store, clock });
    const specials = new SpecialSends({
      settings,
      responses,
      topics,
      groups,
      store,
      lmq,
      isGroupLocked: (group) => this.#locks.isAnyHeld(group),
      newUniqueKey: options.newUniqueKey,
      timer: (message) => parking.park(message),
      half: halfOf,
    });
    this.#transactions = new Transactions({
      settings: values,
      store,
      offsets,
      producers: this.#producers,
      park: (message) => specials.later(message),
      brokerAddress: options.brokerAddress,
      clock,
      log,
    });
    this.#sendCheck = new SendCheck({ settings: values, topics, groups, specials, responses, clock, log });
    this.#pullCheck = new PullCheck({
      settings: values,
      topics,
      groups,
      consumers,
      filters,
      offsets,
      published: this.#published,
      store,
      compaction: this.compaction,
      log,
    });
    const replies = new RequestReply({
      settings,
      sendCheck: this.#sendCheck,
      responses,
      producers: this.#producers,
      store,
      storeHost: () => options.brokerAddress,
      clock,
      log,
    });
    this.#assignments = new Assignments({
      topics,
      groups,
      consumers,
      file: file("messageRequestMode.json"),
      queuesOf: options.routedQueues,
      settings: values,
      log,
    });
    this.#pop = new Pop({
      settings: values,
      store,
      topics,
      groups,
      offsets,
      file: file("consumerOrderInfo.json"),
      saveTopics: () => topics.settled(),
      storeHost: options.brokerAddress,
      inMemorySize: options.inMemorySize,
      clock,
      log,
    });
    this.#lite = new LiteTopics({ settings: values, topics, groups, offsets, lmq, store, clock, log });
    this.#handlers = new Map([
      ...topics.handlers(),
      ...groups.handlers(),
      ...consumers.handlers(),
      ...this.#producers.handlers(),
      ...this.#heartbeats.handlers(),
      ...this.#locks.handlers(),
      ...new OffsetRequests({ topics, groups, consumers, offsets, store, inMemorySize: options.inMemorySize }).handlers(),
      ...new OffsetReset({
        brokerName,
        topics,
        groups,
        consumers,
        offsets,
        store,
        log,
        isServerSide: () => values.useServerSideResetOffset,
      }).handlers(),
      ...new ConsumeStats({
        brokerName,
        brokerAddress: options.brokerAddress,
        clock,
        topics,
        groups,
        consumers,
        offsets,
        store,
        consumeTps: (group, topic) => this.#keyStats.consumeTps(group, topic),
      }).handlers(),
      ...new ClientCalls({ brokerName, consumers, topics, groups, store }).handlers(),
      ...new QueueQueries({ brokerName, topics, consumers, filters, store, settings: values }).handlers(),
      ...new SendBack({
        topics,
        groups,
        store,
        delayLevelCount: delayLevelsMs.length,
        parking,
        isWritable: () => this.#isWritable(),
      }).handlers(),
      ...replies.handlers(),
      ...this.#lite.handlers(),
      ...timerRequests.handlers(),
      ...new Recall({ settings, topics, store, parking, clock }).handlers(),
      ...new Explain({
        brokerName,
        topics,
        groups,
        consumers,
        filters,
        offsets,
        locks: this.#locks,
        schedule: this.#schedule,
        pop: this.#pop,
        store,
        clock,
      }).handlers(),
      ...this.#transactions.handlers(),
      ...this.#assignments.handlers(),
      ...this.#pop.handlers(),
      ...new BrokerAdmin({
        values,
        store,
        stats: this.#stats,
        schedule: this.#schedule,
        timerInfo: () => timerRequests.runtimeInfo(),
        retention: options.retention,
        clock,
        log,
        onChanged: (names) => this.#configChanged(names),
      }).handlers(),
    ]);
  }

  /** Request codes that are served. */
  get codes(): number[] {
    return [...SEND_CODES, ...PULL_CODES, ...this.#handlers.keys()];
  }

  #isWritable(): boolean {
    return (this.#o.values.brokerPermission & PERM_WRITE) !== 0;
  }

  #configChanged(names: readonly string[]): void {
    if (names.includes("enablePropertyFilter") || names.includes("filterSupportRetry")) this.#published.refreshAll();
    if (names.includes("transactionCheckInterval")) this.#transactions.start();
    if (!names.includes("brokerPermission")) return;
    this.topics.republish();
    this.#o.onTopicsChanged();
  }

  #publishGroup(group: string): void {
    this.#published.refresh(group);
    this.#offsets.republish(group);
  }

  /** Reads the files and publishes the tables. Before the first request. */
  load(): void {
    this.#offsets.load();
    this.topics.load();
    this.#groups.load();
    this.#filters.load();
    this.#published.refreshAll();
    for (const { groupName } of this.#groups.all()) this.#offsets.republish(groupName);
    this.#schedule.load();
    this.#assignments.load();
    this.#pop.load();
    this.#keyStats.load();
    this.#schedule.start();
    this.#transactions.load();
    this.#transactions.start();
    if (this.#o.values.enableCompaction) this.compaction.start();
  }

  /** Marks as ordered the topics that the name servers' KV table names, and no others. */
  applyOrderTable(table: ReadonlyMap<string, string>): void {
    const changed = [...this.topics.all()].filter(({ topicName, order }) => order !== table.has(topicName));
    if (changed.length > 0) void this.topics.put(changed.map((config) => ({ ...config, order: !config.order })));
  }

  /** A request that an I/O worker did not answer by itself. Never rejects. */
  async onRequest(command: RemotingCommand, channel: Channel): Promise<Verdict> {
    const verdict = await this.#answer(command, channel);
    return verdict !== "replay" && isOneway(command) ? undefined : verdict;
  }

  async #answer(command: RemotingCommand, channel: Channel): Promise<Verdict> {
    const { log } = this.#o;
    try {
      if (SEND_CODES.has(command.code)) return await this.#sendCheck.checkSend(command, channel);
      if (PULL_CODES.has(command.code)) return this.#pullCheck.checkPull(command, channel);
      const handler = this.#handlers.get(command.code);
      if (handler !== undefined) return await handler(command, channel);
      const why = REFUSED_CODES.get(command.code) ?? "is unknown";
      log.warn({ code: command.code, why, remoteAddress: channel.remoteAddress }, "request type not supported");
      return response(command, ResponseCode.REQUEST_CODE_NOT_SUPPORTED, ` request type ${command.code} not supported`);
    } catch (error) {
      if (!(error instanceof MillraceError)) {
        const text = error instanceof Error ? error.stack : String(error);
        log.error({ code: command.code, remoteAddress: channel.remoteAddress, error: text }, "request failed");
      }
      return response(command, ResponseCode.SYSTEM_ERROR, error instanceof Error ? error.message : String(error));
    }
  }

  /** A commit that came with a pull, for which there was no cell yet. */
  onCommit(group: string, topic: string, queueId: number, offset: number): void {
    this.#offsets.commit(group, topic, queueId, offset);
  }

  onClosed(channel: Channel): void {
    this.#heartbeats.channelClosed(channel.id);
    this.#pop.channelClosed(channel.id);
  }

  /** Writes everything to the files. @throws MillraceError MILLRACE_STORE_… */
  async close(): Promise<void> {
    this.compaction.close();
    this.#lite.close();
    this.#stats.close();
    this.#keyStats.close();
    this.#locks.close();
    this.#consumers.close();
    this.#producers.close();
    await this.#transactions.close();
    const saves = [
      this.#pop.close(),
      this.#schedule.close(),
      this.topics.close(),
      this.#groups.save(),
      this.#filters.close(),
      this.#offsets.close(),
    ];
    // Where one file cannot be written, the others still are.
    const failed = (await Promise.allSettled(saves)).find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}
