// Goal: with enableConsumeQueueExt and enableCalcFilterBitMap every group gets exactly the messages that its expression (or
// tags) asks for, whichever were stored before it came, through restarts, a death of the machine and a switch off and on;
// and what was marked when a message was stored decides, so that messages that cannot pass are not read.
// Method: random properties beside a model of what each expression passes. That the marks are used is shown by wiping them out.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Marked";
const UNIT_SIZE_MIN = 20;
const SYSTEM_BUSY = 2;
const INDEX_SHAPE = { slotCount: 1000, entryCount: 4000 };
const ON = {
  enablePropertyFilter: "true",
  enableConsumeQueueExt: "true",
  enableCalcFilterBitMap: "true",
  mappedFileSizeConsumeQueueExt: 65_536,
  // A machine that is busy with others must not make the broker busy.
  waitTimeMillsInSendQueue: 60_000,
  osPageCacheBusyTimeOutMills: 60_000,
};

interface Sent {
  body: string;
  n: number;
  tag: string;
}

const GROUPS: Readonly<Record<string, { type: string; text: string; wants: (message: Sent) => boolean }>> = {
  low: { type: "SQL92", text: "n < 20", wants: ({ n }) => n < 20 },
  odd: { type: "SQL92", text: "n IN ('1','3','5') OR TAGS = 'b'", wants: ({ n, tag }) => [1, 3, 5].includes(n) || tag === "b" },
  none: { type: "SQL92", text: "n > 1000", wants: () => false },
  tagged: { type: "TAG", text: "a || c", wants: ({ tag }) => tag === "a" || tag === "c" },
  all: { type: "TAG", text: "*", wants: () => true },
};

async function subscribe(client: RawClient, group: string): Promise<void> {
  const { type, text } = GROUPS[group]!;
  const tags = type === "TAG" && text !== "*" ? text.split("||").map((tag) => tag.trim()) : [];
  const subscription = {
    topic: TOPIC,
    subString: text,
    tagsSet: tags,
    codeSet: tags.map((tag) => tag.charCodeAt(0)),
    subVersion: 1,
    expressionType: type,
    classFilterMode: false,
  };
  const consumer = {
    groupName: group,
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    consumeFromWhere: "CONSUME_FROM_FIRST_OFFSET",
    subscriptionDataSet: [subscription],
    unitMode: false,
  };
  const body = { clientID: "c1", producerDataSet: [], consumerDataSet: [consumer] };
  const answer = await client.ask(ask.HEARTBEAT, {}, Buffer.from(JSON.stringify(body)));
  if (answer.code !== 0) throw new Error(answer.remark);
}

async function endOf(client: RawClient): Promise<number> {
  return Number((await client.ask(ask.MAX_OFFSET, { topic: TOPIC, queueId: 0 })).extFields["offset"]);
}

/** The bodies that the group gets by its registered subscription, and whether each pull was answered as it has to be. */
async function gets(client: RawClient, group: string, end: number): Promise<string[]> {
  const bodies: string[] = [];
  for (let offset = 0; offset < end; ) {
    const answer = await client.ask(ask.PULL, { ...ask.pullHeader({ group, topic: TOPIC, offset, sysFlag: 0 }), subVersion: 1 });
    if (answer.code === SYSTEM_BUSY) continue;
    if (![0, 20, 21].includes(answer.code)) throw new Error(`${group} at ${offset}: ${answer.code} ${answer.remark}`);
    for (const { body } of decodeMessages(answer.body)) bodies.push(body.toString());
    offset = Number(answer.extFields["nextBeginOffset"]);
  }
  return bodies;
}

test("each group gets what it asks for, whatever was marked for it and whatever is lost of that", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: ON });
  let client = await lab.raw();
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1))).code, 0);
  const sent: Sent[] = [];
  let seed = 3;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  const sendSome = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const message = { body: `m${sent.length}`, n: random(100), tag: "abc"[random(3)]! };
      const properties = { UNIQ_KEY: message.body, n: String(message.n), TAGS: message.tag };
      const answer = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties }), Buffer.from(message.body));
      t.is(answer.code, 0, answer.remark);
      sent.push(message);
    }
    await until(async () => (await endOf(client)) === sent.length);
  };
  const names = Object.keys(GROUPS);
  let isExact = true;
  const check = async (): Promise<void> => {
    for (const group of names) await subscribe(client, group);
    for (const group of names) {
      const { type, wants } = GROUPS[group]!;
      const wanted = sent.filter(wants).map(({ body }) => body);
      const got = await gets(client, group, sent.length);
      // Tags that are lost beside the queue are the client's to compare.
      const seen = type === "TAG" && !isExact ? got.filter((body) => wants(sent[Number(body.slice(1))]!)) : got;
      t.deepEqual(seen, wanted, group);
    }
  };
  await sendSome(100);
  for (const group of names) {
    await subscribe(client, group);
    await sendSome(60); // Some before, some after each group has come.
  }
  await check();
  const ext = join(store, "consumequeue_ext", TOPIC, "0");
  t.true(existsSync(ext));
  for (const how of ["stopped", "died", "off", "on"]) {
    await lab.broker.close();
    if (how !== "died") {
      const { findings } = await verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape: INDEX_SHAPE });
      t.deepEqual(findings, []);
    }
    if (how === "died") {
      writeFileSync(join(store, "abort"), "");
      isExact = false;
    }
    await lab.start({ store, config: how === "off" ? { ...ON, enableConsumeQueueExt: "false" } : ON });
    client = await lab.raw();
    await check();
    await sendSome(80);
    await check();
  }
  await sendSome(1500); // More than one file.
  t.true(readdirSync(ext).length > 1);
  await check();
});

test("messages that are marked as wanted by nobody are not offered to a group that asks by an expression", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: ON });
  let client = await lab.raw();
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1))).code, 0);
  const send = async (body: string): Promise<void> => {
    const properties = { UNIQ_KEY: body, n: "1" };
    t.is((await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties }), Buffer.from(body))).code, 0);
  };
  await send("before");
  await subscribe(client, "low");
  const born = Date.now();
  await until(() => Date.now() > born + 1); // What is stored at the very instant does not count as marked.
  for (const body of ["one", "two", "three"]) await send(body);
  await until(async () => (await endOf(client)) === 4);
  t.deepEqual(await gets(client, "low", 4), ["before", "one", "two", "three"]);
  await lab.broker.close();
  const file = join(store, "consumequeue_ext", TOPIC, "0", "00000000000000000000");
  const bytes = readFileSync(file);
  let at = 0;
  for (let unit = 0; unit < 4; unit++) {
    const size = bytes.readInt16BE(at);
    t.is(size > UNIT_SIZE_MIN, unit > 0, "the first was stored when nobody filtered the topic");
    t.is(size, UNIT_SIZE_MIN + bytes.readInt16BE(at + 18));
    if (unit === 2) bytes.fill(0, at + UNIT_SIZE_MIN, at + size);
    at += size;
  }
  t.is(bytes.readInt16BE(at), 0);
  writeFileSync(file, bytes);
  await lab.start({ store, config: ON });
  client = await lab.raw();
  await subscribe(client, "low");
  t.deepEqual(await gets(client, "low", 4), ["before", "one", "three"]);
});

test("what entries pointed at goes with the log files that it tells of, and nothing before", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const logFileSize = 262_144;
  const kept = { cleanResourceInterval: 100, deleteCommitLogFilesInterval: 1, deleteConsumeQueueFilesInterval: 1 };
  const config = { ...ON, ...kept, mappedFileSizeCommitLog: logFileSize, commitLogSizeMax: 3 * logFileSize };
  await lab.start({ store, config });
  let client = await lab.raw();
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1))).code, 0);
  await subscribe(client, "low");
  const ext = join(store, "consumequeue_ext", TOPIC, "0");
  let count = 0;
  const minOffset = async (): Promise<number> =>
    Number((await client.ask(ask.MIN_OFFSET, { topic: TOPIC, queueId: 0 })).extFields["offset"]);
  const isWanted = (number: number): boolean => number % 40 < 20;
  const sendSome = async (): Promise<void> => {
    for (let i = 0; i < 100; i++, count++) {
      const header = ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: `k${count}`, n: String(count % 40) } });
      t.is((await client.ask(ask.SEND_V2, header, Buffer.from(String(count).padEnd(200)))).code, 0);
    }
  };
  /** All that is there, from the first one on that is wanted. */
  const check = async (): Promise<void> => {
    const numbers = (await gets(client, "low", count)).map((body) => Number(body));
    const first = numbers[0]!;
    t.true(first <= (await minOffset()) + 20);
    t.deepEqual(numbers, Array.from({ length: count - first }, (_, i) => first + i).filter(isWanted));
  };
  while ((existsSync(ext) ? readdirSync(ext).length : 0) < 2) await sendSome();
  const firstFile = join(ext, readdirSync(ext).toSorted()[0]!);
  const bytes = readFileSync(firstFile);
  let unitCount = 0;
  for (let at = 0, size = 0; (size = bytes.readInt16BE(at)) >= UNIT_SIZE_MIN; at += size) unitCount++;
  t.true(unitCount > 500);
  await until(async () => {
    if (!existsSync(firstFile)) return true;
    await sendSome();
    return false;
  });
  t.true((await minOffset()) >= unitCount);
  t.true(readdirSync(ext).length > 0);
  await until(async () => (await endOf(client)) === count);
  await check();
  await lab.broker.close();
  const { findings } = await verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape: INDEX_SHAPE });
  t.deepEqual(findings, []);
  await lab.start({ store, config });
  client = await lab.raw();
  await subscribe(client, "low");
  await check();
});
