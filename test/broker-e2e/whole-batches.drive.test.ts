// Goal: a batch sent to a topic with queue.type=BatchCQ is one record in the log, counts as many messages, and comes out
// message by message, whole or compressed, by tag, from any offset, after a restart and after a death of the machine.
// Method: batches of random sizes beside a list of what was sent; every way of reading has to give that list.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { TopicReader } from "../../src/client/consume/topic-reader.ts";
import { decodeMessages } from "../../src/format/record/message.ts";
import { type OutgoingMessage, openEngine } from "../../src/index.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Whole";
const GROUP = "whole-readers";
const ATTRIBUTES = "+queue.type=BatchCQ";

async function setUp(client: RawClient, attributes = ATTRIBUTES): Promise<void> {
  const answer = await client.ask(ask.CREATE_TOPIC, { ...ask.topicHeader(TOPIC, 1), attributes });
  if (answer.code !== 0) throw new Error(answer.remark);
}

/** size, magic, CRC, flag, bodySize, body, propertiesSize, properties */
function subMessage(body: string, properties: Readonly<Record<string, string>>): Buffer {
  const text = Buffer.from(ask.propertiesText(properties));
  const bytes = Buffer.alloc(22 + Buffer.byteLength(body) + text.length);
  bytes.writeInt32BE(bytes.length, 0);
  bytes.writeInt32BE(Buffer.byteLength(body), 16);
  const at = 20 + bytes.write(body, 20);
  bytes.writeInt16BE(text.length, at);
  text.copy(bytes, at + 2);
  return bytes;
}

function batchOf(bodies: readonly string[]): Buffer {
  return Buffer.concat(bodies.map((body) => subMessage(body, { UNIQ_KEY: `k-${body}` })));
}

/** Physical offset, as its id says it. */
async function sendBatch(client: RawClient, key: string, bodies: readonly string[]) {
  const header = ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: key }, batch: true });
  const answer = await client.ask(ask.SEND_BATCH, header, batchOf(bodies));
  if (answer.code !== 0) throw new Error(answer.remark);
  return answer.extFields;
}

async function endReached(client: RawClient, end: number): Promise<void> {
  await until(async () => Number((await client.ask(ask.MAX_OFFSET, { topic: TOPIC, queueId: 0 })).extFields["offset"]) === end);
}

/** What a reader of ours gets of [from, end). */
async function bodiesFrom(lab: Lab, from: number, until_: number): Promise<string[]> {
  const reader = new TopicReader({ namesrvAddr: lab.broker.namesrvAddress });
  try {
    const [queue] = await reader.queues(TOPIC);
    const bodies: string[] = [];
    let next = from;
    for await (const messages of reader.read(queue!, { from, until: until_ })) {
      for (const message of messages) {
        if (message.queueOffset !== next++) throw new Error(`offset ${message.queueOffset} instead of ${next - 1}`);
        bodies.push(message.text());
      }
    }
    return bodies;
  } finally {
    await reader.close();
  }
}

test("batches of all sizes, beside single messages, come out one by one from any offset, also after restarts", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  // Some files of the batch queue: 46 bytes an entry.
  const config = { mapperFileSizeBatchConsumeQueue: 46 * 20 };
  await lab.start({ store, config });
  let client = await lab.raw();
  await setUp(client);
  const sent: string[] = [];
  let seed = 11;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 40; i++) {
      const bodies = Array.from({ length: 1 + random(i % 7 === 0 ? 300 : 9) }, (_, n) => `${round}.${i}.${n}`);
      if (i % 5 === 4) {
        const answer = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC }), Buffer.from(bodies[0]!));
        t.is(Number(answer.extFields["queueOffset"]), sent.length);
        sent.push(bodies[0]!);
        continue;
      }
      const fields = await sendBatch(client, `b-${round}-${i}`, bodies);
      t.like(fields, { batchUniqId: `b-${round}-${i}`, queueOffset: String(sent.length) });
      t.false(fields["msgId"]!.includes(","));
      sent.push(...bodies);
    }
    await endReached(client, sent.length);
    t.deepEqual(await bodiesFrom(lab, 0, sent.length), sent);
    const middle = random(sent.length);
    t.deepEqual(await bodiesFrom(lab, middle, sent.length), sent.slice(middle));
    const pull = ask.pullHeader({ group: "TOOLS_CONSUMER", topic: TOPIC, offset: middle, count: 1 });
    const [record] = decodeMessages((await client.ask(ask.PULL, pull)).body);
    t.true(record!.queueOffset <= middle, "the batch that holds the message is found from its start");
    await lab.broker.close();
    if (round === 1) {
      // As after the machine's death: entries that the disk never got.
      rmSync(join(store, "batchconsumequeue"), { recursive: true });
      writeFileSync(join(store, "abort"), "");
    }
    await lab.start({ store, config });
    client = await lab.raw();
    await endReached(client, sent.length);
    t.deepEqual(await bodiesFrom(lab, 0, sent.length), sent);
  }
});

const POP = 200_050;
const ACK = 200_051;

async function pop(client: RawClient, more: Readonly<Record<string, string | number | boolean>> = {}) {
  const header = {
    consumerGroup: GROUP, topic: TOPIC, queueId: -1, maxMsgNums: 32, invisibleTime: 600_000, pollTime: 0, bornTime: Date.now(),
    initMode: 0, order: false, ...more,
  }; // biome-ignore format: one thing.
  const { code, extFields, body } = await client.ask(POP, header);
  return { code, extFields, messages: code === 0 ? decodeMessages(body) : [] };
}

async function ack(client: RawClient, { popTime, reviveQid }: Readonly<Record<string, string>>, from: number, offset: number) {
  const extraInfo = `${from} ${popTime} 600000 ${reviveQid} 0 b 0 ${offset}`;
  const { code } = await client.ask(ACK, { consumerGroup: GROUP, topic: TOPIC, queueId: 0, extraInfo, offset });
  if (code !== 0) throw new Error(`acknowledgement: ${code}`);
}

test("batches are popped whole, and come back message by message; what is acknowledged does not", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store });
  let client = await lab.raw();
  await setUp(client);
  await sendBatch(client, "b-1", ["a", "b", "c"]);
  await sendBatch(client, "b-2", ["d", "e"]);
  await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: "k-f" } }), Buffer.from("f"));
  await endReached(client, 6);

  const first = await pop(client, { maxMsgNums: 2 });
  t.like(first.extFields, { startOffsetInfo: "0 0 0", msgOffsetInfo: "0 0 0", restNum: "3" });
  t.deepEqual(
    first.messages.map(({ queueOffset, properties }) => [queueOffset, properties.get("INNER_NUM")]),
    [[0, "3"]],
  );
  const second = await pop(client, { invisibleTime: 3000 });
  t.like(second.extFields, { startOffsetInfo: "0 0 3", msgOffsetInfo: "0 0 3,5", restNum: "0" });
  t.is((await pop(client)).code, 210);
  await ack(client, first.extFields, 0, 0);

  await lab.broker.close();
  await lab.start({ store });
  client = await lab.raw();
  const back = new Map<string, number>();
  await until(async () => {
    for (const { body, reconsumeTimes, properties } of (await pop(client)).messages) {
      t.is(properties.get("UNIQ_KEY"), `k-${body.toString()}`);
      t.is(properties.get("INNER_NUM"), undefined);
      back.set(body.toString(), reconsumeTimes);
    }
    return back.size === 3;
  });
  t.deepEqual(Object.fromEntries(back), { d: 1, e: 1, f: 1 });
  t.is((await pop(client)).code, 210);
});

test("in order, a batch blocks its queue until it is acknowledged, and then the next one comes", async (t) => {
  const lab = new Lab(t);
  await lab.start();
  const client = await lab.raw();
  await setUp(client);
  await sendBatch(client, "b-1", ["a", "b", "c"]);
  await sendBatch(client, "b-2", ["d", "e"]);
  await endReached(client, 5);
  for (const from of [0, 3]) {
    const { messages, extFields } = await pop(client, { order: true, maxMsgNums: 1 });
    t.deepEqual(
      messages.map(({ queueOffset }) => queueOffset),
      [from],
    );
    t.is((await pop(client, { order: true })).code, 210);
    await ack(client, extFields, from, from);
  }
  t.is((await pop(client, { order: true })).code, 210);
});

for (const compression of ["none", "zlib", "lz4"] as const) {
  test(`producer and consumer, batches compressed by ${compression}`, async (t) => {
    const lab = new Lab(t);
    await lab.start();
    await setUp(await lab.raw());
    const compressBatches = compression !== "none";
    const producer = await lab.producer({ batchSize: 16_384, lingerMs: 5, compression, compressBatches, compressOver: 64 });
    const message = (n: number): OutgoingMessage => ({
      topic: TOPIC,
      body: `body ${n} ${"x".repeat(50)}`,
      tags: n % 3 === 0 ? "A" : "B",
      properties: { n: String(n) },
    });
    const received: string[] = [];
    const consumer = lab.consumer(GROUP);
    consumer.subscribe(TOPIC, "A");
    await consumer.run((messages) => {
      for (const { properties, tags, body } of messages) received.push(`${properties.get("n")} ${tags} ${body.length}`);
    });
    const results = await Promise.all(Array.from({ length: 1000 }, (_, n) => producer.send(message(n))));
    t.deepEqual(results.map(({ queueOffset }) => queueOffset), results.map((_, n) => n)); // biome-ignore format: one claim.
    t.true(new Set(results.map(({ offsetMsgId }) => offsetMsgId)).size < 100, "far fewer records than messages");
    const wanted = Array.from({ length: 1000 }, (_, n) => `${n} A ${`body ${n} `.length + 50}`).filter((_, n) => n % 3 === 0);
    await until(
      () => received.length >= wanted.length,
      () => `${received.length} of ${wanted.length}`,
    );
    t.deepEqual(new Set(received), new Set(wanted));
  });
}

test("one message of a batch that fails is delivered again, alone", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { messageDelayLevel: "1s 1s 1s 1s" } });
  const client = await lab.raw();
  await setUp(client);
  await sendBatch(client, "b", ["one", "two", "three"]);
  const deliveries: string[] = [];
  const consumer = lab.consumer(GROUP, { onError: () => {} });
  consumer.subscribe(TOPIC);
  await consumer.run(([message]) => {
    deliveries.push(`${message!.text()} ${message!.reconsumeTimes}`);
    if (message!.text() === "two" && message!.reconsumeTimes === 0) throw new Error("not now");
  });
  await until(
    () => deliveries.length >= 4,
    () => deliveries.join(),
  );
  t.deepEqual(deliveries.toSorted(), ["one 0", "three 0", "two 0", "two 1"]);
});

test("a batch that is sent twice is stored once in a topic that asks for it", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = {
    mappedFileSizeConsumeQueue: 6_000_000,
    mapperFileSizeBatchConsumeQueue: 13_800_000,
    messageIndexEnable: "false",
  };
  await lab.start({ store, config });
  let client = await lab.raw();
  await setUp(client, `${ATTRIBUTES},+dedup.window.seconds=600`);
  await sendBatch(client, "first", ["a", "b"]);
  const second = await sendBatch(client, "second", ["c", "d", "e"]);
  t.deepEqual(await sendBatch(client, "second", ["c", "d", "e"]), second);
  await lab.broker.close();
  await lab.start({ store, config });
  client = await lab.raw();
  t.like(await sendBatch(client, "second", ["c", "d", "e"]), { queueOffset: "2", batchUniqId: "second" });
  await endReached(client, 5);
  t.deepEqual(await bodiesFrom(lab, 0, 5), ["a", "b", "c", "d", "e"]);
  await lab.broker.close();
  await using engine = await openEngine({ storePath: store, nativeFree: NATIVE_FREE, mappedFileSizeCommitLog: 16_777_216 });
  const read = engine.readBatch(TOPIC, 0, 1, 3);
  t.deepEqual(read.map(({ queueOffset, body }) => `${queueOffset} ${body.toString()}`), ["1 b", "2 c", "3 d"]); // biome-ignore format: one claim.
});
