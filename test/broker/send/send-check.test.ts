import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { SubscriptionGroups } from "../../../src/broker/groups/subscription-groups.ts";
import type { OutgoingMessage } from "../../../src/broker/message-store.ts";
import { SendCheck, type SendCheckSettings } from "../../../src/broker/send/send-check.ts";
import { SendResponses } from "../../../src/broker/send/send-responses.ts";
import { SpecialSends, type SpecialSendsOptions } from "../../../src/broker/send/special-send.ts";
import { Topics } from "../../../src/broker/topics/topics.ts";
import { physicalOffsetOf } from "../../../src/format/record/message-id.ts";
import { encodeProperties } from "../../../src/format/record/properties.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeChannel, FakeStore, FakeTables } from "../fake-store.ts";
import { TOPIC_SETTINGS } from "../topic-settings.ts";

interface Change {
  settings?: Partial<SendCheckSettings>;
  specials?: Partial<SpecialSendsOptions>;
  rejectTransactionMessage?: boolean;
  autoCreateGroups?: boolean;
}

function rig(t: ExecutionContext, change: Change = {}) {
  const directory = mkdtempSync(join(tmpdir(), "sends-"));
  const store = new FakeStore();
  const clock = new VirtualClock(5000);
  const shared = { clock, log: silentLog };
  const topics = new Topics({
    ...shared,
    file: new ConfigFile(join(directory, "topics.json")),
    settings: TOPIC_SETTINGS,
    store,
    tables: new FakeTables(),
    onChanged: () => {},
    onDeleted: () => {},
    groupsOf: () => [],
    storedTopics: () => [],
  });
  topics.load();
  const groups = new SubscriptionGroups({
    ...shared,
    file: new ConfigFile(join(directory, "groups.json")),
    autoCreate: change.autoCreateGroups ?? true,
    onChanged: () => {},
    onDeleted: () => {},
  });
  groups.load();
  t.teardown(async () => {
    await Promise.all([topics.save(), groups.save()]);
    rmSync(directory, { recursive: true });
  });
  const responses = new SendResponses({ regionId: "R", traceOn: true, storeHost: () => "10.1.2.3:10911" });
  const specials = new SpecialSends({
    settings: {
      brokerIP1: "10.1.2.3",
      brokerName: "b",
      brokerClusterName: "c",
      regionId: "R",
      traceOn: true,
      enabledAppendPropCRC: change.settings?.enabledAppendPropCRC ?? false,
      rejectTransactionMessage: change.rejectTransactionMessage ?? false,
      delayLevelCount: 18,
    },
    responses,
    topics,
    groups,
    store,
    isGroupLocked: () => false,
    newUniqueKey: () => "NEW_KEY",
    timer: () => ({ code: 1, remark: "off" }),
    ...change.specials,
  });
  const settings = {
    brokerIP1: "10.1.2.3",
    brokerPermission: 6,
    startAcceptSendRequestTimeStamp: 0,
    enabledAppendPropCRC: false,
    maxMessageSize: 1000,
    ...change.settings,
  };
  const check = new SendCheck({ ...shared, settings, topics, groups, specials, responses });
  const channel = new FakeChannel();
  async function send(header: HeaderValues = {}, body: Buffer | string = "hello", code: number = RequestCode.SEND_MESSAGE_V2) {
    const command = request(code, 7, code === RequestCode.SEND_MESSAGE ? header : { ...LETTERS, ...header }, Buffer.from(body));
    return check.checkSend(command, channel);
  }
  async function refusal(header: HeaderValues = {}, body: Buffer | string = "hello"): Promise<number> {
    const answer = await send(header, body);
    if (answer === "replay") return -1;
    t.is(answer.extFields["MSG_REGION"], "R", "also on errors");
    t.is(answer.extFields["TRACE_ON"], "true");
    t.is(answer.opaque, 7);
    return answer.code;
  }
  return { store, topics, groups, send, refusal, channel, clock };
}

const LETTERS = { a: "p", b: "T", c: "TBW102", d: 4, e: 1, f: 0, g: 1234, h: 5 };

const properties = (values: Record<string, string>): string => encodeProperties(new Map(Object.entries(values)));

function stored(t: ExecutionContext, answer: RemotingCommand | "replay"): RemotingCommand {
  if (answer === "replay") throw new Error("the request was not stored here");
  t.is(answer.code, 0, answer.remark);
  return answer;
}

test("a plain send creates its topic and is replayed", async (t) => {
  const { send, topics, store } = rig(t);
  t.is(await send(), "replay");
  t.like(topics.get("T"), { readQueueNums: 4, perm: 6 });
  t.is(store.queueCounts.get("T"), 4);
  t.is(store.appended.length, 0);
  const long = {
    producerGroup: "p",
    topic: "U",
    defaultTopic: "TBW102",
    defaultTopicQueueNums: 2,
    queueId: -1,
    sysFlag: 0,
    bornTimestamp: 1,
    flag: 0,
    unitMode: true,
  };
  t.is(await send(long, "x", RequestCode.SEND_MESSAGE), "replay");
  t.like(topics.get("U"), { writeQueueNums: 2, topicSysFlag: 1 });
});

test("checks answer with Apache's codes, in its order", async (t) => {
  const { refusal } = rig(t);
  t.is(await refusal({ b: "a b", e: 99 }), 29);
  t.is(await refusal({ b: "SCHEDULE_TOPIC_XXXX" }), 16);
  t.is(await refusal({ b: "SELF_TEST_TOPIC", e: 99 }), 16);
  t.is(await refusal({ c: "nobody" }, ""), 17);
  t.is(await refusal({ e: 4 }, ""), 29);
  t.is(await refusal({}, ""), 13);
  t.is(await refusal({}, Buffer.alloc(1001)), 13);
  t.is(await refusal({}, Buffer.alloc(1000)), -1);
  t.is(await refusal({ i: "x".repeat(32_768) }), 13);
  t.is(await refusal({ i: "ü".repeat(20_000) }), 13, "bytes count");
  t.is(await refusal({ e: "x" }), 1);
  t.is(await refusal({ a: null }), 1);
  t.is(await refusal({ h: 2 ** 40 }), 1);
  t.is(await rig(t, { settings: { startAcceptSendRequestTimeStamp: 6000 } }).refusal({ b: "a b" }), 1);
});

test("the answer to an unknown topic names it", async (t) => {
  const answer = await rig(t).send({ b: "MY_TOPIC", c: "nobody" });
  t.like(answer, { code: 17, remark: "topic[MY_TOPIC] not exist, apply first please!" });
});

test("a broker without write permission refuses ordered topics only", async (t) => {
  const { refusal, topics } = rig(t, { settings: { brokerPermission: 4 } });
  t.is(await refusal(), -1);
  await topics.put([{ ...topics.get("T")!, order: true }]);
  t.is(await refusal(), 16);
});

test("a delayed message is parked, with what the broker adds", async (t) => {
  const { send, store, channel } = rig(t);
  const answer = stored(t, await send({ i: properties({ DELAY: "3", TAGS: "A", POP_CK: "x" }), f: 1, j: 2 }));
  const [message] = store.appended;
  t.like(message, {
    topic: "SCHEDULE_TOPIC_XXXX",
    queueId: 2,
    flag: 5,
    sysFlag: 1,
    bornTimestamp: 1234,
    reconsumeTimes: 2,
    bornHost: channel.remoteAddress,
  });
  t.deepEqual(Object.fromEntries(message!.properties), {
    DELAY: "3",
    TAGS: "A",
    MSG_REGION: "R",
    TRACE_ON: "true",
    UNIQ_KEY: "NEW_KEY",
    CLUSTER: "c",
    REAL_TOPIC: "T",
    REAL_QID: "1",
  });
  t.is(message!.body.toString(), "hello");
  t.like(answer.extFields, { queueId: "1", queueOffset: "0", transactionId: "NEW_KEY", MSG_REGION: "R", TRACE_ON: "true" });
  t.is(physicalOffsetOf(answer.extFields["msgId"]!), 0);
  stored(t, await send({ i: properties({ DELAY: "99", UNIQ_KEY: "MINE" }) }));
  t.is(store.appended[1]!.queueId, 17, "cut to the highest level");
  t.is(store.appended[1]!.properties.get("UNIQ_KEY"), "MINE");
});

test("a negative delay and other special properties are stored in place", async (t) => {
  const { send, store } = rig(t);
  stored(t, await send({ i: properties({ DELAY: "-1" }) }));
  t.is(stored(t, await send({ i: properties({ _SYS_MSG_PRIORITY_: "9" }) })).extFields["queueId"], "3");
  stored(t, await send({ i: properties({ _SYS_MSG_PRIORITY_: "9", __SHARDINGKEY: "k" }) }));
  stored(t, await send({ i: properties({ TRAN_MSG: "false" }), e: -1 }));
  t.deepEqual(store.appended.map(({ topic, queueId }) => [topic, queueId]).slice(0, 3), [
    ["T", 1],
    ["T", 3],
    ["T", 1],
  ]);
  t.false(store.appended[2]!.properties.has("_SYS_MSG_PRIORITY_"));
});

test("what cannot be held back is refused, not delivered at once", async (t) => {
  const { refusal, store } = rig(t);
  t.is(await refusal({ i: properties({ TIMER_DELAY_SEC: "3" }) }), 1);
  t.is(await refusal({ i: properties({ TIMER_DELIVER_MS: "3" }) }), 1);
  t.is(await refusal({ i: properties({ TRAN_MSG: "true" }), f: 4 }), 16);
  t.is(await refusal({ f: 4 }), 13);
  t.is(await refusal({ f: 0xc }), 13);
  t.is(await refusal({ f: 0x80 }), 13);
  t.is(await refusal({ i: properties({ INNER_NUM: "2" }) }), 13);
  t.deepEqual(store.appended, []);
  t.is(await refusal({ i: properties({ TIMER_DELAY_SEC: "3", DELAY: "1" }) }), 0, "a delay level is stronger");
  t.false(store.appended[0]!.properties.has("TIMER_DELAY_SEC"));
});

test("half and timed messages go through their parkers", async (t) => {
  const park = {
    half: (message: OutgoingMessage) => ({ ...message, topic: "RMQ_SYS_TRANS_HALF_TOPIC", queueId: 0 }),
    timer: () => ({ code: 13, remark: "too far" }),
  };
  const { refusal, store } = rig(t, { specials: park });
  t.is(await refusal({ i: properties({ TRAN_MSG: "true" }), f: 4 }), 0);
  t.is(store.appended[0]!.topic, "RMQ_SYS_TRANS_HALF_TOPIC");
  t.is(await refusal({ i: properties({ TIMER_DELAY_MS: "3" }) }), 13);
  const rejecting = rig(t, { specials: park, rejectTransactionMessage: true });
  t.is(await rejecting.refusal({ i: properties({ TRAN_MSG: "true" }), f: 4 }), 16);
});

test("sends to retry topics", async (t) => {
  const { send, store, topics, refusal } = rig(t);
  const retry = { b: "%RETRY%g", e: 0, c: "nobody", i: properties({ DELAY: "3" }) };
  stored(t, await send({ ...retry, j: 16 }));
  t.like(store.appended[0], { topic: "SCHEDULE_TOPIC_XXXX", queueId: 2, reconsumeTimes: 16 });
  t.like(topics.get("%RETRY%g"), { readQueueNums: 1, perm: 6 });
  stored(t, await send({ ...retry, j: 17 }));
  t.like(store.appended[1], { topic: "%DLQ%g", queueId: 0 });
  t.is(store.appended[1]!.properties.get("DELAY"), "-1");
  stored(t, await send({ ...retry, j: 3, l: 2 }));
  t.is(store.appended[2]!.topic, "%DLQ%g", "the sender's own limit counts");
  t.is(await refusal({ ...retry, f: 0, m: true }, batch(["a", ""])), 13);
  t.is(await rig(t, { autoCreateGroups: false }).refusal(retry), 26);
  const ordered = rig(t, { specials: { isGroupLocked: () => true } });
  stored(t, await ordered.send({ ...retry, j: 0 }));
  t.is(ordered.store.appended[0]!.topic, "%DLQ%g");
});

test("batches", async (t) => {
  const { refusal, send, store } = rig(t);
  const two = batch(["a", ""], ["bb", properties({ TAGS: "A" })]);
  t.is(await refusal({ m: true }, two), -1);
  t.is(await refusal({ m: true }, "no batch at all, but long enough"), 13);
  t.is(await refusal({ m: true }, two.subarray(0, two.length - 1)), 13);
  t.is(await refusal({ m: true }, batch(["a", ""], ["b", properties({ DELAY: "1" })])), 13);
  t.is(await refusal({ m: true }, batch(["a", properties({ TRAN_MSG: "true" })])), 13);
  t.is(await refusal({ m: true, i: properties({ TIMER_DELAY_MS: "1" }) }, two), 13);
  t.is(await refusal({ m: true, f: 4 }, two), 13);
  t.deepEqual(store.appended, []);
  const answer = stored(t, await send({ m: true, j: 1 }, two));
  t.deepEqual(
    store.appended.map(({ body, queueId, reconsumeTimes }) => [body.toString(), queueId, reconsumeTimes]),
    [
      ["a", 1, 1],
      ["bb", 1, 1],
    ],
  );
  t.is(store.appended[1]!.properties.get("TAGS"), "A");
  const ids = answer.extFields["msgId"]!.split(",").map(physicalOffsetOf);
  t.deepEqual(ids, [0, store.queueEntry("T", 1, 1)!.physicalOffset]);
});

test("what the store cannot take", async (t) => {
  const { refusal, store } = rig(t);
  const delayed = { i: properties({ DELAY: "1" }) };
  store.failure = new MillraceError("MILLRACE_STORE_FULL", "disk full");
  t.is(await refusal(delayed), 1);
  store.failure = new MillraceError("MILLRACE_DISK_WATERMARK", "a watermark");
  t.is(await refusal(delayed), 14);
  store.failure = new MillraceError("MILLRACE_STORE_IO", "gone");
  t.is(await refusal(delayed), 14);
  store.failure = new Error("a bug");
  t.is(await refusal(delayed), 1);
  store.failure = undefined;
  t.is(await refusal({ i: properties({ DELAY: "1", x: "y".repeat(32_700) }) }), 13, "with what the broker adds it is too large");
});

function batch(...messages: [body: string, properties: string][]): Buffer {
  return Buffer.concat(
    messages.map(([body, text]) => {
      const head = Buffer.alloc(20);
      head.writeUInt32BE(22 + body.length + text.length, 0);
      head.writeUInt32BE(body.length, 16);
      const size = Buffer.alloc(2);
      size.writeUInt16BE(text.length);
      return Buffer.concat([head, Buffer.from(body), size, Buffer.from(text)]);
    }),
  );
}
