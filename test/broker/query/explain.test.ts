// Goal: what the end-to-end test cannot bring about quickly: deleted messages, halves, broadcasting, an id that only looks like one.
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import type { ConsumerGroupState } from "../../../src/broker/contracts.ts";
import type { OrderPlace } from "../../../src/broker/pop/order-info.ts";
import type { Popped } from "../../../src/broker/pop/pop.ts";
import { Explain } from "../../../src/broker/query/explain.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import type { Explanation } from "../../../src/format/remoting/explanation.ts";
import { OwnRequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import type { HeaderValues, RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import { ask, bodyOf, FakeGroups, FakeTopics, NO_FILTERS } from "../fake-lookups.ts";
import { FakeStore } from "../fake-store.ts";

function rig() {
  const store = new FakeStore();
  const topics = new FakeTopics();
  const groups = new FakeGroups();
  for (const topic of ["T", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "rmq_sys_wheel_timer", "%RETRY%g_T"]) {
    topics.add(topic, 1);
    store.ensureQueues(topic, 1);
  }
  groups.find("g");
  const world = {
    committed: -1,
    online: undefined as ConsumerGroupState | undefined,
    popped: undefined as Popped | undefined,
    inOrder: undefined as OrderPlace | undefined,
  };
  const explain = new Explain({
    brokerName: "b",
    topics,
    groups,
    consumers: { group: () => world.online, all: () => [], client: () => undefined },
    filters: NO_FILTERS,
    offsets: { get: () => world.committed, pullOffset: () => 0, groupsOf: () => ["g"] },
    locks: { holder: () => undefined },
    schedule: { nextOffset: () => 0 },
    pop: { popped: () => world.popped, poppedInOrder: () => world.inOrder },
    store,
    clock: new VirtualClock(1_000_000),
  });
  const put = async (topic: string, properties: Readonly<Record<string, string>>, body = "x"): Promise<string> => {
    const { physicalOffset } = await store.append({
      topic,
      queueId: 0,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: 1,
      bornHost: "10.0.0.1:1",
      reconsumeTimes: topic.startsWith("%RETRY%") ? 1 : 0,
      preparedTransactionOffset: 0,
      properties: new Map(Object.entries(properties)),
      body: Buffer.from(body),
    });
    return offsetMessageId("10.1.2.3:10911", physicalOffset);
  };
  const answer = (header: HeaderValues): Promise<RemotingCommand> =>
    ask(explain.handlers(), OwnRequestCode.EXPLAIN_MESSAGE, header);
  const states = async (msgId: string): Promise<string[]> =>
    (JSON.parse(bodyOf(await answer({ msgId, group: "g" }))) as Explanation).findings.map(({ state }) => state);
  return { store, world, put, answer, states };
}

test("a message below the queue's first offset", async (t) => {
  const { store, put, states, world } = rig();
  const id = await put("T", { UNIQ_KEY: "k1" });
  t.deepEqual(await states(id), ["stored", "waiting"]);
  store.setMinQueueOffset("T", 0, 1);
  t.deepEqual(await states(id), ["stored", "below-min-offset"]);
  world.committed = 1;
  t.deepEqual(await states(id), ["stored", "acked"], "the group had it before it went");
});

test("half of a transaction, until its message is there", async (t) => {
  const { put, states } = rig();
  const id = await put("RMQ_SYS_TRANS_HALF_TOPIC", { UNIQ_KEY: "k1", REAL_TOPIC: "T", PGROUP: "p" });
  t.deepEqual(await states(id), ["transaction-undecided"]);
  await put("T", { UNIQ_KEY: "k1" });
  t.deepEqual(await states(id), ["stored", "waiting"]);
  t.deepEqual(await states("k1"), ["stored", "waiting"]);
});

test("a timed message, its recall, its delivery", async (t) => {
  const { put, states, answer } = rig();
  const parked = { UNIQ_KEY: "k1", REAL_TOPIC: "T", TIMER_OUT_MS: "1500000" };
  const id = await put("rmq_sys_wheel_timer", parked);
  t.deepEqual(await states(id), ["delayed"]);
  const [waits] = (JSON.parse(bodyOf(await answer({ msgId: "k1" }))) as Explanation).findings;
  t.like(waits, { until: 1_500_000, text: "delayed since 1970-01-01T00:16:40.000Z: goes to T at 1970-01-01T00:25:00.000Z" });
  await put("rmq_sys_wheel_timer", { ...parked, TIMER_DEL_UNIQKEY: "T+k1" });
  t.deepEqual(await states(id), ["recalled"]);
  t.deepEqual(await states("k1"), ["recalled"]);
  await put("T", { UNIQ_KEY: "k1" });
  t.deepEqual(await states("k1"), ["stored", "waiting"], "the recall came too late");
});

test("half of a transaction that was rolled back", async (t) => {
  const { put, states } = rig();
  const id = await put("RMQ_SYS_TRANS_HALF_TOPIC", { UNIQ_KEY: "k1", REAL_TOPIC: "T", PGROUP: "p" });
  await put("RMQ_SYS_TRANS_OP_HALF_TOPIC", { TAGS: "d" }, "7,1,");
  t.deepEqual(await states(id), ["transaction-undecided"], "the marks are of others");
  await put("RMQ_SYS_TRANS_OP_HALF_TOPIC", { TAGS: "d" }, "2,0,");
  t.deepEqual(await states(id), ["transaction-rolled-back"]);
});

test("popped, come back, popped again", async (t) => {
  const { put, states, answer, world } = rig();
  const id = await put("T", { UNIQ_KEY: "k1" });
  world.committed = 1;
  world.popped = { untilMs: 1_060_000, holder: "10.0.0.7:4711", isAcked: false, failedTimes: 0 };
  const { findings } = JSON.parse(bodyOf(await answer({ msgId: id, group: "g" }))) as Explanation;
  t.like(findings[1], { state: "invisible", clientId: "10.0.0.7:4711", until: 1_060_000 });
  world.popped = { ...world.popped, isAcked: true };
  t.deepEqual(await states(id), ["stored", "acked"], "its neighbours are still invisible");
  world.popped = { untilMs: 999_000, holder: "", isAcked: false, failedTimes: 2 };
  const late = (JSON.parse(bodyOf(await answer({ msgId: id, group: "g" }))) as Explanation).findings[1];
  t.like(late, { state: "reviving", until: 999_000 });
  t.regex(late!.text, /^popped by a consumer and not acked until .* putting it back has failed 2 times$/);
  world.popped = undefined;
  await put("%RETRY%g_T", { UNIQ_KEY: "k1", ORIGIN_GROUP: "g" });
  t.deepEqual(await states(id), ["stored", "acked"], "the group has committed the first of its retry topic");
  const again = JSON.parse(bodyOf(await answer({ msgId: "k1", group: "g", topic: "T" }))) as Explanation;
  t.is(again.message.topic, "T");
  t.regex(again.findings[1]!.text, /^retry 1 of 16: acked/);
});

test("popped in order: invisible, acked before others, due again, and what waits behind", async (t) => {
  const { put, answer, world } = rig();
  const id = await put("T", { UNIQ_KEY: "k1" });
  world.committed = 0;
  const finding = async (place: OrderPlace) => {
    world.inOrder = place;
    return (JSON.parse(bodyOf(await answer({ msgId: id, group: "g" }))) as Explanation).findings[1]!;
  };
  const popped = { isPopped: true, isAcked: false, untilMs: 1_060_000, before: 2 };
  const held = await finding(popped);
  t.like(held, { state: "invisible", until: 1_060_000 });
  t.regex(held.text, /in order, popped 2 times before, and not acked.* nothing behind it$/);
  t.like(await finding({ ...popped, isAcked: true }), { state: "acked" });
  t.regex((await finding({ ...popped, untilMs: 999_000 })).text, /comes again with the next pop$/);
  t.like(await finding({ ...popped, isPopped: false }), { state: "waiting", until: 1_060_000 });
  t.regex((await finding({ ...popped, isPopped: false, untilMs: 0 })).text, /^waits to be pulled/);
});

test("a group that broadcasts keeps no offsets", async (t) => {
  const { put, states, world } = rig();
  const id = await put("T", { UNIQ_KEY: "k1" });
  world.online = {
    group: "g",
    consumeType: "",
    messageModel: "BROADCASTING",
    consumeFromWhere: "",
    subscriptions: new Map(),
    clients: new Map(),
  };
  t.deepEqual(await states(id), ["stored", "not-subscribed"]);
});

test("an id of another broker, and one that is none", async (t) => {
  const { put, answer } = rig();
  await put("T", { UNIQ_KEY: "k1" });
  t.is((await answer({ msgId: offsetMessageId("10.9.9.9:10911", 0) })).code, 22);
  t.is((await answer({ msgId: "k2" })).code, 22);
  await t.throwsAsync(answer({}), { code: "MILLRACE_PROTOCOL" });
});
