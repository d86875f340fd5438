import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, monotonicMs, SystemClock, sleep, type Timer } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { Consumer } from "../client/consume/consumer.ts";
import { Producer } from "../client/produce/producer.ts";
import { createLog } from "../observe/pino-log.ts";
import { startBroker } from "../runtime/broker.ts";
import type { RunningBroker } from "../runtime/running-broker.ts";
import { LatencySample } from "./latency-sample.ts";
import { formatBytes, formatCount } from "./progress.ts";
import { wholeNumber } from "./whole-number.ts";

export interface DemoFlags {
  rate: string;
  seconds?: string;
  port: string;
  namesrvPort: string;
  nativeFree?: boolean;
}

const TOPIC = "Demo";
const BODY_SIZE = 200;
/** Messages are handed to the producer this often. */
const PACE_MS = 10;
const REPORT_MS = 1000;
const LINES_PER_HEADING = 20;
/** The broker keeps all that is sent: the demo ends by itself before that becomes a nuisance. */
const SENT_MAX = 5_000_000;
/** How long the last messages may take to arrive. */
const SETTLE_MS = 10_000;

/** Small files, since the demo's store is thrown away. */
const STORE_CONFIG = {
  mappedFileSizeCommitLog: 67_108_864,
  maxHashSlotNum: 100_000,
  maxIndexNum: 400_000,
};

/**
 * `millrace demo`: a broker with its name server, a producer and a consumer, and once a second what really
 * went through, until a signal or for `--seconds`. Fails if a message that was acknowledged did not arrive.
 */
export async function demo(flags: DemoFlags): Promise<void> {
  const rate = wholeNumber("--rate", flags.rate, 1, 10_000_000);
  const secondsMax =
    flags.seconds === undefined ? Number.POSITIVE_INFINITY : wholeNumber("--seconds", flags.seconds, 1, 1_000_000);
  const port = wholeNumber("--port", flags.port, 0, 65_535);
  const namesrvPort = wholeNumber("--namesrv-port", flags.namesrvPort, 0, 65_535);
  const store = mkdtempSync(join(tmpdir(), "millrace-demo-"));
  try {
    const log = createLog({ level: "warn", format: "text" });
    const config = STORE_CONFIG;
    const broker = await startBroker({
      host: "127.0.0.1",
      port,
      namesrvPort,
      store,
      nativeFree: flags.nativeFree === true,
      config,
      log,
    });
    try {
      tell(`broker ${broker.brokerAddress}, name server ${broker.namesrvAddress}, drive ${broker.drive}, store ${store}`);
      tell(`sending ${formatCount(rate)} messages/s of ${BODY_SIZE} bytes to topic ${TOPIC}; Ctrl-C ends\n`);
      await flow(broker, rate, secondsMax);
    } finally {
      await broker.close();
    }
  } finally {
    rmSync(store, { recursive: true, force: true });
  }
}

async function flow(broker: RunningBroker, rate: number, secondsMax: number): Promise<void> {
  const clock = new SystemClock();
  const traffic = new Traffic(broker.namesrvAddress, clock);
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
    traffic.onEnd = resolve;
  });
  await traffic.start(rate);
  let seconds = 0;
  let before = { sent: 0, received: 0, ms: monotonicMs() };
  const startMs = before.ms;
  const report = clock.setTicker(() => {
    if (seconds++ % LINES_PER_HEADING === 0) tell(heading());
    const { sent, received } = traffic;
    const now = monotonicMs();
    const elapsed = (now - before.ms) / 1000;
    const [p50, p99] = traffic.latency.take(50, 99);
    tell(row([(sent - before.sent) / elapsed, (received - before.received) / elapsed, p50!, p99!, sent, received]));
    before = { sent, received, ms: now };
    if (seconds >= secondsMax) traffic.onEnd();
  }, REPORT_MS);
  await ended;
  report.cancel();
  await traffic.stop();
  tellSummary(traffic, (monotonicMs() - startMs) / 1000);
}

/** A producer and a consumer of one topic, and what went through. */
class Traffic {
  readonly latency: LatencySample = new LatencySample();
  sent = 0;
  acknowledged = 0;
  received = 0;
  failure: Error | undefined;
  /** Called when there is no going on. */
  onEnd: () => void = () => {};
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  readonly #clock: Clock;
  #pace: Timer | undefined;

  constructor(namesrvAddr: string, clock: Clock) {
    this.#clock = clock;
    this.#producer = new Producer({ namesrvAddr, group: "demo-producer", batchSize: 65_536, header: "binary" });
    this.#consumer = new Consumer({
      namesrvAddr,
      group: "demo-consumer",
      consumeFrom: "first",
      consumeBatchSize: 256,
      header: "binary",
    });
  }

  async start(rate: number): Promise<void> {
    await this.#producer.start();
    // The first message makes the topic, so that the consumer finds it at once.
    await this.#producer.send({ topic: TOPIC, body: bodyOf(0) });
    this.sent = this.acknowledged = 1;
    this.#consumer.subscribe(TOPIC);
    await this.#consumer.run((messages) => {
      const now = monotonicMs();
      for (const { body } of messages) this.latency.add(now - sentAtOf(body));
      this.received += messages.length;
    });
    const startMs = monotonicMs();
    this.#pace = this.#clock.setTicker(() => {
      const due = Math.floor(((monotonicMs() - startMs) / 1000) * rate) + 1 - this.sent;
      // What a late timer owes is made up for, a tenth of a second of it at a time.
      this.#send(Math.min(due, Math.ceil(rate / 10)));
    }, PACE_MS);
  }

  /** Stops sending, waits for what is under way, and closes. */
  async stop(): Promise<void> {
    this.#pace?.cancel();
    await this.#producer.flush();
    for (let waited = 0; this.received < this.acknowledged && waited < SETTLE_MS; waited += PACE_MS)
      await sleep(this.#clock, PACE_MS);
    await this.#consumer.close();
    await this.#producer.close();
  }

  #send(count: number): void {
    for (let i = 0; i < count && this.sent < SENT_MAX; i++) {
      if (!this.#producer.sendBuffered({ topic: TOPIC, body: bodyOf(this.sent) }, this.#onAcknowledged)) return;
      this.sent++;
    }
    if (this.sent >= SENT_MAX) this.onEnd();
  }

  readonly #onAcknowledged = (error: Error | undefined): void => {
    if (error === undefined) {
      this.acknowledged++;
      return;
    }
    this.failure ??= error;
    this.onEnd();
  };
}

/** @throws what failed, or MillraceError MILLRACE_REQUEST_FAILED: not everything arrived */
function tellSummary({ sent, acknowledged, received, failure }: Traffic, seconds: number): void {
  const counts = `${formatCount(sent)} sent, ${formatCount(acknowledged)} acknowledged, ${formatCount(received)} received`;
  tell(`\n${counts}, ${formatBytes(received * BODY_SIZE)} in ${seconds.toFixed(1)} s`);
  if (sent >= SENT_MAX) tell(`ended by itself: ${formatCount(SENT_MAX)} messages are enough for a demo`);
  if (failure !== undefined) throw failure;
  if (received >= acknowledged) return;
  throw new MillraceError("MILLRACE_REQUEST_FAILED", `${acknowledged - received} acknowledged messages did not arrive`, {
    acknowledged,
    received,
  });
}

/** `number time order ...`, BODY_SIZE bytes; the time is this process's own. */
function bodyOf(number: number): Buffer {
  const text = `${number} ${monotonicMs().toFixed(3)} order of customer ${number % 1009}: `;
  return Buffer.from(text.padEnd(BODY_SIZE, "abcdefghijklmnopqrstuvwxyz"));
}

function sentAtOf(body: Buffer): number {
  const start = body.indexOf(0x20) + 1;
  return Number(body.toString("latin1", start, body.indexOf(0x20, start)));
}

const COLUMNS = ["sent/s", "received/s", "p50 ms", "p99 ms", "sent", "received"];
const WIDTH = 13;

function heading(): string {
  return COLUMNS.map((column) => column.padStart(WIDTH)).join("");
}

function row([sentRate, receivedRate, p50, p99, sent, received]: readonly number[]): string {
  const ms = (value: number): string => (Number.isNaN(value) ? "-" : value.toFixed(2));
  const cells = [
    formatCount(sentRate!),
    formatCount(receivedRate!),
    ms(p50!),
    ms(p99!),
    formatCount(sent!),
    formatCount(received!),
  ];
  return cells.map((cell) => cell.padStart(WIDTH)).join("");
}

function tell(line: string): void {
  process.stdout.write(`${line}\n`);
}
