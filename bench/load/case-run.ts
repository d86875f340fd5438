import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Progress } from "../../src/cli/progress.ts";
import type { CreateTopicOptions } from "../../src/client/admin.ts";
import { Admin, type ProducerOptions, SystemClock } from "../../src/index.ts";
import type { LoadCase } from "./cases.ts";
import type { Clients } from "./clients.ts";
import { addUp, createLatencies, type Percentiles, percentiles } from "./latency.ts";
import { type Counts, createScoreboard, monotonicMs, Scoreboard, type ScoreboardMemory } from "./scoreboard.ts";
import type { SenderReport, SenderSpec } from "./senders.ts";
import type { Settings } from "./settings.ts";
import type { Target } from "./target.ts";
import { type Usage, UsageWindow } from "./usage.ts";

export interface CaseResult {
  name: string;
  title: string;
  /** Messages in the window: answered, or in the consume cases received. */
  messages: number;
  seconds: number;
  messagesPerSecond: number;
  /** Bytes of bodies, by 1,000,000. */
  megabytesPerSecond: number;
  answerMs: Percentiles | undefined;
  deliveryMs: Percentiles | undefined;
  latenessMs: Percentiles | undefined;
  brokerCpuUsPerMessage: number | undefined;
  clientCpuUsPerMessage: number | undefined;
  usage: Usage;
  /** Over the whole case, warm-up included. */
  counts: Counts;
  /** Answered, but never received; only where there were consumers. */
  missing: number | undefined;
  errors: Record<string, number>;
  firstError: string | undefined;
}

/** Batches of a batched producer that may be under way or filling up, whatever the queues. */
const BATCHES_IN_FLIGHT = 16;
/** An open-loop producer is never kept from sending what is due, unless the broker is this many messages behind. */
const PACED_SLOTS = 4096;
const SEND_TIMEOUT_MS = 10_000;
const ASSIGN_MS = 30_000;
const DRAIN_MS = 30_000;
const FILL_MS = 120_000;
/** Beyond all of these together a case has hung. */
const SLACK_MS = 60_000;
const POLL_MS = 5;
/** Share of the messages that a consume case reads before its window opens. */
const CONSUME_WARMUP = 0.2;

/** One case, once, against one broker. */
export class CaseRun {
  readonly #case: LoadCase;
  readonly #settings: Settings;
  readonly #target: Target;
  readonly #clients: Clients;
  readonly #memory: ScoreboardMemory;
  readonly #board: Scoreboard;
  readonly #topic: string;
  #senderReports: SenderReport[] = [];

  constructor(loadCase: LoadCase, settings: Settings, target: Target, clients: Clients) {
    this.#case = loadCase;
    this.#settings = settings;
    this.#target = target;
    this.#clients = clients;
    this.#memory = createScoreboard(clients.count, settings.producers);
    this.#board = new Scoreboard(this.#memory);
    this.#topic = `bench-${loadCase.name}-${randomBytes(4).toString("hex")}`;
  }

  /** Rejects if the broker, or a client thread, fails; sends that fail are counted instead. */
  async run(heading: string): Promise<CaseResult> {
    const { size } = this.#settings;
    const state = (): { bytes: number; count: number } => {
      const { answered, received } = this.#board.counts();
      const count = this.#case.load === "fill" ? answered + received : answered;
      return { bytes: count * size, count };
    };
    const progress = new Progress(`${heading} ${this.#case.title}`, "messages", {}, state, process.stderr, new SystemClock());
    const admin = new Admin({ namesrvAddr: this.#target.namesrvAddr });
    try {
      await this.#alive(admin.createTopic(this.#topic, this.#topicOptions()));
      await this.#clients.open(this.#memory);
      const measure = { closed: () => this.#closed(), fill: () => this.#fill(), paced: () => this.#paced() }[this.#case.load];
      const result = await this.#alive(measure());
      await this.#alive(admin.deleteTopic(this.#topic));
      return result;
    } finally {
      progress.end();
      await admin.close();
    }
  }

  async #closed(): Promise<CaseResult> {
    await this.#clients.startSenders(this.#senderSpecs(this.#closedSlots(), 0, undefined));
    await this.#clients.go();
    await sleep(this.#settings.warmup * 1000);
    const { usage, from, to } = await this.#window(this.#settings.seconds);
    this.#senderReports = await this.#clients.stopSenders();
    return this.#result(to.answered - from.answered, usage, undefined);
  }

  /** Sends a number of messages, then measures how they are read. */
  async #fill(): Promise<CaseResult> {
    const { fill, producers, seconds, isSmoke } = this.#settings;
    const goal = Math.ceil(fill / producers) * producers;
    await this.#clients.startSenders(this.#senderSpecs(this.#closedSlots(), 0, goal / producers));
    await this.#clients.go();
    await this.#until(FILL_MS, ({ answered, rejected }) => answered + rejected >= goal);
    this.#senderReports = await this.#clients.stopSenders();
    const { answered } = this.#board.counts();
    const isRead = ({ received }: Counts): boolean => received >= answered;
    // So few messages may all be read before we look: the window of a smoke run is the whole of it.
    const whole = isSmoke ? this.#window(ASSIGN_MS / 1000, isRead) : undefined;
    await this.#clients.startReceivers(this.#receiverSpecs());
    if (!isSmoke) await this.#until(ASSIGN_MS, ({ received }) => received >= answered * CONSUME_WARMUP);
    const { usage, from, to } = await (whole ?? this.#window(seconds, isRead));
    const missing = await this.#drain();
    return this.#result(to.received - from.received, usage, missing);
  }

  async #paced(): Promise<CaseResult> {
    const { warmup, seconds, queues, rate } = this.#settings;
    await this.#clients.startReceivers(this.#receiverSpecs());
    if (!(await this.#until(ASSIGN_MS, ({ assigned }) => assigned === queues))) {
      throw new Error(`the consumers had not shared out ${queues} queues among them after ${ASSIGN_MS / 1000} s`);
    }
    await this.#clients.startSenders(this.#senderSpecs(PACED_SLOTS, rate, undefined));
    const stop = new SharedArrayBuffer(4);
    this.#board.paceStartMs = monotonicMs();
    const pacer = new Worker(new URL("pacer-thread.ts", import.meta.url), { workerData: { board: this.#memory, stop } });
    try {
      await this.#clients.go();
      await sleep(warmup * 1000);
      const { usage, from, to } = await this.#window(seconds);
      this.#senderReports = await this.#clients.stopSenders();
      const missing = await this.#drain();
      return this.#result(to.answered - from.answered, usage, missing);
    } finally {
      const word = new Int32Array(stop);
      Atomics.store(word, 0, 1);
      Atomics.notify(word, 0);
      await pacer.terminate();
    }
  }

  #closedSlots(): number {
    const { depth, size, batchSize } = this.#settings;
    if (this.#case.isSync) return 1;
    return this.#case.isBatched ? Math.max(depth, Math.ceil((BATCHES_IN_FLIGHT * batchSize) / size)) : depth;
  }

  /** The window is open for `seconds`, or until `isOver`. */
  async #window(
    seconds: number,
    isOver: (counts: Counts) => boolean = () => false,
  ): Promise<{ usage: Usage; from: Counts; to: Counts }> {
    const from = this.#board.counts();
    const usage = new UsageWindow(this.#target.pids);
    this.#board.openWindow(monotonicMs());
    await this.#until(seconds * 1000, isOver);
    this.#board.closeWindow(monotonicMs());
    return { usage: usage.close(), from, to: this.#board.counts() };
  }

  /** Waits for the rest of what was answered. @returns how much never came */
  async #drain(): Promise<number> {
    await this.#until(DRAIN_MS, ({ received, answered }) => received >= answered);
    await this.#clients.stopReceivers().then((reports) => {
      for (const { latencies } of reports) this.#senderReports.push({ latencies, errors: {}, firstError: undefined });
    });
    return this.#board.missing();
  }

  /** @returns false when the time was over first */
  async #until(ms: number, isReached: (counts: Counts) => boolean): Promise<boolean> {
    const endMs = monotonicMs() + ms;
    for (;;) {
      if (isReached(this.#board.counts())) return true;
      const left = endMs - monotonicMs();
      if (left <= 0) return false;
      await sleep(Math.min(POLL_MS, left));
    }
  }

  /** `work`, unless the broker, a client thread or the time ends first. */
  async #alive<T>(work: Promise<T>): Promise<T> {
    const over = new AbortController();
    const { warmup, seconds } = this.#settings;
    const hung = sleep((warmup + seconds) * 1000 + FILL_MS + ASSIGN_MS + DRAIN_MS + SLACK_MS, undefined, over).then(() => {
      throw new Error(`${this.#case.title}: not done in time, given up`);
    });
    try {
      return await Promise.race([work, this.#target.failed, this.#clients.failed, hung]);
    } finally {
      over.abort();
      hung.catch(() => {});
      work.catch(() => {}); // It may fail later for the same reason.
    }
  }

  #topicOptions(): CreateTopicOptions {
    const { queues, isWhole } = this.#settings;
    return { queueCount: queues, ...(isWhole ? { attributes: { "queue.type": "BatchCQ" } } : {}) };
  }

  #senderSpecs(slots: number, rate: number, countMax: number | undefined): SenderSpec[] {
    const { size, producers, batchSize, lingerMs, header, isWhole, compression } = this.#settings;
    const options: Omit<ProducerOptions, "group"> = {
      namesrvAddr: this.#target.namesrvAddr,
      header,
      sendTimeoutMs: SEND_TIMEOUT_MS,
      // Each send is one request: what fails is counted, not hidden.
      retries: 0,
      bufferMemory: Math.max(33_554_432, 2 * slots * (size + 1024)),
      maxMessageSize: Math.max(4_194_304, size),
      compression,
      ...(this.#case.isBatched ? { batchSize, lingerMs, compressBatches: isWhole && compression !== "none" } : {}),
    };
    return this.#shares(producers).map((mine) => ({
      topic: this.#topic,
      size,
      producers: mine,
      producerCount: producers,
      options,
      slots,
      rate: (rate * mine.length) / producers,
      countMax,
    }));
  }

  #receiverSpecs() {
    const { size, queues, consumers, producers, header } = this.#settings;
    return this.#shares(consumers).map((mine) => ({
      topic: this.#topic,
      size,
      queues,
      consumers: mine.length,
      producerCount: producers,
      isPaced: this.#case.load === "paced",
      options: {
        namesrvAddr: this.#target.namesrvAddr,
        group: `${this.#topic}-group`,
        header,
        consumeFrom: "first" as const,
        consumeBatchSize: 32,
        rebalanceIntervalMs: 1000,
      },
    }));
  }

  /** Numbers from 0 to `count` by thread, in turn. */
  #shares(count: number): number[][] {
    const all = Array.from({ length: count }, (_, index) => index);
    return Array.from({ length: this.#clients.count }, (_, thread) =>
      all.filter((index) => index % this.#clients.count === thread),
    );
  }

  #result(messages: number, usage: Usage, missing: number | undefined): CaseResult {
    const latencies = createLatencies();
    const errors: Record<string, number> = {};
    let firstError: string | undefined;
    for (const report of this.#senderReports) {
      addUp(latencies, report.latencies);
      firstError ??= report.firstError;
      for (const [code, count] of Object.entries(report.errors)) errors[code] = (errors[code] ?? 0) + count;
    }
    const perMessage = (cpu: number): number | undefined =>
      messages === 0 ? undefined : Math.round((cpu * 1e8) / messages) / 100;
    const { name, title } = this.#case;
    const hasCpu = UsageWindow.isAvailable && this.#target.pids.length > 0;
    return {
      name,
      title,
      messages,
      seconds: usage.seconds,
      messagesPerSecond: Math.round(messages / usage.seconds),
      megabytesPerSecond: Math.round((messages * this.#settings.size) / usage.seconds / 1e4) / 100,
      answerMs: this.#case.load === "fill" ? undefined : percentiles(latencies.answer),
      deliveryMs: percentiles(latencies.delivery),
      latenessMs: percentiles(latencies.lateness),
      brokerCpuUsPerMessage: hasCpu ? perMessage(usage.cpu) : undefined,
      clientCpuUsPerMessage: perMessage(usage.clientCpu),
      usage,
      counts: this.#board.counts(),
      missing,
      errors,
      firstError,
    };
  }
}
