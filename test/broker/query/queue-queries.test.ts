import test from "ava";
import type { ConsumerGroupState, ConsumerLookup } from "../../../src/broker/contracts.ts";
import type { ConsumerFilter } from "../../../src/broker/groups/consumer-filters.ts";
import type { OutgoingMessage } from "../../../src/broker/message-store.ts";
import { QueueQueries } from "../../../src/broker/query/queue-queries.ts";
import { decodeMessages } from "../../../src/format/record/message.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import { ask, FakeTopics } from "../fake-lookups.ts";
import { FakeStore } from "../fake-store.ts";

const NOBODY: ConsumerLookup = { group: () => undefined, all: () => [], client: () => undefined };

function rig() {
  const store = new FakeStore();
  const topics = new FakeTopics();
  for (const topic of ["T", "U"]) {
    topics.add(topic, 1);
    store.ensureQueues(topic, 1);
  }
  const settings = { defaultQueryMaxNum: 32, maxMsgsNumBatch: 64 };
  const world = { online: undefined as ConsumerGroupState | undefined, filter: undefined as ConsumerFilter | undefined };
  const consumers = { ...NOBODY, group: () => world.online };
  const filters = { get: () => world.filter };
  const queries = new QueueQueries({ brokerName: "b", topics, consumers, filters, store, settings });
  const handlers = queries.handlers();
  return {
    store,
    settings,
    world,
    async send(topic: string, body: string, properties: Record<string, string>): Promise<void> {
      const message: OutgoingMessage = {
        topic,
        queueId: 0,
        flag: 0,
        sysFlag: 0,
        bornTimestamp: 0,
        bornHost: "10.0.0.1:1",
        reconsumeTimes: 0,
        preparedTransactionOffset: 0,
        properties: new Map(Object.entries(properties)),
        body: Buffer.from(body),
      };
      await store.append(message);
    },
    byKey: (header: Record<string, string | number>): Promise<RemotingCommand> => {
      const usual = { topic: "T", maxNum: 32, beginTimestamp: 0, endTimestamp: 9e15 };
      return ask(handlers, RequestCode.QUERY_MESSAGE, { ...usual, ...header });
    },
    ask: (code: number, header: Record<string, string | number>) => ask(handlers, code, header),
  };
}

function bodies(answer: RemotingCommand): string[] {
  return decodeMessages(answer.body).map(({ body }) => body.toString());
}

// FakeStore's index finds every record, as if all keys had one hash.
test("what only has the hash of the key is left out", async (t) => {
  const { send, byKey } = rig();
  await send("T", "1", { KEYS: "k other", UNIQ_KEY: "u1" });
  await send("T", "2", { KEYS: "kk", UNIQ_KEY: "u2", TAGS: "k" });
  await send("U", "3", { KEYS: "k" });
  await send("T", "4", { KEYS: "k" });
  t.deepEqual(bodies(await byKey({ key: "k" })), ["1", "4"], "in the order in which they were sent");
  t.deepEqual(bodies(await byKey({ key: "other" })), ["1"]);
  t.deepEqual(bodies(await byKey({ key: "u2" })), ["2"]);
  t.deepEqual(bodies(await byKey({ key: "u2", _UNIQUE_KEY_QUERY: "true" })), ["2"]);
  t.deepEqual(bodies(await byKey({ key: "k", indexType: "T" })), ["2"]);
  const none = await byKey({ key: "none" });
  t.is(none.code, 22);
  t.like(none.extFields, { indexLastUpdateTimestamp: "0", indexLastUpdatePhyoffset: "0" });
});

test("what is looked for is limited by the request and by the broker", async (t) => {
  const { byKey, store, settings } = rig();
  const asked: number[] = [];
  store.queryIndex = (_topic, _key, maxCount) => {
    asked.push(maxCount);
    return { physicalOffsets: [], lastUpdateTimestampMs: 0, lastUpdatePhysicalOffset: 0 };
  };
  await byKey({ key: "k", maxNum: 5 });
  await byKey({ key: "k", maxNum: 5000 });
  await byKey({ key: "k", maxNum: -1 });
  await byKey({ key: "k", maxNum: 1, _UNIQUE_KEY_QUERY: "true" });
  settings.maxMsgsNumBatch = 3;
  await byKey({ key: "k", maxNum: 5 });
  t.deepEqual(asked, [5, 64, 1, 32, 3]);
});

test("a queue's entries tell whether they pass the group's expression", async (t) => {
  const { send, ask, world } = rig();
  for (const amount of ["5", "50"]) await send("T", amount, { amount });
  const subscription = { topic: "T", subString: "amount > 10", expressionType: "SQL92", subVersion: 1 };
  world.online = {
    group: "g",
    consumeType: "",
    messageModel: "CLUSTERING",
    consumeFromWhere: "",
    subscriptions: new Map([["T", { ...subscription, tagsSet: [], codeSet: [], classFilterMode: false }]]),
    clients: new Map(),
  };
  const look = async (): Promise<{ filterData?: string; queueData: { eval: boolean }[] }> => {
    const header = { topic: "T", queueId: 0, index: 0, count: 9, consumerGroup: "g" };
    return JSON.parse((await ask(RequestCode.QUERY_CONSUME_QUEUE, header)).body.toString());
  };
  t.deepEqual((await look()).queueData.map((entry) => entry.eval), [false, false], "an expression that was not registered"); // biome-ignore format: one claim.
  world.filter = {
    consumerGroup: "g",
    topic: "T",
    expression: "amount > 10",
    expressionType: "SQL92",
    bornTime: 1,
    deadTime: 0,
    bloomFilterData: { bitNum: 112, bitPos: [1, 2, 3] },
    clientVersion: 1,
  };
  const { queueData, filterData } = await look();
  t.deepEqual(queueData.map((entry) => entry.eval), [false, true]); // biome-ignore format: one claim.
  t.like(JSON.parse(filterData!), { expression: "amount > 10", dead: false });
});

test("a queue whose oldest messages are gone", async (t) => {
  const { send, store, ask } = rig();
  for (const body of ["1", "2", "3"]) {
    store.nowMs += 1000;
    await send("T", body, {});
  }
  store.setMinQueueOffset("T", 0, 1);
  const queue = { topic: "T", queueId: 0 };
  const field = async (code: number, name: string): Promise<number> => Number((await ask(code, queue)).extFields[name]);
  t.is(await field(RequestCode.GET_MIN_OFFSET, "offset"), 1);
  t.is(await field(RequestCode.GET_MAX_OFFSET, "offset"), 3);
  t.is(await field(RequestCode.GET_EARLIEST_MSG_STORETIME, "timestamp"), 1_002_000);
  const stats = (await ask(RequestCode.GET_TOPIC_STATS_INFO, { topic: "T" })).body.toString();
  const row = '{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":1003000,"maxOffset":3,"minOffset":1}';
  t.is(stats, `{"offsetTable":{${row}},"topicPutTps":0}`);
  const entries = await ask(RequestCode.QUERY_CONSUME_QUEUE, { ...queue, index: 1, count: 5000 });
  t.is((JSON.parse(entries.body.toString()) as { queueData: unknown[] }).queueData.length, 2);
  t.is((await ask(RequestCode.QUERY_CONSUME_QUEUE, { ...queue, index: 0, count: 5 })).body.length, 0, "gone");
});
