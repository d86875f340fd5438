import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { Producers } from "../../../src/broker/groups/producers.ts";
import { RequestReply } from "../../../src/broker/send/request-reply.ts";
import { SendResponses } from "../../../src/broker/send/send-responses.ts";
import { physicalOffsetOf } from "../../../src/format/record/message-id.ts";
import { decodeProperties, encodeProperties } from "../../../src/format/record/properties.ts";
import { type HeaderValues, type RemotingCommand, request, response } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeTopics } from "../fake-lookups.ts";
import { FakeChannel, FakeStore } from "../fake-store.ts";

const REPLY = 324;
const REPLY_V2 = 325;
const PUSH = 326;
const TOPIC = "c_REPLY_TOPIC";

function rig() {
  const clock = new VirtualClock(5000);
  const store = new FakeStore();
  const topic = new FakeTopics().add(TOPIC, 1);
  store.ensureQueues(TOPIC, 1);
  store.ensureQueues("SCHEDULE_TOPIC_XXXX", 18);
  const producers = new Producers({ clock, log: silentLog });
  const settings = { regionId: "R", traceOn: true, storeReplyMessageEnable: true, delayLevelCount: 18 };
  const storeHost = () => "10.1.2.3:10911";
  let refusal: { code: number; remark: string } | undefined;
  const replies = new RequestReply({
    settings,
    sendCheck: { checkReply: () => refusal ?? topic },
    responses: new SendResponses({ regionId: "R", traceOn: true, storeHost }),
    producers,
    store,
    storeHost,
    clock,
    log: silentLog,
  });
  const handlers = replies.handlers();
  const asker = new FakeChannel(1);
  asker.answer = (command) => response(command, 0);
  producers.heartbeat("askers", { clientId: "asker", channel: asker, language: "JAVA", version: 513, lastUpdateMs: clock.now() });
  const replier = new FakeChannel(2);
  return {
    store,
    settings,
    asker,
    producers,
    refuse: (code: number) => {
      refusal = { code, remark: "no" };
    },
    async reply(
      properties: Record<string, string>,
      header: HeaderValues = {},
      code: number = REPLY_V2,
    ): Promise<RemotingCommand> {
      const text = encodeProperties(new Map(Object.entries(properties)));
      const all = code === REPLY ? { ...LONG, properties: text, ...header } : { ...LETTERS, i: text, ...header };
      return (await handlers.get(code)!(request(code, 7, all, Buffer.from("answer")), replier))!;
    },
  };
}

const LETTERS = { a: "p", b: TOPIC, c: "TBW102", d: 4, e: 0, f: 1, g: 1234, h: 5, j: 2, k: true };
const LONG = { producerGroup: "p", topic: TOPIC, defaultTopic: "TBW102", defaultTopicQueueNums: 4, queueId: 0, sysFlag: 1, bornTimestamp: 1234, flag: 5, reconsumeTimes: 2, unitMode: true }; // biome-ignore format: one thing.
const TO_ASKER = { REPLY_TO_CLIENT: "asker", CORRELATION_ID: "c-1", MSG_TYPE: "reply" };

for (const code of [REPLY, REPLY_V2]) {
  test(`${code}: whoever asked is handed the reply, which is stored besides`, async (t) => {
    const { reply, asker, store } = rig();
    const answer = await reply(TO_ASKER, {}, code);
    t.is(asker.written.length, 1);
    const pushed = asker.written[0]!;
    const { properties, ...fields } = pushed.extFields;
    t.is(pushed.code, PUSH);
    t.is(pushed.body.toString(), "answer");
    t.deepEqual(
      { ...fields },
      {
        producerGroup: "p",
        topic: TOPIC,
        defaultTopic: "TBW102",
        defaultTopicQueueNums: "4",
        queueId: "0",
        sysFlag: "1",
        bornTimestamp: "1234",
        flag: "5",
        reconsumeTimes: "2",
        unitMode: "true",
        bornHost: "10.9.8.7:5002",
        storeHost: "10.1.2.3:10911",
        storeTimestamp: "5000",
      },
    );
    const added = { MSG_REGION: "R", TRACE_ON: "true" };
    t.deepEqual(Object.fromEntries(decodeProperties(properties!)), { ...TO_ASKER, ...added, PUSH_REPLY_TIME: "5000" });

    t.is(store.appended.length, 1);
    const kept = store.appended[0]!;
    t.like(kept, { topic: TOPIC, queueId: 0, sysFlag: 1, flag: 5, bornTimestamp: 1234, reconsumeTimes: 2 });
    t.deepEqual(Object.fromEntries(kept.properties), { ...TO_ASKER, ...added });
    t.is(answer.code, 0);
    t.like(answer.extFields, { ...added, queueId: "0", queueOffset: "0", transactionId: undefined });
    t.is(physicalOffsetOf(answer.extFields["msgId"]!), 0);
  });
}

test("where replies are not stored the answer has a place all the same, for clients read it", async (t) => {
  const { reply, settings, store, asker } = rig();
  settings.storeReplyMessageEnable = false;
  t.like(await reply(TO_ASKER), { code: 0 });
  t.like((await reply(TO_ASKER)).extFields, { msgId: "0", queueId: "0", queueOffset: "0" });
  t.is((await reply({ ...TO_ASKER, REPLY_TO_CLIENT: "nobody" })).extFields["msgId"], undefined);
  t.is(asker.written.length, 2);
  t.is(store.appended.length, 0);
});

test("a reply that reaches nobody is stored, and said to have failed", async (t) => {
  const { reply, asker, producers, store } = rig();
  const failed = async (properties: Record<string, string>, remark: string): Promise<void> => {
    const before = store.appended.length;
    const answer = await reply(properties);
    t.like(answer, { code: 1, remark });
    t.is(store.appended.length, before + 1);
    t.is(answer.extFields["queueOffset"], String(before));
  };
  await failed({}, "reply message properties[REPLY_TO_CLIENT] is null");
  await failed({ REPLY_TO_CLIENT: "nobody" }, "push reply message fail, channel of <nobody> not found.");
  asker.answer = (command) => response(command, 1, "no");
  await failed(TO_ASKER, "push reply message to asker fail.");
  asker.answer = () => {
    throw new MillraceError("MILLRACE_TIMEOUT", "nobody answers");
  };
  await failed(TO_ASKER, "push reply message to asker fail.");
  producers.channelClosed(asker.id);
  await failed(TO_ASKER, "push reply message fail, channel of <asker> not found.");
});

test("a reply that was handed over is a success even if it cannot be stored", async (t) => {
  const { reply, store, asker } = rig();
  store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
  t.like(await reply(TO_ASKER), { code: 0 });
  t.is(asker.written.length, 1);
});

test("of the flags only those of the body are kept, and a delay holds for the stored copy alone", async (t) => {
  const { reply, store, asker } = rig();
  await reply({ ...TO_ASKER, DELAY: "2", TRAN_MSG: "true" }, { f: 0x104 | 0x80, e: -1 });
  t.is(asker.written[0]?.extFields["queueId"], "-1");
  t.like(store.appended[0], { topic: "SCHEDULE_TOPIC_XXXX", queueId: 1, sysFlag: 0x100 });
});

test("what the checks refuse reaches nobody", async (t) => {
  const { reply, refuse, asker, store } = rig();
  refuse(17);
  const answer = await reply(TO_ASKER);
  t.like(answer, { code: 17, remark: "no" });
  t.like(answer.extFields, { MSG_REGION: "R", TRACE_ON: "true", msgId: undefined });
  t.like(await reply(TO_ASKER, { e: "x" }), { code: 1 });
  t.deepEqual([asker.written.length, store.appended.length], [0, 0]);
});
