// What the tests here share: brokers on free ports and the drive under test, clients of theirs, all ended with the test.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import {
  Admin,
  Consumer,
  type ConsumerOptions,
  Producer,
  type ProducerOptions,
  type RunningBroker,
  type StartBrokerOptions,
  startBroker,
} from "../../src/index.ts";
import { RawClient } from "./raw-client.ts";

export const NATIVE_FREE: boolean = process.env["MILLRACE_DRIVE"] === "native-free";
/** For each test: a broker starts in seconds, also on a machine that is busy with others. */
export const TEST_TIMEOUT_MS = 180_000;

/** Small files, so that stores are quick to make. */
const SMALL: Readonly<Record<string, string | number>> = {
  mappedFileSizeCommitLog: 16_777_216,
  mappedFileSizeConsumeQueue: 20_000,
  maxHashSlotNum: 1_000,
  maxIndexNum: 4_000,
};

export class Lab {
  readonly #t: ExecutionContext;
  readonly #closing: (() => unknown)[] = [];
  readonly #failures: Error[] = [];
  readonly #raw: RawClient[] = [];
  broker!: RunningBroker;

  constructor(t: ExecutionContext) {
    this.#t = t;
    t.timeout(TEST_TIMEOUT_MS);
    t.teardown(async () => {
      for (const close of this.#closing.reverse()) await close();
      if (this.#failures.length > 0) throw new Error(`the broker failed: ${this.#failures.map(({ stack }) => stack).join("\n")}`);
    });
  }

  /** A store of its own that ends with the test. */
  directory(): string {
    const made = mkdtempSync(join(tmpdir(), "millrace-e2e-"));
    this.#closing.push(() => rmSync(made, { recursive: true, force: true }));
    return made;
  }

  /** Starts a broker, in memory unless `store` says otherwise; it is `broker` from now on. */
  async start(options: StartBrokerOptions = {}): Promise<RunningBroker> {
    const broker = await startBroker({
      port: 0,
      nativeFree: NATIVE_FREE,
      onFailure: (error) => this.#onFailure(error),
      ...options,
      config: { ...SMALL, ...options.config },
    });
    this.#t.is(broker.drive, NATIVE_FREE ? "native-free" : "ffi");
    this.#closing.push(() => broker.close());
    this.broker = broker;
    return broker;
  }

  /** Nobody would answer any more: what waits for an answer must not wait on. */
  #onFailure(error: Error): void {
    this.#failures.push(error);
    this.#t.log(`the broker failed: ${error.stack}`);
    for (const client of this.#raw) client.close();
  }

  async raw(): Promise<RawClient> {
    const client = await RawClient.connect(this.broker.brokerAddress);
    this.#raw.push(client);
    this.#closing.push(() => client.close());
    return client;
  }

  admin(): Admin {
    const admin = new Admin({ namesrvAddr: this.broker.namesrvAddress });
    this.#closing.push(() => admin.close());
    return admin;
  }

  async producer(options: Partial<ProducerOptions> = {}): Promise<Producer> {
    const producer = new Producer({ namesrvAddr: this.broker.namesrvAddress, group: "e2e-producers", ...options });
    this.#closing.push(() => producer.close());
    await producer.start();
    return producer;
  }

  consumer(group: string, options: Partial<ConsumerOptions> = {}): Consumer {
    const consumer = new Consumer({ namesrvAddr: this.broker.namesrvAddress, group, consumeFrom: "first", ...options });
    this.#closing.push(() => consumer.close());
    return consumer;
  }
}
