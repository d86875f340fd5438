import { MillraceError } from "../../base/errors.ts";
import { ClientInstance } from "../connection/client-instance.ts";
import { checkTopic } from "../options.ts";
import { Accumulator } from "./accumulator.ts";
import { Batch, type BufferedCallback, type SendResult, type SendWaiter } from "./batch.ts";
import { BlockedSends } from "./blocked-sends.ts";
import { type Compressor, compressorOf } from "./compression.ts";
import { bodyOf, illegal, type OutgoingMessage } from "./outgoing-message.ts";
import { type ProducerOptions, type ProducerSettings, producerSettings } from "./producer-options.ts";
import { BrokerFaults, TopicPublisher } from "./publish-table.ts";
import { connectionTo, SingleSend, type SingleSendContext, writeSingle } from "./single-send.ts";
import { UniqueIds } from "./unique-id.ts";

/** Counted for a message in flight by itself, beside its body: header, properties, bookkeeping. */
const SINGLE_OVERHEAD = 512;

/**
 * Sends messages to any broker that speaks RocketMQ's remoting protocol.
 *
 * ```ts
 * const producer = new Producer({ namesrvAddr: "127.0.0.1:9876", group: "orders" });
 * await producer.start();
 * const { queueId, queueOffset } = await producer.send({ topic: "Orders", body: "one", tags: "new", keys: "42" });
 * await producer.close();
 * ```
 *
 * Delivery is at least once: a send whose answer was lost is repeated, with the same UNIQ_KEY.
 *
 * `send` of a message without `orderKey` or `queueId` picks the queue by itself: in turn for single
 * messages, one queue for a whole batch with `batchSize`. With batches, messages that must have a record of
 * their own on the broker's way (delayed, timed, retry topics) still go one by one.
 */
export class Producer {
  readonly #settings: ProducerSettings;
  readonly #instance: ClientInstance;
  readonly #compressor: Compressor | undefined;
  readonly #ids: UniqueIds;
  readonly #faults = new BrokerFaults();
  readonly #accumulator: Accumulator;
  readonly #publishers = new Map<string, TopicPublisher>();
  readonly #resolving = new Map<string, Promise<TopicPublisher>>();
  readonly #context: SingleSendContext;
  readonly #unstamp = (): void => {
    this.#isStamped = false;
  };
  readonly #unheard: SendWaiter = { resolve: () => {}, reject: (error) => this.#accumulator.noteUnheard(error) };
  readonly #blocked: BlockedSends;
  /** The look-up that a refused `sendBuffered` waits for. */
  #awaitedRoute: Promise<unknown> | undefined;
  #singlesInFlight = 0;
  #idleWaiters: (() => void)[] = [];
  #isStamped = false;
  #stampMs = 0;
  #isStarted = false;
  #closing: Promise<void> | undefined;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID: the message names key, value and what is allowed */
  constructor(options: ProducerOptions) {
    this.#settings = producerSettings(options);
    this.#compressor = compressorOf(this.#settings.compression);
    this.#instance = new ClientInstance(options);
    this.#ids = new UniqueIds(this.#instance.clock);
    const batchCompressor = this.#settings.compressBatches ? this.#compressor : undefined;
    this.#accumulator = new Accumulator(this.#instance, { ...this.#settings, batchCompressor }, this.#ids, this.#faults);
    this.#blocked = new BlockedSends(this.#instance.clock, this.#accumulator, this.#settings, async (message, waiter) => {
      const publisher = this.#publishers.get(message.topic) ?? (await this.#publisher(message.topic));
      return this.#trySend(publisher, message, waiter);
    });
    this.#instance.nameServers.onChange((route) => this.#publishers.get(route.topic)?.update(route));
    this.#context = {
      instance: this.#instance,
      ids: this.#ids,
      faults: this.#faults,
      retries: this.#settings.retries,
      retryDelayMs: this.#settings.retryDelayMs,
      sendTimeoutMs: this.#settings.sendTimeoutMs,
      isClosing: false,
      stamp: () => this.#stamp(),
    };
  }

  get clientId(): string {
    return this.#instance.clientId;
  }

  /** Bytes of messages accepted and not yet acknowledged. */
  get bufferedBytes(): number {
    return this.#accumulator.bufferedBytes;
  }

  /** Starts heartbeats and route refresh; connects with the first message. */
  async start(): Promise<void> {
    if (this.#isStarted) return;
    this.#checkOpen();
    this.#isStarted = true;
    const producerDataSet = [{ groupName: this.#settings.group }];
    this.#instance.start(() => ({ producerDataSet, consumerDataSet: [] }), false);
  }

  /**
   * Sends one message; resolves when the broker has stored it, as safely as its flush and replication
   * settings say.
   *
   * Rejects with MILLRACE_MESSAGE_ILLEGAL, MILLRACE_TOPIC_UNKNOWN, MILLRACE_REQUEST_FAILED
   * (details.responseCode: the broker's answer), MILLRACE_TIMEOUT and MILLRACE_CONNECTION (it may have been
   * stored all the same), MILLRACE_BUSY (no room in bufferMemory for maxBlockMs), MILLRACE_CLOSED.
   */
  send(message: OutgoingMessage): Promise<SendResult> {
    return new Promise((resolve, reject) => {
      this.#checkRunning();
      this.#sendOrBlock(message, { resolve, reject });
    });
  }

  /**
   * Hands over one message without a Promise for it; needs `batchSize`. The fastest way to send:
   *
   * ```ts
   * for (const line of lines) while (!producer.sendBuffered({ topic, body: line })) await producer.drained();
   * await producer.flush();
   * ```
   *
   * @param callback  hears once what became of the message. Without one, `flush` rejects if it failed
   * @returns false: not accepted, since the buffer is full or the topic's route is not known yet; await
   *   `drained`, then try again
   * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL, MILLRACE_CLOSED, MILLRACE_CONFIG_INVALID without batchSize
   */
  sendBuffered(message: OutgoingMessage, callback?: BufferedCallback): boolean {
    this.#checkRunning();
    if (this.#settings.batchSize === 0) {
      throw new MillraceError("MILLRACE_CONFIG_INVALID", "batchSize: 0 is not valid with sendBuffered; allowed: 1 to 4194304", {
        key: "batchSize",
        value: 0,
      });
    }
    const publisher = this.#publishers.get(message.topic);
    if (publisher === undefined) {
      this.#awaitedRoute ??= this.#resolve(message.topic);
      // Whoever awaits `drained` hears of the failure; if nobody does, it must not end the process.
      this.#awaitedRoute.catch(() => {});
      return false;
    }
    // What already waits came first.
    if (!this.#blocked.isEmpty) return false;
    if (isBatchable(message)) {
      return this.#offer(publisher, message, callback);
    }
    return this.#sendSingle(publisher, message, callback === undefined ? this.#unheard : callbackWaiter(callback));
  }

  /**
   * Resolves when `sendBuffered` is worth another try. Rejects with MILLRACE_TOPIC_UNKNOWN or
   * MILLRACE_CONNECTION if it was refused for want of a route that could not be had, MILLRACE_CLOSED.
   */
  async drained(): Promise<void> {
    this.#checkRunning();
    const route = this.#awaitedRoute;
    this.#awaitedRoute = undefined;
    if (route !== undefined) await route;
    await this.#blocked.served();
    await this.#accumulator.drained();
    this.#checkRunning();
  }

  /**
   * Sends what has gathered in batches at once; resolves when all messages accepted so far are settled.
   * Rejects with the first failure, since the last flush, of a `sendBuffered` without a callback.
   */
  async flush(): Promise<void> {
    await this.#blocked.served();
    const flushed = this.#accumulator.flush();
    if (this.#singlesInFlight > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    await flushed;
  }

  /**
   * Sends several messages of one topic in one request, to one queue, where they stand one behind the other.
   * Resolves with a result for each, in order. Rejects as `send`; then none of them counts as sent.
   */
  async sendBatch(messages: readonly OutgoingMessage[]): Promise<SendResult[]> {
    this.#checkRunning();
    const first = messages[0];
    if (first === undefined) throw illegal("the batch is empty", { count: 0 });
    const bodies = messages.map((message) => this.#batchBody(message, first));
    const sizeMax = messages.reduce((size, message, index) => size + Batch.sizeMax(message, bodies[index]!.length), 0);
    const publisher = await this.#publisher(first.topic);
    while (this.bufferedBytes > this.#settings.bufferMemory) await this.#accumulator.drained();
    const pinned = publisher.pinned(first);
    const queue = pinned ?? publisher.next(this.#stamp());
    const batch = new Batch(Buffer.allocUnsafeSlow(sizeMax), this.#ids.next(), 0);
    batch.pinned = pinned !== undefined;
    const results = Promise.all(
      messages.map(
        (message, index) =>
          new Promise<SendResult>((resolve, reject) => {
            batch.add(message, bodies[index]!, this.#ids, { resolve, reject });
          }),
      ),
    );
    if (batch.count === messages.length) {
      if (batch.size > this.#settings.maxMessageSize) {
        throw illegal(`the batch has ${batch.size} bytes, at most ${this.#settings.maxMessageSize} are allowed`, {
          size: batch.size,
        });
      }
      this.#accumulator.enqueue(queue, batch);
    }
    return results;
  }

  /**
   * Sends one message that the broker does not answer: it may be lost unheard. Resolves when it is handed to
   * the connection; rejects with MILLRACE_MESSAGE_ILLEGAL, MILLRACE_TOPIC_UNKNOWN, MILLRACE_CONNECTION, MILLRACE_BUSY.
   */
  async sendOneway(message: OutgoingMessage): Promise<void> {
    this.#checkRunning();
    const publisher = this.#publishers.get(message.topic) ?? (await this.#publisher(message.topic));
    const body = bodyOf(message, this.#settings.maxMessageSize);
    const packed = this.#packed(body);
    const queue = publisher.pinned(message) ?? publisher.next(this.#stamp());
    const connection = connectionTo(this.#instance, queue);
    const opaque = connection.openOneway();
    writeSingle(
      connection,
      queue.oneway,
      opaque,
      this.#stamp(),
      message,
      this.#ids.next(),
      packed,
      this.#sysFlagOf(body, packed),
    );
  }

  /**
   * Sends what has been accepted, unregisters and closes the connections. What the brokers do not answer
   * within sendTimeoutMs and retries fails with MILLRACE_CLOSED or the failure it met.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    // A failure of what nobody listens to is lost here; who wants to hear of it calls flush first.
    if (this.#isStarted) await this.flush().catch(() => {});
    this.#context.isClosing = true;
    const closed = new MillraceError("MILLRACE_CLOSED", "the producer was closed");
    this.#blocked.rejectAll(closed);
    await this.#instance.close({ producerGroup: this.#settings.group });
    this.#accumulator.close(closed);
  }

  #sendOrBlock(message: OutgoingMessage, waiter: SendWaiter): void {
    const publisher = this.#publishers.get(message.topic);
    if (publisher !== undefined && this.#blocked.isEmpty && this.#trySend(publisher, message, waiter)) return;
    this.#blocked.add(message, waiter, this.#stamp());
  }

  /** @returns false when there is no room. @throws MillraceError for the waiter */
  #trySend(publisher: TopicPublisher, message: OutgoingMessage, waiter: SendWaiter): boolean {
    if (this.#settings.batchSize === 0 || !isBatchable(message)) return this.#sendSingle(publisher, message, waiter);
    return this.#offer(publisher, message, waiter);
  }

  #offer(publisher: TopicPublisher, message: OutgoingMessage, listener: BufferedCallback | SendWaiter | undefined): boolean {
    const body = bodyOf(message, this.#settings.maxMessageSize);
    const packed = this.#settings.compressBatches ? body : this.#packed(body);
    return this.#accumulator.offer(publisher, message, packed, this.#sysFlagOf(body, packed), listener);
  }

  #sendSingle(publisher: TopicPublisher, message: OutgoingMessage, waiter: SendWaiter): boolean {
    const body = bodyOf(message, this.#settings.maxMessageSize);
    const packed = this.#packed(body);
    const size = packed.length + SINGLE_OVERHEAD;
    const settled = (): void => {
      this.#accumulator.release(size);
      this.#singlesInFlight--;
      if (this.#singlesInFlight === 0 && this.#idleWaiters.length > 0) for (const idle of this.#idleWaiters.splice(0)) idle();
    };
    const single = new SingleSend(this.#context, publisher, message, packed, this.#sysFlagOf(body, packed), {
      resolve: (result) => {
        settled();
        waiter.resolve(result);
      },
      reject: (error) => {
        settled();
        waiter.reject(error);
      },
    });
    if (!this.#accumulator.reserve(size)) return false;
    this.#singlesInFlight++;
    single.start();
    return true;
  }

  async #publisher(topic: string): Promise<TopicPublisher> {
    return this.#publishers.get(topic) ?? (await this.#resolve(topic));
  }

  #resolve(topic: string): Promise<TopicPublisher> {
    let resolving = this.#resolving.get(topic);
    if (resolving === undefined) {
      resolving = this.#lookUp(topic).finally(() => this.#resolving.delete(topic));
      this.#resolving.set(topic, resolving);
    }
    return resolving;
  }

  async #lookUp(topic: string): Promise<TopicPublisher> {
    checkTopic("topic", topic);
    const { group: producerGroup, defaultTopicQueueNums } = this.#settings;
    const route = await this.#instance.nameServers.publishRoute(topic, defaultTopicQueueNums);
    const settings = { producerGroup, defaultTopicQueueNums, header: this.#instance.header };
    const publisher = new TopicPublisher(topic, settings, this.#faults, this.#instance.clock.now() % 64);
    publisher.update(route);
    this.#publishers.set(topic, publisher);
    return publisher;
  }

  #batchBody(message: OutgoingMessage, first: OutgoingMessage): Buffer {
    if (message.topic !== first.topic)
      throw illegal("the messages of a batch must have one topic", { topic: message.topic, first: first.topic });
    if (message.orderKey !== first.orderKey || message.queueId !== first.queueId || message.brokerName !== first.brokerName) {
      throw illegal("the messages of a batch must have the same orderKey, queueId and brokerName", { topic: message.topic });
    }
    if (!isBatchable(message))
      throw illegal("delayed and timed messages, and those to retry topics, cannot be in a batch", { topic: message.topic });
    return bodyOf(message, this.#settings.maxMessageSize);
  }

  #packed(body: Buffer): Buffer {
    return this.#compressor === undefined || body.length < this.#settings.compressOver ? body : this.#compressor.compress(body);
  }

  #sysFlagOf(body: Buffer, packed: Buffer): number {
    return packed === body ? 0 : this.#compressor!.sysFlag;
  }

  /** One look at the clock for each turn of the event loop. */
  #stamp(): number {
    if (!this.#isStamped) {
      this.#isStamped = true;
      this.#stampMs = this.#ids.stamp();
      process.nextTick(this.#unstamp);
    }
    return this.#stampMs;
  }

  #checkRunning(): void {
    this.#checkOpen();
    if (!this.#isStarted) throw new MillraceError("MILLRACE_CLOSED", "the producer is not started; call start() first");
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError("MILLRACE_CLOSED", "the producer was closed");
  }
}

/** Delayed and timed messages, and those of retry topics, the broker takes only one by one. */
function isBatchable(message: OutgoingMessage): boolean {
  if ((message.delayLevel ?? 0) !== 0 || message.topic.startsWith("%RETRY%")) return false;
  const properties = message.properties;
  return (
    properties === undefined ||
    !("TIMER_DELAY_SEC" in properties || "TIMER_DELAY_MS" in properties || "TIMER_DELIVER_MS" in properties)
  );
}

function callbackWaiter(callback: BufferedCallback): SendWaiter {
  return {
    resolve: (result) => callback(undefined, result.queueOffset, result.queueId, result.brokerName),
    reject: (error) => callback(error, -1, -1, ""),
  };
}
