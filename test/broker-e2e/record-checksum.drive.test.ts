// Goal: with enabledAppendPropCRC every record, whichever way it was made, ends with the checksum of its own bytes; ids and
// offsets are what they say; a changed header field costs that message alone. Without the option no record has one.
// Method: all ways of storing a message, then a walk over the log's bytes.
import fs from "node:fs";
import { join } from "node:path";
import test from "ava";
import {
  type DecodedMessage,
  decodeMessage,
  decodeMessages,
  RecordParts,
  recordSizeAt,
} from "../../src/format/record/message.ts";
import { physicalOffsetOf } from "../../src/format/record/message-id.ts";
import { RECORD_CRC_NONE, RECORD_CRC_RIGHT, recordCrcState } from "../../src/format/record/record-crc.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Sealed";
const WHOLE = "SealedWhole";
const FURTHER = { enableLmq: true, enableMultiDispatch: true };
const INDEX_SHAPE = { slotCount: 1000, entryCount: 4000 };

interface Walked {
  message: DecodedMessage;
  crc: number;
  checksums: number;
}

function walk(store: string): Walked[] {
  const bytes = fs.readFileSync(join(store, "commitlog", "0".padStart(20, "0")));
  const parts = new RecordParts();
  const found: Walked[] = [];
  for (let at = 0; ; ) {
    const size = recordSizeAt(bytes, at, bytes.length);
    if (size < 0) return found;
    parts.locate(bytes, at);
    const crc = recordCrcState(bytes, at, at + size, parts.propertiesStart);
    const checksums = bytes.toString("latin1", parts.propertiesStart, at + size).split("__CRC32#").length - 1;
    found.push({ message: decodeMessage(bytes, at), crc, checksums });
    at += size;
  }
}

async function send(client: RawClient, fields: Partial<ask.SendFields> = {}, body = "hello") {
  const answer = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, ...fields }), Buffer.from(body));
  const { queueOffset = "", msgId = "" } = answer.extFields;
  return { code: answer.code, queueOffset, msgId };
}

async function setUp(client: RawClient): Promise<void> {
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  await client.ask(ask.CREATE_TOPIC, { ...ask.topicHeader(WHOLE, 1), attributes: "+queue.type=BatchCQ" });
}

async function pullAll(client: RawClient, topic: string): Promise<DecodedMessage[]> {
  const found: DecodedMessage[] = [];
  const end = Number((await client.ask(ask.MAX_OFFSET, { topic, queueId: 0 })).extFields["offset"]);
  for (let offset = 0; offset < end; ) {
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: "g", topic, offset, count: 100 }));
    offset = Number(answer.extFields["nextBeginOffset"]);
    if (answer.code === 0) found.push(...decodeMessages(answer.body));
  }
  return found;
}

const BATCH: readonly ask.BatchMessage[] = ["one", "", "three"].map((keys, i) => ({
  body: Buffer.from(`part ${i}`),
  ...(keys === "" ? {} : { properties: { KEYS: keys, UNIQ_KEY: `U${i}` } }),
}));

test("every record of every kind ends with its checksum", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = {
    enabledAppendPropCRC: true,
    checkCRCOnRead: true,
    messageDelayLevel: "1s",
    flushDiskType: "SYNC_FLUSH",
    ...FURTHER,
  };
  await lab.start({ store, config });
  const client = await lab.raw();
  await setUp(client);
  for (const properties of [{}, { KEYS: "k" }, { TAGS: "a", WAIT: "false" }]) t.is((await send(client, { properties })).code, 0);
  t.is((await send(client, { propertiesText: "KEYS\u0001open" })).code, 0);
  t.is((await send(client, { properties: { INNER_MULTI_DISPATCH: "%LMQ%a,%LMQ%b" } }, "further")).code, 0);
  // As a message comes that was read from such a store.
  t.is((await send(client, { propertiesText: "__CRC32#\u00010000000000\u0002KEYS\u0001again\u0002" })).code, 0);
  const batch = await client.ask(ask.SEND_BATCH, ask.sendHeaderV2({ topic: TOPIC, batch: true }), ask.batchBody(BATCH));
  t.is(batch.code, 0);
  const header = ask.sendHeaderV2({ topic: WHOLE, batch: true, properties: { UNIQ_KEY: "W" } });
  t.is((await client.ask(ask.SEND_BATCH, header, ask.batchBody(BATCH))).code, 0);
  t.is((await send(client, { topic: WHOLE }, "single")).code, 0);
  t.is((await send(client, { properties: { DELAY: "1" } }, "later")).code, 0);
  t.is((await send(client, { properties: { TIMER_DELAY_MS: "1500" } }, "timed")).code, 0);
  const half = await send(client, { sysFlag: 4, properties: { TRAN_MSG: "true", PGROUP: "p", UNIQ_KEY: "T" } }, "half");
  const place = { tranStateTableOffset: half.queueOffset, commitLogOffset: physicalOffsetOf(half.msgId)! };
  const end = { producerGroup: "p", ...place, commitOrRollback: 8, fromTransactionCheck: false, msgId: "M" };
  t.is((await client.ask(RequestCode.END_TRANSACTION, end)).code, 0);
  const first = (await pullAll(client, TOPIC))[0]!;
  const back = { offset: first.physicalOffset, group: "g", delayLevel: 1, originMsgId: "", originTopic: TOPIC };
  t.is((await client.ask(ask.SEND_BACK, { ...back, maxReconsumeTimes: 3 })).code, 0);

  // What is due later has been stored anew, and so has what was sent back.
  await until(async () => {
    const bodies = new Set((await pullAll(client, TOPIC)).map(({ body }) => body.toString()));
    return ["later", "timed", "half", "part 2"].every((body) => bodies.has(body));
  });
  await until(async () => (await pullAll(client, "%RETRY%g")).length === 1);
  const ids = batch.extFields["msgId"]!.split(",");
  for (const [i, id] of ids.entries()) {
    const offset = physicalOffsetOf(id)!;
    t.is(decodeMessage((await client.ask(ask.VIEW_MESSAGE, { offset })).body).body.toString(), `part ${i}`);
  }
  t.is(ids.length, 3);
  t.is((await pullAll(client, WHOLE)).length, 2);
  t.is((await pullAll(client, "%LMQ%b")).length, 1);
  await lab.broker.close();

  const records = walk(store);
  t.true(records.length > 15);
  t.deepEqual(
    records.filter(({ crc, checksums }) => crc !== RECORD_CRC_RIGHT || checksums !== 1).map(({ message }) => message),
    [],
  );
  const report = await verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape: INDEX_SHAPE });
  t.true(report.isClean, JSON.stringify(report.findings));
});

test("properties that leave the checksum no room are refused, and one byte less is stored", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { enabledAppendPropCRC: true } });
  const client = await lab.raw();
  await setUp(client);
  const text = (size: number): string => `a\u0001${"x".repeat(size - 3)}\u0002`;
  t.is((await send(client, { propertiesText: text(32_767) })).code, 13);
  t.is((await send(client, { propertiesText: text(32_749) })).code, 13);
  t.is((await send(client, { propertiesText: text(32_000) })).code, 0);
});

test("a changed header field costs that message alone, with each way of checking", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { enabledAppendPropCRC: true } });
  const client = await lab.raw();
  await setUp(client);
  for (let i = 0; i < 5; i++) t.is((await send(client, { properties: { KEYS: `k${i}` } }, `body ${i}`)).code, 0);
  await until(async () => (await pullAll(client, TOPIC)).length === 5);
  await lab.broker.close();
  const file = join(store, "commitlog", "0".padStart(20, "0"));
  const at = walk(store)[2]!.message.physicalOffset;
  const fd = fs.openSync(file, "r+");
  fs.writeSync(fd, Buffer.from([0x7f]), 0, 1, at + 44); // Its born time.
  fs.closeSync(fd);
  const report = await verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape: INDEX_SHAPE });
  t.deepEqual(
    report.findings.filter(({ kind }) => kind.startsWith("record-")).map(({ kind, physicalOffset }) => [kind, physicalOffset]),
    [["record-checksum", at]],
  );
  fs.rmSync(join(store, "consumequeue"), { recursive: true });
  await lab.start({ store, config: { forceVerifyPropCRC: true } });
  const later = await lab.raw();
  await until(async () => (await pullAll(later, TOPIC)).length === 4);
  t.is((await send(later, {}, "after")).code, 0);
  await lab.broker.close();
  t.deepEqual(
    walk(store)
      .slice(-1)
      .map(({ message, crc }) => [message.body.toString(), crc]),
    [["after", RECORD_CRC_NONE]],
  );
});
