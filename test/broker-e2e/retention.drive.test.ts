// Goal: what is old goes, in the log, the queues and the index, and nothing else; readers are told where the queue begins
// now; a full disk refuses writes with errors of its own while reads and commits go on.
// Method: a broker with tiny files on a virtual clock; watermarks by free bytes, which a test can be sure to be past.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { until } from "../until.ts";
import { Lab } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Retained";
const HOUR_MS = 3_600_000;
const BODY = Buffer.alloc(8000, "r");
const TINY = {
  mappedFileSizeCommitLog: 131_072,
  mappedFileSizeConsumeQueue: 200,
  maxHashSlotNum: 10,
  maxIndexNum: 20,
  maxMessageSize: 10_000,
  deleteCommitLogFilesInterval: 0,
  deleteConsumeQueueFilesInterval: 0,
};
const TERABYTES = 1e15;
const DELETE_EXPIRED = 329;

async function sendSome(client: RawClient, count: number): Promise<RemotingCommand[]> {
  const answers: RemotingCommand[] = [];
  for (let i = 0; i < count; i++) {
    const header = ask.sendHeaderV2({ topic: TOPIC, properties: { KEYS: `k${i}` } });
    answers.push(await client.ask(ask.SEND_V2, header, BODY));
  }
  return answers;
}

async function bounds(client: RawClient): Promise<{ min: number; max: number }> {
  const header = { topic: TOPIC, queueId: 0 };
  const min = await client.ask(ask.MIN_OFFSET, header);
  const max = await client.ask(ask.MAX_OFFSET, header);
  return { min: Number(min.extFields["offset"]), max: Number(max.extFields["offset"]) };
}

function pull(client: RawClient, offset: number): Promise<RemotingCommand> {
  return client.ask(ask.PULL, ask.pullHeader({ group: "retention", topic: TOPIC, offset, count: 1 }));
}

function files(store: string, ...where: string[]): string[] {
  return readdirSync(join(store, ...where)).sort();
}

test("files go when they are old, at the hour for it; queues begin where the log does, also after a restart", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const broker = await lab.start({ store, clock: "virtual", config: TINY });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  for (const { code, remark } of await sendSome(client, 150)) t.is(code, 0, remark);
  await until(async () => (await bounds(client)).max === 150);
  await broker.advance(60_000);
  const logFiles = files(store, "commitlog").length;
  t.true(logFiles >= 8);
  t.is((await pull(client, 0)).code, 0);
  for (let hour = 0; hour < 71; hour++) await broker.advance(HOUR_MS);
  t.deepEqual(await bounds(client), { min: 0, max: 150 });
  for (let hour = 0; hour < 25; hour++) await broker.advance(HOUR_MS); // At 04 o'clock at least once.
  await until(async () => (await broker.advance(HOUR_MS), (await bounds(client)).min > 125)); // It may come round to that hour again.
  const { min, max } = await bounds(client);
  t.is(max, 150);
  await until(
    () => files(store, "commitlog").length <= 2,
    () => files(store, "commitlog").join(),
  );
  await until(async () => (await broker.advance(20_000), Number(files(store, "consumequeue", TOPIC, "0")[0]) > 0));
  t.true(Number(files(store, "consumequeue", TOPIC, "0")[0]) <= min * 20);
  await until(
    () => files(store, "index").length <= 2,
    () => files(store, "index").join(),
  );

  const below = await pull(client, 0);
  t.is(below.code, 21);
  t.is(below.remark, "OFFSET_TOO_SMALL");
  t.is(below.extFields["nextBeginOffset"], String(min));
  const first = await pull(client, min);
  t.is(first.code, 0);
  t.is(decodeMessages(first.body)[0]!.queueOffset, min);
  for (const { code } of await sendSome(client, 3)) t.is(code, 0);
  await until(async () => (await bounds(client)).max === 153);
  await broker.close();

  await lab.start({ store, clock: "virtual", config: TINY });
  const again = await lab.raw();
  t.deepEqual(await bounds(again), { min, max: 153 });
  t.is((await pull(again, min)).code, 0);
  t.is((await pull(again, min - 1)).remark, "OFFSET_TOO_SMALL");
});

test("nearly full: files go whatever their age, but never the one being written", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { ...TINY, diskSpaceCleanForciblyFreeBytes: TERABYTES } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  for (const { code } of await sendSome(client, 80)) t.is(code, 0);
  await until(async () => (await bounds(client)).min >= 48);
  await until(() => files(store, "commitlog").length <= 2);
  t.is((await bounds(client)).max, 80);
  // A file more may go while they are pulled.
  await until(async () => {
    const { min } = await bounds(client);
    for (let offset = min; offset < 80; offset++) if ((await pull(client, offset)).code !== 0) return false;
    return min < 80;
  });
});

test("the log is kept below a size", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { ...TINY, commitLogSizeMax: 4 * 131_072, cleanResourceInterval: 50 } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  for (const { code } of await sendSome(client, 160)) t.is(code, 0);
  await until(
    () => files(store, "commitlog").length <= 5,
    () => files(store, "commitlog").join(),
  );
  await until(async () => (await bounds(client)).min > 0);
  t.true((await bounds(client)).min >= 80);
  t.true((await bounds(client)).min < 160);
});

test("above the last watermark sends are refused, reads and commits go on", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const first = await lab.start({ store, config: TINY });
  const before = await lab.raw();
  await before.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  t.is((await sendSome(before, 1))[0]!.code, 0);
  await until(async () => (await bounds(before)).max === 1);
  await first.close();
  await lab.start({ store, config: { ...TINY, diskSpaceWarningLevelFreeBytes: TERABYTES, cleanFileForciblyEnable: false } });
  const client = await lab.raw();
  const refused = (await sendSome(client, 1))[0]!;
  t.is(refused.code, 14);
  t.regex(
    refused.remark ?? "",
    /^service not available now\. It may be caused by one of the following reasons: the broker's disk is full \[CL: {1,2}\d\.\d\d CQ: {1,2}\d\.\d\d INDEX: {1,2}\d\.\d\d\], messages are put to the slave, message store has been shut down, etc\.$/,
  );
  const header = { group: "retention", offset: 0, delayLevel: 1, originMsgId: "", originTopic: TOPIC };
  t.is((await client.ask(ask.SEND_BACK, header)).code !== 0, true);
  t.is((await pull(client, 0)).code, 0);
  const commit = { consumerGroup: "retention", topic: TOPIC, queueId: 0, commitOffset: 1 };
  t.is((await client.ask(ask.UPDATE_OFFSET, commit)).code, 0);
  t.deepEqual(await bounds(client), { min: 0, max: 1 });
});

test("an administrator's word deletes what is old enough at any hour", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const broker = await lab.start({ store, clock: "virtual", config: { ...TINY, fileReservedTime: 1 } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  await sendSome(client, 60);
  await until(async () => (await bounds(client)).max === 60);
  await broker.advance(60_000);
  t.is((await client.ask(DELETE_EXPIRED)).code, 0);
  await broker.advance(30_000);
  t.is((await bounds(client)).min, 0);
  for (let hour = 0; hour < 2; hour++) await broker.advance(HOUR_MS);
  t.is((await client.ask(DELETE_EXPIRED)).code, 0);
  await until(async () => (await broker.advance(20_000), (await bounds(client)).min > 30));
  t.true(files(store, "commitlog").length <= 3);
});
