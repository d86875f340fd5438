import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyStore } from "../../src/runtime/verify.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand, ready } from "./broker-command.ts";
import { type Acked, createTopic, NewMessages, PRODUCER_COUNT, sendUntilGone } from "./kill-loop.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const LOG_FILE_SIZE = 16_777_216;
const QUEUE_FILE_SIZE = 200_000;
const INDEX_SHAPE = { slotCount: 1000, entryCount: 400_000 };
/** Where an unpacked RocketMQ 5.5 has its jars. */
const LIBRARIES = join(process.env["ROCKETMQ_HOME"] ?? "", "lib");
const START_MS_MAX = 60_000;
const OPENS = ["java.base/java.nio", "java.base/sun.nio.ch", "java.base/java.lang", "java.base/java.util"];

async function run(torture: Torture): Promise<Figures> {
  const plain = await passOn(torture, "plain", []);
  // Apache's recovery then takes no record whose checksum of its own is missing or wrong.
  const sealed = await passOn(torture, "sealed", ["enabledAppendPropCRC=true", "forceVerifyPropCRC=true"]);
  return Object.fromEntries(Object.entries(plain).map(([name, count]) => [name, count + sealed[name as keyof typeof sealed]]));
}

/**
 * One store under two brokers, each killed with SIGKILL under 64 producers: ours, Apache's, ours. Each must recover what
 * the other left and serve all of it, and what Apache's leaves must verify.
 */
async function passOn({ random, drive, directory: root, say }: Torture, name: string, options: readonly string[]) {
  const directory = join(root, name);
  const store = join(directory, "store");
  fs.mkdirSync(directory);
  const seqs = new Uint32Array(PRODUCER_COUNT);
  const acks: Acked[] = [];
  const nativeFree = drive === "native-free";
  const sets = [
    `mappedFileSizeCommitLog=${LOG_FILE_SIZE}`,
    `mappedFileSizeConsumeQueue=${QUEUE_FILE_SIZE}`,
    `maxHashSlotNum=${INDEX_SHAPE.slotCount}`,
    `maxIndexNum=${INDEX_SHAPE.entryCount}`,
    ...options,
  ];
  const ours = brokerCommand(store, drive, sets);
  let apache: ApacheBroker | undefined;
  let again: Command | undefined;
  try {
    const address = await ready(ours);
    await createTopic(address);
    const first = sendUntilGone(address, random.fork(), seqs);
    await sleep(1500); // More than one look at what the queues hold.
    await ours.end("SIGKILL");
    acks.push(...(await first));
    const oursCount = acks.length;

    apache = await ApacheBroker.start(directory, store, sets);
    say(`Apache's broker has recovered the store in ${apache.startMs} ms`);
    const reader = new NewMessages();
    await reader.readAll(apache.address, acks);
    const servedByApache = reader.count;
    const second = sendUntilGone(apache.address, random.fork(), seqs);
    await sleep(1500);
    await apache.kill();
    const apacheAcks = await second;

    const report = await verifyStore({ storePath: store, nativeFree, indexShape: INDEX_SHAPE });
    must(report.isClean, () => `what Apache's broker left does not verify: ${JSON.stringify(report.findings.slice(0, 5))}`);
    again = brokerCommand(store, drive, sets);
    const addressAgain = await ready(again);
    await reader.readAll(addressAgain, apacheAcks);
    await new NewMessages().readAll(addressAgain, [...acks, ...apacheAcks]);
    return {
      "acknowledged by ours": oursCount,
      "served by Apache's": servedByApache,
      "acknowledged by Apache's": apacheAcks.length,
      "served by ours": reader.count,
      lost: 0,
    };
  } finally {
    await ours.end("SIGKILL");
    await apache?.kill();
    await again?.end("SIGKILL");
  }
}

class ApacheBroker {
  readonly address: string;
  readonly #process: ChildProcess;
  startMs = 0;

  static async start(home: string, store: string, sets: readonly string[]): Promise<ApacheBroker> {
    const port = await freePort();
    const config = [
      "brokerIP1=127.0.0.1",
      `listenPort=${port}`,
      "namesrvAddr=127.0.0.1:1",
      `storePathRootDir=${store}`,
      `storePathCommitLog=${join(store, "commitlog")}`,
      ...sets,
    ];
    fs.writeFileSync(join(home, "broker.conf"), `${config.join("\n")}\n`);
    const opens = OPENS.map((name) => `--add-opens=${name}=ALL-UNNAMED`);
    const exports = ["java.base/jdk.internal.ref", "java.base/sun.nio.ch"].map((name) => `--add-exports=${name}=ALL-UNNAMED`);
    const main = "org.apache.rocketmq.broker.BrokerStartup";
    const temporary = join(home, "tmp"); // It leaves keys of its own there.
    fs.mkdirSync(temporary, { recursive: true });
    const places = [`-Duser.home=${home}`, `-Djava.io.tmpdir=${temporary}`];
    const args = ["-Xms256m", "-Xmx512m", ...places, ...opens, ...exports, "-cp", join(LIBRARIES, "*"), main];
    const child = spawn("java", [...args, "-c", join(home, "broker.conf")], {
      env: { ...process.env, ROCKETMQ_HOME: home },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const broker = new ApacheBroker(child, `127.0.0.1:${port}`);
    const started = performance.now();
    while (!(await broker.#answers())) {
      must(child.exitCode === null && performance.now() - started < START_MS_MAX, "Apache's broker does not start on the store");
      await sleep(200);
    }
    broker.startMs = Math.round(performance.now() - started);
    return broker;
  }

  private constructor(process: ChildProcess, address: string) {
    this.#process = process;
    this.address = address;
    process.stderr!.resume();
  }

  async #answers(): Promise<boolean> {
    try {
      const client = await RawClient.connect(this.address);
      const answer = await client.ask(requests.MAX_OFFSET, { topic: "Torture", queueId: 0 });
      client.close();
      return answer.code === 0;
    } catch {
      return false;
    }
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}

/** A port with free neighbours is likely: Apache's broker listens on three. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

export const scenario: Scenario = {
  id: "F17",
  title: "a store that ours and Apache's broker leave killed, by turns: each recovers and serves all",
  isLong: true,
  skip: () => (fs.existsSync(LIBRARIES) ? undefined : "no RocketMQ here: set ROCKETMQ_HOME to where lib/ has its jars"),
  run,
};
