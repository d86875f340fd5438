import type { Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { ClientInstance, type HeartbeatGroups } from "../connection/client-instance.ts";
import { type MessageQueue, queueKey } from "../connection/routes.ts";
import { checkTopic, invalidOption } from "../options.ts";
import { within } from "../within.ts";
import { AssignedQueue } from "./assigned-queue.ts";
import type { ConsumedMessage } from "./consumed-message.ts";
import { type ConsumerOptions, type ConsumerSettings, consumerSettings } from "./consumer-options.ts";
import { serveConsumerRequests } from "./consumer-status.ts";
import { type Deliver, Dispatcher } from "./dispatcher.ts";
import { FailedMessages } from "./failed-messages.ts";
import { BrokerOffsets, type GroupOffsets, initialOffset, LocalOffsets, type QueueCommit } from "./group-offsets.ts";
import { MessageStream } from "./message-stream.ts";
import { Puller } from "./puller.ts";
import { LOCK_RENEW_MS, LOCK_TRUST_MS, QueueLocks } from "./queue-locks.ts";
import { Rebalancer } from "./rebalancer.ts";
import { ALL_TAGS, retryTopic, Subscription, type SubscriptionExpression } from "./subscription.ts";

/**
 * Works on messages; all of them are done when it returns or its Promise resolves, and none if it throws or
 * the Promise rejects. Several calls may be under way at a time (`maxInFlight`), of an orderly queue only one.
 */
export type MessageHandler = (messages: readonly ConsumedMessage[]) => unknown;

/** Messages ahead of a `for await` loop. */
const STREAM_AHEAD = 1_024;

const CONSUME_FROM_WHERE = { first: "CONSUME_FROM_FIRST_OFFSET", last: "CONSUME_FROM_LAST_OFFSET" } as const;

/**
 * Receives messages from any broker that speaks RocketMQ's remoting protocol, as a member of a group.
 *
 * ```ts
 * const consumer = new Consumer({ namesrvAddr: "127.0.0.1:9876", group: "billing", consumeFrom: "first" });
 * consumer.subscribe("Orders", "new || paid");
 * await consumer.run(async ([message]) => bill(message.text()));
 * ```
 *
 * or, one message at a time: `for await (const message of consumer) { ... }`.
 *
 * Delivery is at least once: a message is committed when it and all before it in its queue are done, and
 * comes again, perhaps to another member, if the consumer dies before. A message that fails goes back to
 * the broker, which delivers it again after a growing delay and finally puts it into `%DLQ%<group>`; of an
 * orderly queue, it is tried again on the spot while the queue waits.
 */
export class Consumer {
  readonly #settings: ConsumerSettings;
  readonly #instance: ClientInstance;
  readonly #offsets: GroupOffsets;
  readonly #locks: QueueLocks;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #rebalancer: Rebalancer;
  readonly #puller: Puller;
  #dispatcher: Dispatcher | undefined;
  #handler: MessageHandler | undefined;
  #stream: MessageStream | undefined;
  #tickers: Timer[] = [];
  #startedMs = 0;
  #closing: Promise<void> | undefined;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID: the message names key, value and what is allowed */
  constructor(options: ConsumerOptions) {
    this.#settings = consumerSettings(options);
    this.#instance = new ClientInstance(options);
    const { group, isBroadcasting, offsetFile } = this.#settings;
    this.#offsets = isBroadcasting
      ? new LocalOffsets(offsetFile, (reason) => this.#instance.report(`offsetFile: the backup is used: ${reason}`))
      : new BrokerOffsets(this.#instance, group);
    this.#locks = new QueueLocks(this.#instance, group);
    this.#rebalancer = new Rebalancer(this.#instance, this.#settings, {
      topics: () => this.#subscriptions.keys(),
      assign: (queues) => this.#assign(queues),
      revoke: (queues) => this.#revoke(queues),
    });
    this.#puller = new Puller(this.#instance, this.#settings, {
      subscription: (topic) => this.#subscriptions.get(topic),
      onMessages: (assigned) => this.#dispatcher?.offer(assigned),
      onOffsetMoved: (assigned) => void this.#commit([assigned], false),
    });
    if (!isBroadcasting) this.#addSubscription(retryTopic(group), ALL_TAGS);
  }

  get clientId(): string {
    return this.#instance.clientId;
  }

  /** The queues that this member owns at present. */
  get assignment(): MessageQueue[] {
    return [...this.#rebalancer.assigned].map(({ queue }) => queue);
  }

  /**
   * Subscribes to a topic, now or while running; again with another expression replaces the old one. All
   * members of a group must subscribe to the same.
   *
   * @param expression  `*` (default), tags `A || B`, or `{ sql: "price > 10" }` where the broker allows it
   * @throws MillraceError MILLRACE_CONFIG_INVALID
   */
  subscribe(topic: string, expression: SubscriptionExpression = ALL_TAGS): void {
    this.#addSubscription(checkTopic("topic", topic), expression);
    if (this.#dispatcher === undefined) return;
    void this.#instance.heartbeat().then(() => this.#rebalancer.request());
  }

  /** Gives up a topic: its queues are committed and left to the other members. */
  unsubscribe(topic: string): void {
    if (!this.#subscriptions.delete(topic)) return;
    for (const assigned of [...this.#rebalancer.assigned]) {
      if (assigned.queue.topic === topic) void this.#rebalancer.giveUp(assigned);
    }
    if (this.#dispatcher !== undefined) void this.#instance.heartbeat();
  }

  /**
   * Starts receiving. Resolves when the consumer has joined its group; messages go to `handler` until `close`.
   * @throws MillraceError MILLRACE_CLOSED when it was closed or runs already
   */
  async run(handler: MessageHandler): Promise<void> {
    this.#checkStartable();
    if (typeof handler !== "function") throw invalidOption("handler", handler, "a function that takes an array of messages");
    this.#handler = handler;
    await this.#start(this.#settings, (_assigned, task, done) => {
      let outcome: unknown;
      try {
        outcome = handler(task.messages);
      } catch (error) {
        done(error ?? new Error("the handler threw nothing"));
        return;
      }
      if (!isThenable(outcome)) done();
      else
        outcome.then(
          () => done(),
          (error: unknown) => done(error ?? new Error("the handler rejected with nothing")),
        );
    });
  }

  /**
   * One message at a time. It is done when the loop asks for the next one, or by `acknowledge`: after a
   * `break` or an error the last message will come again. Ends when the consumer is closed.
   * @throws MillraceError MILLRACE_CLOSED when it was closed or runs with a handler
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumedMessage> {
    if (this.#stream === undefined) {
      this.#checkStartable();
      const stream = new MessageStream();
      this.#stream = stream;
      void this.#start({ ...this.#settings, consumeBatchSize: 1, maxInFlight: STREAM_AHEAD }, stream.deliver);
    }
    return this.#stream.iterate();
  }

  /** Marks the message that a `for await` loop is working on as done: before a `break`. */
  acknowledge(message: ConsumedMessage): void {
    this.#stream?.acknowledge(message);
  }

  /** Stores the group's progress now. Rejects if a broker did not take it. */
  async commit(): Promise<void> {
    const commits = this.#dirty([...this.#rebalancer.assigned]);
    await this.#offsets.commit(
      commits.map(({ commit }) => commit),
      true,
    );
    for (const { assigned, commit } of commits) assigned.committedOffset = commit.offset;
  }

  /** Goes on with messages stored at or after a time, in the queues that this member owns. Rejects as `invoke`. */
  async seek(to: { timestamp: number }): Promise<void> {
    const moves = [...this.#rebalancer.assigned].map(async (assigned) => {
      await this.#moveTo(assigned, await initialOffset(this.#instance, assigned.queue, to));
    });
    await Promise.all(moves);
  }

  /**
   * Stops pulling, waits up to closeTimeoutMs for handlers under way, commits, leaves the group and closes
   * the connections. What was not done comes again.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #start(settings: ConsumerSettings, deliver: Deliver): Promise<void> {
    const { clock, nameServers } = this.#instance;
    this.#startedMs = clock.now();
    const failures = new FailedMessages(this.#instance, settings);
    this.#dispatcher = new Dispatcher(
      settings,
      (assigned, task, done) => {
        assigned.lastConsumeMs = clock.now();
        deliver(assigned, task, done);
      },
      (assigned, task, failure) => failures.recover(assigned, task, failure),
    );
    this.#serveRequests();
    this.#instance.start(() => this.#heartbeatGroups(), true);
    nameServers.onChange(() => void this.#rebalancer.request());
    this.#tickers.push(
      clock.setTicker(() => void this.#commit([...this.#rebalancer.assigned], false), settings.commitIntervalMs),
    );
    if (settings.orderly) this.#tickers.push(clock.setTicker(() => void this.#renewLocks(), LOCK_RENEW_MS));
    this.#rebalancer.start();
    await this.#rebalancer.request();
  }

  #checkStartable(): void {
    if (this.#closing !== undefined) throw new MillraceError("MILLRACE_CLOSED", "the consumer was closed");
    if (this.#dispatcher !== undefined) throw new MillraceError("MILLRACE_CLOSED", "the consumer runs already; make another one");
  }

  async #closeAll(): Promise<void> {
    for (const ticker of this.#tickers) ticker.cancel();
    await this.#rebalancer.stop();
    const assigned = [...this.#rebalancer.assigned];
    for (const queue of assigned) queue.drop();
    this.#stream?.close();
    if (this.#dispatcher !== undefined) {
      await this.#stopped(this.#dispatcher);
    }
    await this.#commit(assigned, true);
    if (this.#settings.orderly) await this.#locks.unlock(assigned.map(({ queue }) => queue));
    await this.#instance.close({ consumerGroup: this.#settings.group });
  }

  /** Resolves when no handler is under way, or after closeTimeoutMs; leaves no timer that would keep the process alive. */
  #stopped(dispatcher: Dispatcher): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#instance.clock.setTimer(resolve, this.#settings.closeTimeoutMs);
      void dispatcher.stop().then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  #addSubscription(topic: string, expression: SubscriptionExpression): void {
    // A later version always counts as newer, even if the clock stands.
    const previous = this.#subscriptions.get(topic)?.version ?? 0;
    const version = Math.max(this.#instance.clock.now(), previous + 1);
    this.#subscriptions.set(topic, new Subscription(topic, expression, version));
  }

  #heartbeatGroups(): HeartbeatGroups {
    const { group, isBroadcasting, consumeFrom } = this.#settings;
    const consumerData = {
      groupName: group,
      consumeType: "CONSUME_PASSIVELY",
      messageModel: isBroadcasting ? "BROADCASTING" : "CLUSTERING",
      consumeFromWhere: typeof consumeFrom === "string" ? CONSUME_FROM_WHERE[consumeFrom] : "CONSUME_FROM_TIMESTAMP",
      subscriptionDataSet: [...this.#subscriptions.values()],
      unitMode: false,
    };
    return { producerDataSet: [], consumerDataSet: [consumerData] };
  }

  #serveRequests(): void {
    serveConsumerRequests(this.#instance, this.#settings, {
      startedMs: this.#startedMs,
      assigned: () => this.#rebalancer.assigned,
      subscriptions: () => this.#subscriptions.values(),
      onMembersChanged: () => void this.#rebalancer.request(),
      resetOffsets: (offsets) => {
        for (const { queue, offset } of offsets) {
          const assigned = this.#rebalancer.find(queue);
          if (assigned !== undefined) void this.#moveTo(assigned, offset);
        }
      },
      consumeDirectly: async (message) => {
        if (this.#handler === undefined) throw new Error("this consumer has no handler");
        await this.#handler([message]);
      },
    });
  }

  async #assign(queues: readonly MessageQueue[]): Promise<AssignedQueue[]> {
    let ours = queues;
    if (this.#settings.orderly) {
      const { locked } = await this.#locks.lock(queues);
      ours = queues.filter((queue) => locked.has(queueKey(queue)));
    }
    const taken = await Promise.all(ours.map((queue) => this.#take(queue)));
    return taken.filter((assigned) => assigned !== undefined);
  }

  async #take(queue: MessageQueue): Promise<AssignedQueue | undefined> {
    try {
      const stored = await this.#offsets.load(queue);
      const start = stored ?? (await initialOffset(this.#instance, queue, this.#settings.consumeFrom));
      if (this.#closing !== undefined) return undefined;
      const assigned = new AssignedQueue(queue, start, this.#settings);
      assigned.committedOffset = stored ?? -1;
      assigned.lockedMs = this.#settings.orderly ? this.#instance.clock.now() : 0;
      void this.#puller.run(assigned);
      return assigned;
    } catch (error) {
      this.#instance.report(error);
      return undefined;
    }
  }

  /** Goes on at `offset`. The pull under way, which the broker may hold for long, is left to end unheard. */
  async #moveTo(assigned: AssignedQueue, offset: number): Promise<void> {
    assigned.drop();
    if (this.#settings.orderly) await this.#idle(assigned);
    const moved = new AssignedQueue(assigned.queue, offset, this.#settings);
    moved.lockedMs = assigned.lockedMs;
    if (this.#closing !== undefined || !this.#rebalancer.replace(assigned, moved)) return;
    await this.#commit([moved], true);
    void this.#puller.run(moved);
  }

  async #revoke(queues: readonly AssignedQueue[]): Promise<void> {
    for (const assigned of queues) assigned.drop();
    if (this.#settings.orderly) {
      // The next owner must not begin before the message in work here is done.
      await Promise.all(queues.map((assigned) => this.#idle(assigned)));
    }
    await this.#commit(queues, true);
    if (this.#settings.orderly) await this.#locks.unlock(queues.map(({ queue }) => queue));
  }

  async #idle(assigned: AssignedQueue): Promise<void> {
    const { clock } = this.#instance;
    const deadlineMs = clock.now() + LOCK_TRUST_MS;
    while (assigned.isBusy && clock.now() < deadlineMs) await within(clock, assigned.changed(), deadlineMs - clock.now());
  }

  #dirty(queues: readonly AssignedQueue[]): { assigned: AssignedQueue; commit: QueueCommit }[] {
    return queues
      .map((assigned) => ({ assigned, commit: { queue: assigned.queue, offset: assigned.window.commitOffset } }))
      .filter(({ assigned, commit }) => commit.offset !== assigned.committedOffset);
  }

  /** Never rejects: what could not be committed stays dirty. */
  async #commit(queues: readonly AssignedQueue[], isFinal: boolean): Promise<void> {
    const perQueue = this.#dirty(queues).map(async ({ assigned, commit }) => {
      try {
        await this.#offsets.commit([commit], isFinal);
        assigned.committedOffset = commit.offset;
      } catch (error) {
        this.#instance.report(error);
      }
    });
    await Promise.all(perQueue);
  }

  async #renewLocks(): Promise<void> {
    const queues = [...this.#rebalancer.assigned];
    if (queues.length === 0) return;
    const { locked, unknown } = await this.#locks.lock(queues.map(({ queue }) => queue));
    const now = this.#instance.clock.now();
    for (const assigned of queues) {
      const key = queueKey(assigned.queue);
      if (locked.has(key)) assigned.lockedMs = now;
      else if (!assigned.isDropped && !(unknown.has(key) && now - assigned.lockedMs < LOCK_TRUST_MS)) {
        void this.#rebalancer.giveUp(assigned).then(() => this.#rebalancer.request());
      }
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
