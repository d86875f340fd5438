// Goal: a message that names further queues (LMQ) stands in each of them once, at the offset that it says of itself, in the
// order of the log; whichever way it came into the log (send, batch, delay level, timer, transaction) and whatever became of
// the broker since (stop, death of the process, death of the machine with the queues lost).
// Method: sends with random lists of names beside a model of every queue; every queue is pulled and has to be the model.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Parent";
/** As in the lab's configuration. */
const INDEX_SHAPE = { slotCount: 1000, entryCount: 4000 };
const GROUP = "%LMQ%readers@home";
/** A machine that is busy with others must not make the broker busy. */
const ON = {
  enableLmq: "true",
  enableMultiDispatch: "true",
  waitTimeMillsInSendQueue: 60_000,
  osPageCacheBusyTimeOutMills: 60_000,
};
const QUOTA_EXCEEDED = 2017;
const MESSAGE_ILLEGAL = 13;

async function makeTopic(client: RawClient, topic = TOPIC): Promise<void> {
  const answer = await client.ask(ask.CREATE_TOPIC, ask.topicHeader(topic, 2));
  if (answer.code !== 0) throw new Error(answer.remark);
}

function send(client: RawClient, body: string, names: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const properties = { UNIQ_KEY: `u-${body}`, INNER_MULTI_DISPATCH: names.join(","), ...more };
  return client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties }), Buffer.from(body));
}

async function endOf(client: RawClient, topic: string): Promise<number> {
  return Number((await client.ask(ask.MAX_OFFSET, { topic, queueId: 0 })).extFields["offset"]);
}

/** The bodies of the queue from its start; each message has to say that it stands where it was found. */
async function contents(client: RawClient, name: string, end: number): Promise<string[]> {
  await until(async () => (await endOf(client, name)) >= end);
  const bodies: string[] = [];
  while (bodies.length < end) {
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: name, offset: bodies.length }));
    if (answer.code !== 0) throw new Error(`${name} at ${bodies.length}: ${answer.code} ${answer.remark}`);
    for (const { properties, body } of decodeMessages(answer.body)) {
      const at = properties.get("INNER_MULTI_DISPATCH")!.split(",").indexOf(name);
      const offset = properties.get("INNER_MULTI_QUEUE_OFFSET")!.split(",")[at];
      if (Number(offset) !== bodies.length) throw new Error(`${name}: ${offset} stands at ${bodies.length}`);
      bodies.push(body.toString());
    }
  }
  return bodies;
}

test("random lists of names, through a stop, a death of the process and a loss of the queues", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = { ...ON, mappedFileSizeConsumeQueue: 1200 }; // 60 entries a file.
  await lab.start({ store, config });
  let client = await lab.raw();
  await makeTopic(client);
  const model = new Map<string, string[]>();
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  for (let round = 0; round < 4; round++) {
    const sends: Promise<unknown>[] = [];
    for (let i = 0; i < 150; i++) {
      const names = [...new Set(Array.from({ length: 1 + random(5) }, () => `%LMQ%q$${random(12)}`))];
      if (i % 10 === 9) names.push(names[0]!); // Named twice: it counts once.
      const body = `${round}.${i}`;
      for (const name of new Set(names)) model.set(name, [...(model.get(name) ?? []), body]);
      sends.push(send(client, body, names).then(({ code, remark }) => t.is(code, 0, remark)));
      if (i % 3 === 0) sends.push(client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC }), Buffer.from("plain")));
    }
    await Promise.all(sends);
    for (const [name, bodies] of model) t.deepEqual(await contents(client, name, bodies.length), bodies, name);
    await lab.broker.close();
    t.deepEqual((await verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape: INDEX_SHAPE })).findings, []);
    // After the machine's death: nothing that was not flushed is believed; then: the queues are gone.
    if (round >= 1) writeFileSync(join(store, "abort"), "");
    if (round >= 2) rmSync(join(store, "consumequeue"), { recursive: true });
    await lab.start({ store, config });
    client = await lab.raw();
    for (const [name, bodies] of model) t.deepEqual(await contents(client, name, bodies.length), bodies, name);
    for (const [name, bodies] of model) t.is(await endOf(client, name), bodies.length);
  }
});

test("messages that wait come to their further queues when they are delivered, and not before", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { ...ON, messageDelayLevel: "1s 2s", timerPrecisionMs: 100 } });
  const client = await lab.raw();
  await makeTopic(client);
  t.is((await send(client, "now", ["%LMQ%late"])).code, 0);
  t.is((await send(client, "level", ["%LMQ%late"], { DELAY: "1" })).code, 0);
  t.is((await send(client, "timer", ["%LMQ%late"], { TIMER_DELAY_MS: "1500" })).code, 0);
  const [first, ...late] = await contents(client, "%LMQ%late", 3);
  t.is(first, "now");
  t.deepEqual(late.toSorted(), ["level", "timer"]);
  const half = { TRAN_MSG: "true", PGROUP: "raw-producers" };
  const properties = { UNIQ_KEY: "u-half", INNER_MULTI_DISPATCH: "%LMQ%tx", ...half };
  const sent = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties, sysFlag: 4 }), Buffer.from("half"));
  t.is(sent.code, 0, sent.remark);
  t.is((await send(client, "before", ["%LMQ%tx"])).code, 0);
  t.deepEqual(await contents(client, "%LMQ%tx", 1), ["before"]);
  const commitLogOffset = Number.parseInt(sent.extFields["msgId"]!.slice(16), 16);
  const end = {
    producerGroup: "raw-producers",
    tranStateTableOffset: sent.extFields["queueOffset"],
    commitLogOffset,
    commitOrRollback: 8,
  };
  t.is((await client.ask(37, { ...end, fromTransactionCheck: false, msgId: "u-half", transactionId: "u-half" })).code, 0);
  t.deepEqual(await contents(client, "%LMQ%tx", 2), ["before", "half"]);
});

test("a batch's messages go to what each of them names; a held pull is answered", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: ON });
  const client = await lab.raw();
  await makeTopic(client);
  const waiting = await lab.raw();
  const suspended = ask.pullHeader({
    group: GROUP,
    topic: "%LMQ%held",
    sysFlag: ask.PULL_SUSPEND | ask.PULL_SUBSCRIPTION,
    suspendMs: 60_000, // Longer than the client waits.
  });
  const held = waiting.ask(ask.PULL, suspended);
  const of = (body: string, names: string) => ({
    body: Buffer.from(body),
    properties: { UNIQ_KEY: body, INNER_MULTI_DISPATCH: names, INNER_MULTI_QUEUE_OFFSET: "5" },
  });
  const batch = ask.batchBody([of("a", "%LMQ%one"), of("b", "%LMQ%one,%LMQ%held"), of("c", "%LMQ%held")]);
  t.is((await client.ask(ask.SEND_BATCH, ask.sendHeaderV2({ topic: TOPIC, batch: true }), batch)).code, 0);
  t.is(decodeMessages((await held).body)[0]?.body.toString(), "b");
  t.deepEqual(await contents(client, "%LMQ%one", 2), ["a", "b"]);
  t.deepEqual(await contents(client, "%LMQ%held", 2), ["b", "c"]);
});

test("names that are none, and more queues than are allowed, are refused; nothing of them reaches the disk", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { ...ON, enableLmqQuota: "true", maxLmqConsumeQueueNum: 2 } });
  const client = await lab.raw();
  await makeTopic(client);
  for (const name of [
    "plain",
    "%LMQ%",
    "%LMQ%../../x",
    "%LMQ%a/b",
    "%LMQ%ä",
    "%LMQ%a b",
    `%LMQ%${"x".repeat(251)}`,
    "%LMQ%a@%LMQ%b",
    "",
  ]) {
    const answer = await send(client, "bad", ["%LMQ%ok", name, "%LMQ%ok"]);
    t.is(answer.code, MESSAGE_ILLEGAL, name);
  }
  const many = Array.from({ length: 1000 }, (_, i) => `%LMQ%${String(i).padStart(10, "0")}`);
  t.is((await send(client, "too many", many)).code, MESSAGE_ILLEGAL, "no room for the offsets");
  t.is((await send(client, "a", ["%LMQ%one", "%LMQ%two"])).code, 0);
  t.is((await send(client, "b", ["%LMQ%two", "%LMQ%three"])).code, QUOTA_EXCEEDED);
  const pull = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: "%LMQ%three" }));
  t.is(pull.code, QUOTA_EXCEEDED);
  t.is((await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: "%LMQ%../x" }))).code, 17);
  t.is((await send(client, "c", ["%LMQ%one"])).code, 0);
  t.deepEqual(await contents(client, "%LMQ%one", 2), ["a", "c"]);
  t.is((await client.ask(ask.DELETE_TOPIC, { topic: "%LMQ%two" })).code, 0);
  t.is((await send(client, "d", ["%LMQ%three"])).code, 0, "the one that was deleted has made room");
});

test("offsets of LMQ groups lie in a file of their own form, and are there after a restart", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store });
  let client = await lab.raw();
  await makeTopic(client);
  const of = (group: string, topic: string) => ({ consumerGroup: group, topic, queueId: 0 });
  t.is((await client.ask(ask.CREATE_GROUP, {}, Buffer.from(JSON.stringify({ groupName: "old" })))).code, 0);
  t.is((await client.ask(ask.UPDATE_OFFSET, { ...of("old", TOPIC), commitOffset: 3 })).code, 0);
  await lab.broker.close();
  await lab.start({ store, config: ON });
  client = await lab.raw();
  t.is((await client.ask(ask.QUERY_OFFSET, of("old", TOPIC))).extFields["offset"], "3", "from before LMQ was switched on");
  t.is((await client.ask(ask.UPDATE_OFFSET, { ...of(GROUP, "%LMQ%q"), commitOffset: 41 })).code, 0);
  await lab.broker.close();
  const file = join(store, "config", "lmqConsumerOffset.json");
  t.true(existsSync(file));
  t.like(JSON.parse(readFileSync(file, "utf8").replace(/([{,])\s*(\d+):/g, '$1"$2":')), {
    lmqOffsetTable: { [`%LMQ%q@${GROUP}`]: 41 },
  });
  await lab.start({ store, config: ON });
  client = await lab.raw();
  t.is((await client.ask(ask.QUERY_OFFSET, of(GROUP, "%LMQ%q"))).extFields["offset"], "41");
  t.is((await client.ask(ask.QUERY_OFFSET, of("old", TOPIC))).extFields["offset"], "3");
});

test("switched off, the property is one like any other", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store });
  const client = await lab.raw();
  await makeTopic(client);
  t.is((await send(client, "a", ["%LMQ%one"])).code, 0);
  await until(async () => (await endOf(client, TOPIC)) === 1);
  const [message] = decodeMessages((await client.ask(ask.PULL, ask.pullHeader({ group: "readers", topic: TOPIC }))).body);
  t.is(message!.properties.get("INNER_MULTI_QUEUE_OFFSET"), undefined);
  t.is((await client.ask(ask.PULL, ask.pullHeader({ group: "readers", topic: "%LMQ%one" }))).code, 17);
  t.false(existsSync(join(store, "consumequeue", "%LMQ%one")));
});

test("a lite topic goes when it has got no messages for its time, one that still gets some stays", async (t) => {
  const lab = new Lab(t);
  const broker = await lab.start({
    store: "memory",
    clock: "virtual",
    config: { enableLmq: "true", enableMultiDispatch: "true" },
  });
  const client = await lab.raw();
  const header = { ...ask.topicHeader(TOPIC, 1), attributes: "+message.type=LITE,+lite.topic.expiration=60" };
  t.is((await client.ask(ask.CREATE_TOPIC, header)).code, 0);
  const lite = async (liteTopic: string): Promise<void> => {
    const properties = { UNIQ_KEY: "u", __LITE_TOPIC: liteTopic };
    const answer = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties }), Buffer.from("x"));
    t.is(answer.code, 0, answer.remark);
  };
  const end = (liteTopic: string): Promise<number> => endOf(client, `%LMQ%$${TOPIC}$${liteTopic}`);
  await lite("old");
  await lite("young");
  await lite("old");
  await until(async () => (await end("old")) === 2 && (await end("young")) === 1);
  await broker.advance("50m");
  await lite("young");
  await until(async () => (await end("young")) === 2);
  t.is(await end("old"), 2);
  await broker.advance("15m");
  await until(async () => (await end("old")) === 0);
  t.is(await end("young"), 2);
  await lite("old");
  await until(async () => (await end("old")) === 1);
});
