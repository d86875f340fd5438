import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { SendBack } from "../../../src/broker/later/send-back.ts";
import { TimerParking } from "../../../src/broker/later/timer-parking.ts";
import type { OutgoingMessage } from "../../../src/broker/message-store.ts";
import { TIMER_TOPIC } from "../../../src/broker/topics/system-topics.ts";
import { SCHEDULE_TOPIC } from "../../../src/format/names.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import { type HeaderValues, request } from "../../../src/format/remoting/remoting-command.ts";
import { FakeGroups, FakeTopics } from "../fake-lookups.ts";
import { FakeChannel, FakeStore } from "../fake-store.ts";

const CODE = 36;
const NOW_MS = 1_000_000;

function rig() {
  const store = new FakeStore();
  const topics = new FakeTopics();
  const groups = new FakeGroups();
  let isWritable = true;
  for (const topic of ["T", "%RETRY%g", "%DLQ%g"]) {
    topics.add(topic, 1);
    store.ensureQueues(topic, 1);
  }
  store.ensureQueues(SCHEDULE_TOPIC, 18);
  store.ensureQueues(TIMER_TOPIC, 1);
  const settings = { timerWheelEnable: true, timerMaxDelaySec: 259_200, timerPrecisionMs: 1000 };
  const parking = new TimerParking({ settings, clock: new VirtualClock(NOW_MS) });
  const sendBack = new SendBack({ topics, groups, store, delayLevelCount: 18, parking, isWritable: () => isWritable });
  const handlers = sendBack.handlers();
  return {
    store,
    topics,
    groups,
    forbidWrites: () => {
      isWritable = false;
    },
    /** Stores a message as a producer sent it, or as it came back `reconsumeTimes` times. */
    async stored(changes: Partial<OutgoingMessage> = {}): Promise<number> {
      const message: OutgoingMessage = {
        topic: "T",
        queueId: 0,
        flag: 9,
        sysFlag: 1,
        bornTimestamp: 77,
        bornHost: "10.0.0.1:1000",
        reconsumeTimes: 0,
        preparedTransactionOffset: 0,
        properties: new Map([
          ["TAGS", "a"],
          ["KEYS", "k"],
        ]),
        body: Buffer.from("body"),
        ...changes,
      };
      return (await store.append(message)).physicalOffset;
    },
    /** The answer and, where one was stored, the message. */
    async back(header: HeaderValues, version = 513): Promise<{ code: number; message: OutgoingMessage | undefined }> {
      const before = store.appended.length;
      const command = { ...request(CODE, 1, { group: "g", delayLevel: 0, ...header }), version };
      const answer = await handlers.get(CODE)!(command, new FakeChannel());
      return { code: answer!.code, message: store.appended[before] };
    },
  };
}

test("goes to the retry topic by way of a delay, with all that it was", async (t) => {
  const { stored, back } = rig();
  const offset = await stored();
  const { code, message } = await back({ offset, originMsgId: "ID" });
  t.is(code, 0);
  t.like(message, { topic: SCHEDULE_TOPIC, queueId: 2, flag: 9, sysFlag: 1, bornTimestamp: 77, bornHost: "10.0.0.1:1000" });
  t.is(message?.reconsumeTimes, 1);
  t.is(message?.body.toString(), "body");
  t.deepEqual(Object.fromEntries(message!.properties), {
    TAGS: "a",
    KEYS: "k",
    DELAY: "3",
    REAL_TOPIC: "%RETRY%g",
    REAL_QID: "0",
    RETRY_TOPIC: "T",
    ORIGIN_MESSAGE_ID: offsetMessageId("10.1.2.3:10911", offset),
    WAIT: "false",
  });
});

test("each try waits longer, the consumer's own level goes first, the last level holds for all beyond", async (t) => {
  const { stored, back, groups } = rig();
  groups.add("g", { retryMaxTimes: 100 });
  for (const [reconsumeTimes, delayLevel, wanted] of [
    [0, 0, 3],
    [1, 0, 4],
    [15, 0, 18],
    [50, 0, 18],
    [5, 2, 2],
    [5, 99, 18],
  ] as const) {
    const { message } = await back({ offset: await stored({ reconsumeTimes }), delayLevel });
    t.is(message?.queueId, wanted - 1, `try ${reconsumeTimes}, level ${delayLevel}`);
    t.is(message?.properties.get("DELAY"), String(wanted));
  }
});

test("a message that came back keeps its first topic and id, and takes no old place along", async (t) => {
  const { stored, back } = rig();
  const offset = await stored({
    topic: "%RETRY%g",
    reconsumeTimes: 1,
    properties: new Map([
      ["RETRY_TOPIC", "first"],
      ["ORIGIN_MESSAGE_ID", "first id"],
      ["DELAY", "3"],
      ["REAL_TOPIC", "old"],
      ["REAL_QID", "7"],
    ]),
  });
  const { message } = await back({ offset, originMsgId: "later id" });
  t.like(Object.fromEntries(message!.properties), {
    RETRY_TOPIC: "first",
    ORIGIN_MESSAGE_ID: "first id",
    DELAY: "4",
    REAL_TOPIC: "%RETRY%g",
    REAL_QID: "0",
  });
});

test("after the last try, or on demand, it goes to the dead letters at once", async (t) => {
  const { stored, back, groups } = rig();
  groups.add("g", { retryMaxTimes: 2 });
  const isDead = async (reconsumeTimes: number, header: HeaderValues, version?: number): Promise<boolean> => {
    const { code, message } = await back({ offset: await stored({ reconsumeTimes }), ...header }, version);
    t.is(code, 0);
    return message?.topic === "%DLQ%g" && message.queueId === 0 && message.reconsumeTimes === reconsumeTimes + 1;
  };
  t.false(await isDead(1, {}));
  t.true(await isDead(2, {}));
  t.true(await isDead(0, { delayLevel: -1 }));
  t.true(await isDead(1, { maxReconsumeTimes: 1 }));
  t.false(await isDead(5, { maxReconsumeTimes: 6 }), "the consumer's own limit goes before the group's");
  t.false(await isDead(1, { maxReconsumeTimes: 1 }, 120), "senders that old mean nothing by it");
});

test("a group without retry queues drops what comes back", async (t) => {
  const { stored, back, groups } = rig();
  groups.add("g", { retryQueueNums: 0 });
  t.deepEqual(await back({ offset: await stored() }), { code: 0, message: undefined });
});

test("refusals", async (t) => {
  const { stored, back, store, forbidWrites } = rig();
  const offset = await stored();
  t.is((await back({ group: "none", offset })).code, 26);
  t.is((await back({ offset: 12_345 })).code, 1);
  store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
  t.is((await back({ offset })).code, 1, "the consumer sends it back another way, or again");
  store.failure = undefined;
  forbidWrites();
  t.is((await back({ offset })).code, 16);
  await t.throwsAsync(back({ offset: "x" }), { code: "MILLRACE_PROTOCOL" });
});

test("a retry policy of the group's own decides how long each try waits, unless the consumer does", async (t) => {
  const { stored, back, groups } = rig();
  const waits = async (policy: Record<string, unknown>, header: HeaderValues = {}): Promise<unknown[]> => {
    groups.add("g", { groupRetryPolicy: policy });
    const all: unknown[] = [];
    for (const reconsumeTimes of [0, 1, 2, 15]) {
      const properties = new Map([["TIMER_OUT_MS", "5"], ["TIMER_DELAY_SEC", "9"]]); // biome-ignore format: a table.
      const { message } = await back({ offset: await stored({ reconsumeTimes, properties }), ...header });
      t.is(message!.properties.get("REAL_TOPIC"), "%RETRY%g");
      t.false(message!.properties.has("TIMER_DELAY_SEC"), "of the time before");
      const isTimed = message!.topic === TIMER_TOPIC;
      all.push(isTimed ? Number(message!.properties.get("TIMER_OUT_MS")) + 1000 - NOW_MS : message!.queueId + 1);
    }
    return all;
  };
  const exponentialRetryPolicy = { initial: 2000, max: 60_000, multiplier: 3 };
  t.deepEqual(await waits({ type: "EXPONENTIAL", exponentialRetryPolicy }), [2000, 6000, 18_000, 60_000]);
  t.deepEqual(await waits({ type: "EXPONENTIAL", exponentialRetryPolicy: {} }), [5000, 10_000, 20_000, 7_200_000]);
  const customizedRetryPolicy = { next: [1000, 2000, 7000, 9000] };
  t.deepEqual(await waits({ type: "CUSTOMIZED", customizedRetryPolicy }), [7000, 9000, 9000, 9000]);
  t.deepEqual(await waits({ type: "CUSTOMIZED", customizedRetryPolicy }, { delayLevel: 2 }), [2, 2, 2, 2]);
  t.deepEqual(await waits({ type: "EXPONENTIAL" }), [3, 4, 5, 18], "without figures the levels count");
  const far = { type: "CUSTOMIZED", customizedRetryPolicy: { next: [400_000_000] } };
  t.deepEqual(await waits(far), [3, 4, 5, 18], "further than timers reach");
});
