// Goal: messages with a delivery time of their own are delivered once and not before it; recalled ones never;
// also when the process is killed meanwhile.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import { type DecodedMessage, decodeMessages } from "../../src/format/record/message.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const RECALL = 370;
const RUNTIME_INFO = 28;
const TIMER_METRICS = 61;
const TOPIC = "Timed";

function send(client: RawClient, key: string, properties: Record<string, string>): Promise<RemotingCommand> {
  return client.ask(
    ask.SEND_V2,
    ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: key, ...properties } }),
    Buffer.from(key),
  );
}

async function delivered(client: RawClient): Promise<DecodedMessage[]> {
  const messages: DecodedMessage[] = [];
  for (;;) {
    const header = ask.pullHeader({ group: "g", topic: TOPIC, offset: messages.length, count: 32 });
    const answer = await client.ask(ask.PULL, header);
    if (answer.code !== 0) return messages;
    messages.push(...decodeMessages(answer.body));
  }
}

async function stored(client: RawClient): Promise<number> {
  return Number((await client.ask(ask.MAX_OFFSET, { topic: TOPIC, queueId: 0 })).extFields["offset"]);
}

function keysOf(messages: readonly DecodedMessage[]): string[] {
  return messages.map(({ body }) => body.toString());
}

test("a timed message comes when its time has come, once, with all that it had", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { timerPrecisionMs: 100 } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  const due = Date.now() + 1234;
  t.is((await send(client, "past", { TIMER_DELIVER_MS: "1000" })).code, 0);
  const answer = await send(client, "at", { TIMER_DELIVER_MS: String(due), TAGS: "a", mine: "x" });
  t.is(answer.code, 0);
  t.truthy(answer.extFields["recallHandle"]);
  await send(client, "ms", { TIMER_DELAY_MS: "300" });
  await send(client, "s", { TIMER_DELAY_SEC: "1" });
  t.is(await stored(client), 1);
  t.is((await send(client, "far", { TIMER_DELAY_SEC: "259201" })).code, 13);
  t.is((await send(client, "odd", { TIMER_DELAY_SEC: "soon" })).code, 13);
  await until(async () => (await stored(client)) >= 4);
  const messages = await delivered(client);
  t.deepEqual(keysOf(messages).sort(), ["at", "ms", "past", "s"]);
  t.is(keysOf(messages)[0], "past");
  const at = messages.find(({ body }) => body.toString() === "at")!;
  t.true(at.storeTimestamp >= due);
  t.log(`${at.storeTimestamp - due} ms late`);
  t.like(Object.fromEntries(at.properties), { mine: "x", TAGS: "a", REAL_TOPIC: TOPIC, REAL_QID: "0" });
  t.true(at.properties.has("TIMER_DEQUEUE_MS") && at.properties.has("TIMER_ENQUEUE_MS"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.is(await stored(client), 4);
  const { table } = JSON.parse((await client.ask(RUNTIME_INFO)).body.toString()) as { table: Record<string, string> };
  t.like(table, { timerCongestNum: "0", timerEarly: "0", timerOffsetBehind: "0" });
});

test("how many messages wait, by topic, is told after a restart too", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const waiting = async (client: RawClient) => {
    const { timingCount } = JSON.parse((await client.ask(TIMER_METRICS)).body.toString());
    return timingCount[TOPIC]?.count;
  };
  const before = await lab.start({ store });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  for (const key of ["a", "b", "c"]) await send(client, key, { TIMER_DELAY_SEC: "3600" });
  await until(async () => (await waiting(client)) === 3);
  await before.close();
  await lab.start({ store });
  t.is(await waiting(await lab.raw()), 3);
});

test("a recalled message never comes; what is no handle, or too late, is refused", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { timerPrecisionMs: 100, recallMessageEnable: true } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  const recall = (recallHandle: string, topic = TOPIC): Promise<RemotingCommand> =>
    client.ask(RECALL, { producerGroup: "p", topic, recallHandle });
  const first = await send(client, "recalled", { TIMER_DELAY_MS: "5000" });
  await send(client, "kept", { TIMER_DELAY_MS: "5000" });
  const handle = first.extFields["recallHandle"]!;
  const answer = await recall(handle);
  t.is(answer.code, 0);
  t.is(answer.extFields["msgId"], "recalled");
  t.is((await recall("no handle")).code, 604);
  t.is((await recall(handle, "TBW102")).code, 604);
  t.is((await recall(handle, "None")).code, 17);
  await until(async () => (await stored(client)) >= 1);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.deepEqual(keysOf(await delivered(client)), ["kept"]);
  t.is((await recall(handle)).code, 604, "over");
});

test("what is due beyond the window is rolled until it is not", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { timerPrecisionMs: 100, timerRollWindowSlot: 4 } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  const due = Date.now() + 4000; // The timer's thread starts with the message.
  await send(client, "rolled", { TIMER_DELIVER_MS: String(due) });
  await until(async () => (await stored(client)) >= 1);
  const [message] = await delivered(client);
  t.true(message!.storeTimestamp >= due);
  t.true(Number(message!.properties.get("TIMER_ROLL_TIMES")) >= 2);
});

async function startProcess(store: string): Promise<{ address: string; kill: () => Promise<void> }> {
  const args = ["src/cli/main.ts", "up", "--port", "0", "--namesrv-port", "0", "--store", store];
  // A machine that is busy with others must not make the broker busy.
  const sets = ["timerPrecisionMs=100", "waitTimeMillsInSendQueue=60000", "osPageCacheBusyTimeOutMills=60000"];
  for (const set of sets) args.push("--set", set);
  if (NATIVE_FREE) args.push("--native-free");
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /broker=(\S+)/.exec(line)?.[1];
    if (address !== undefined) return { address, kill };
  }
  throw new Error("no ready line");
}

test("kill -9 during deliveries, again and again: none is lost, none is early, few come twice", async (t) => {
  t.timeout(120_000);
  const store = mkdtempSync(join(tmpdir(), "millrace-timer-"));
  t.teardown(() => rmSync(store, { recursive: true, force: true }));
  let broker = await startProcess(store);
  t.teardown(() => broker.kill());
  let client = await RawClient.connect(broker.address);
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1))).code, 0);
  const due = new Map<string, number>();
  const begin = Date.now();
  const answers = await Promise.all(
    Array.from({ length: 2000 }, (_, i) => {
      const at = begin + 1000 + 2 * i;
      due.set(`k${i}`, at);
      return send(client, `k${i}`, { TIMER_DELIVER_MS: String(at) });
    }),
  );
  t.deepEqual([...new Set(answers.map(({ code, remark }) => `${code} ${remark ?? ""}`))], ["0 "]);
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 900));
    await broker.kill();
    client.close();
    broker = await startProcess(store);
    client = await RawClient.connect(broker.address);
  }
  let messages: DecodedMessage[] = [];
  await until(
    async () => {
      messages = await delivered(client);
      return new Set(keysOf(messages)).size === 2000;
    },
    () => `${new Set(keysOf(messages)).size} of 2000`,
  );
  t.deepEqual(
    messages.filter(({ body, storeTimestamp }) => storeTimestamp < due.get(body.toString())!),
    [],
  );
  t.true(messages.length <= 2000 + 3 * 1000, `${messages.length - 2000} twice`);
  t.log(`${messages.length - 2000} of 2000 came twice`);
  client.close();
});
