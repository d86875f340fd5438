// Goal: kill -9 with pops in flight loses nothing: what was popped and not acknowledged comes back, and what the broker has
// said to be acknowledged does not.
// Method: a broker in a process of its own, whose store is on a disk; six clients pop, acknowledge most and leave some, and
// in the middle of it the process is killed and started again on the same store, twice.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { NATIVE_FREE, TEST_TIMEOUT_MS } from "./lab.ts";
import { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Popped";
const GROUP = "poppers";
const QUEUES = 4;
const MESSAGES = 600;
const INVISIBLE_MS = 3000;
const CLIENTS = 6;
const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");

interface Running {
  address: string;
  kill(): Promise<void>;
}

async function start(store: string): Promise<Running> {
  const args = [
    MAIN,
    "up",
    "--port",
    "0",
    "--namesrv-port",
    "0",
    "--store",
    store,
    "--set",
    "brokerName=b",
    ...(NATIVE_FREE ? ["--native-free"] : []),
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(child.stdout)) {
    const address = /\bbroker=(\S+)/.exec(line)?.[1];
    if (address === undefined || !line.startsWith("ready")) continue;
    const exited = once(child, "exit");
    child.stdout.resume();
    return {
      address,
      kill: async () => {
        child.kill("SIGKILL");
        await exited;
      },
    };
  }
  throw new Error("no ready line");
}

/** What all clients have seen of the messages. */
class Ledger {
  /** Acknowledged well within its invisible time, and the broker has said so. */
  readonly acked = new Set<string>();
  /** Acknowledged at all: one that was late or not answered may or may not have its effect. */
  readonly done = new Set<string>();
  readonly seen = new Set<string>();
  readonly afterAck: string[] = [];
}

/** Pops, acknowledges two of three (all of them at the end), until `mayStop` or the connection ends. */
async function consume(address: string, ledger: Ledger, shares: () => number, mayStop: () => boolean): Promise<void> {
  const client = await RawClient.connect(address);
  try {
    while (!mayStop()) {
      const answer = await client.ask(RequestCode.POP_MESSAGE, {
        consumerGroup: GROUP, topic: TOPIC, queueId: -1, maxMsgNums: 8, invisibleTime: INVISIBLE_MS, pollTime: 500,
        bornTime: Date.now(), initMode: 0, order: false,
      }); // biome-ignore format: one thing.
      if (answer.code !== 0) continue;
      const { startOffsetInfo = "", popTime, invisibleTime, reviveQid } = answer.extFields;
      const starts = new Map(startOffsetInfo.split(";").map((part) => [part.split(" ")[1], part.split(" ")[2]]));
      for (const { body, queueId, queueOffset, properties } of decodeMessages(answer.body)) {
        const text = body.toString();
        ledger.seen.add(text);
        if (ledger.acked.has(text)) ledger.afterAck.push(text);
        if (shares() > Math.random()) continue;
        const own = properties.get("POP_CK");
        const extraInfo = own ?? `${starts.get(String(queueId))} ${popTime} ${invisibleTime} ${reviveQid} 0 b ${queueId}`;
        const topic = own === undefined ? TOPIC : `%RETRY%${GROUP}_${TOPIC}`;
        const header = { consumerGroup: GROUP, topic, queueId, offset: queueOffset, extraInfo };
        // In the broker's own time: an acknowledgement after the invisible time is no use.
        const isInTime = Date.now() < Number(extraInfo.split(" ")[1]) + INVISIBLE_MS - 500;
        ledger.done.add(text); // Also where the broker dies before it answers: it may have stored it.
        const { code } = await client.ask(RequestCode.ACK_MESSAGE, header);
        if (code !== 0) throw new Error(`acknowledgement refused: ${code}`);
        if (isInTime) ledger.acked.add(text);
      }
    }
  } finally {
    client.close();
  }
}

test("kill -9 with pops in flight: nothing is lost, and what was acknowledged does not come again", async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const store = mkdtempSync(join(tmpdir(), "millrace-pop-kill-"));
  t.teardown(() => rmSync(store, { recursive: true, force: true }));
  const ledger = new Ledger();
  let broker = await start(store);
  const client = await RawClient.connect(broker.address);
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, QUEUES))).code, 0);
  const sends = Array.from({ length: MESSAGES }, (_, i) =>
    client.ask(
      ask.SEND_V2,
      ask.sendHeaderV2({ topic: TOPIC, queueId: i % QUEUES, properties: { UNIQ_KEY: `U${i}` } }),
      Buffer.from(`m${i}`),
    ),
  );
  t.true((await Promise.all(sends)).every(({ code }) => code === 0));
  client.close();
  const end = Date.now() + 90_000;
  for (const wanted of [MESSAGES / 4, MESSAGES / 2]) {
    const clients = Array.from({ length: CLIENTS }, () =>
      consume(
        broker.address,
        ledger,
        () => 1 / 3,
        () => false,
      ),
    );
    const ended = Promise.allSettled(clients);
    while (ledger.done.size < wanted && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    await broker.kill();
    await ended;
    broker = await start(store);
  }
  const before = ledger.done.size;
  t.true(before < MESSAGES, "some are left for the end");
  const isDone = (): boolean => ledger.done.size === MESSAGES || Date.now() > end;
  await Promise.all(Array.from({ length: CLIENTS }, () => consume(broker.address, ledger, () => 0, isDone)));
  await broker.kill();
  t.is(ledger.seen.size, MESSAGES, "lost");
  t.is(ledger.done.size, MESSAGES, "never to be had again");
  t.deepEqual(ledger.afterAck, [], "came after its acknowledgement");
});
