import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Verdict } from "../../src/broker/control-plane.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, type HeaderValues, type RemotingCommand, request } from "../../src/format/remoting/remoting-command.ts";
import { newControlPlane } from "./fake-control-plane.ts";
import { FakeChannel } from "./fake-store.ts";

function rig(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), "control-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const start = () => {
    const { control, values, clock, store, tables, announced } = newControlPlane({ directory });
    control.load();
    const channel = new FakeChannel();
    const ask = (code: number, header: HeaderValues = {}, body: object | string = "", flag = 0): Promise<Verdict> => {
      const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
      return control.onRequest({ ...request(code, 5, header, bytes), flag }, channel);
    };
    return { control, values, clock, store, tables, announced, channel, ask };
  };
  return { start };
}

function answerOf(verdict: Verdict): RemotingCommand {
  if (verdict === undefined || verdict === "replay") throw new Error(`no answer but ${verdict}`);
  return verdict;
}

const TOPIC = {
  topic: "T",
  defaultTopic: "TBW102",
  readQueueNums: 2,
  writeQueueNums: 2,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  order: false,
};
const SEND = {
  producerGroup: "p",
  topic: "T",
  defaultTopic: "TBW102",
  defaultTopicQueueNums: 4,
  queueId: 0,
  sysFlag: 0,
  bornTimestamp: 1,
  flag: 0,
};
const PULL = {
  consumerGroup: "g",
  topic: "T",
  queueId: 0,
  queueOffset: 0,
  maxMsgNums: 1,
  sysFlag: 4,
  commitOffset: 0,
  suspendTimeoutMillis: 0,
  subscription: "*",
  subVersion: 0,
};

test("topics, groups and offsets outlive the process", async (t) => {
  const { start } = rig(t);
  const first = start();
  t.is(answerOf(await first.ask(RequestCode.UPDATE_AND_CREATE_TOPIC, TOPIC)).code, 0);
  const group = { groupName: "g", retryMaxTimes: 3 };
  t.is(answerOf(await first.ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, group)).code, 0);
  const place = { consumerGroup: "g", topic: "T", queueId: 1 };
  t.is(answerOf(await first.ask(RequestCode.UPDATE_CONSUMER_OFFSET, { ...place, commitOffset: 7 })).code, 0);
  first.control.onCommit("g", "T", 0, 9);
  await first.control.close();

  const second = start();
  t.like(second.tables.topics.get("T"), { readQueueNums: 2, perm: 6 });
  t.is(second.store.queueCounts.get("T"), 2);
  t.like(second.tables.groups.get("g"), { retryMaxTimes: 3 });
  for (const [queueId, offset] of [
    [1, "7"],
    [0, "9"],
  ] as const) {
    const answer = answerOf(await second.ask(RequestCode.QUERY_CONSUMER_OFFSET, { ...place, queueId }));
    t.is(answer.extFields["offset"], offset);
  }
  await second.control.close();
});

test("what nobody serves is said so, what goes wrong is said so, and one-way requests hear nothing", async (t) => {
  const { control, ask } = rig(t).start();
  t.like(answerOf(await ask(4242)), { code: 3, remark: " request type 4242 not supported", opaque: 5 });
  t.like(answerOf(await ask(RequestCode.GET_MIN_OFFSET)), { code: 1, remark: "the custom field <topic> is null" });
  t.is(await ask(4242, {}, "", FLAG_ONEWAY), undefined);
  t.is(await ask(RequestCode.GET_MIN_OFFSET, {}, "", FLAG_ONEWAY), undefined);
  t.is(answerOf(await ask(RequestCode.HEART_BEAT, {}, "no JSON")).code, 1);
  await control.close();
});

test("sends and pulls go back to the worker once its tables are right", async (t) => {
  const { control, ask, tables, announced, channel } = rig(t).start();
  t.is(await ask(RequestCode.SEND_MESSAGE, SEND, "x"), "replay");
  t.like(tables.topics.get("T"), { readQueueNums: 4, writeQueueNums: 4, perm: 6 });
  t.is(announced.count, 1, "name servers hear of the new topic");
  t.is(await ask(RequestCode.PULL_MESSAGE, PULL), "replay");
  t.true(tables.groups.has("g"));
  t.is(await ask(RequestCode.SEND_MESSAGE, SEND, "x", FLAG_ONEWAY), "replay", "one-way messages are stored as well");
  control.onClosed(channel);
  await control.close();
});

test("a client that is gone is taken out of its groups", async (t) => {
  const { control, ask, tables, channel } = rig(t).start();
  const heartbeat = {
    clientID: "c",
    producerDataSet: [{ groupName: "p" }],
    consumerDataSet: [
      {
        groupName: "g",
        consumeType: "CONSUME_PASSIVELY",
        messageModel: "CLUSTERING",
        consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
        subscriptionDataSet: [{ topic: "T", subString: "*", tagsSet: [], codeSet: [], subVersion: 1, expressionType: "TAG" }],
      },
    ],
  };
  t.is(answerOf(await ask(RequestCode.HEART_BEAT, {}, heartbeat)).code, 0);
  t.true(tables.groups.get("g")?.hasClients);
  t.true(tables.topics.has("%RETRY%g"));
  control.onClosed(channel);
  t.false(tables.groups.get("g")?.hasClients);
  t.is(answerOf(await ask(RequestCode.GET_PRODUCER_CONNECTION_LIST, { producerGroup: "p" })).code, 1);
  await control.close();
});

test("what an administrator sets takes effect at once", async (t) => {
  const { control, ask, tables, announced } = rig(t).start();
  const set = async (properties: string): Promise<number> => {
    return answerOf(await ask(RequestCode.UPDATE_BROKER_CONFIG, {}, properties)).code;
  };
  await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, TOPIC);
  t.is(await set("autoCreateTopicEnable=false"), 0);
  t.is(answerOf(await ask(RequestCode.SEND_MESSAGE, { ...SEND, topic: "new" }, "x")).code, 17);
  t.is(await set("autoCreateSubscriptionGroup=false"), 0);
  t.is(answerOf(await ask(RequestCode.PULL_MESSAGE, PULL)).code, 26);
  t.is(await set("autoCreateSubscriptionGroup=true\nbrokerPermission=2"), 0);
  t.is(tables.topics.get("T")?.perm, 2, "workers pass pulls on");
  t.is(announced.count, 2, "name servers tell clients");
  t.like(answerOf(await ask(RequestCode.PULL_MESSAGE, PULL)), { code: 16, extFields: { forbiddenType: "1" } });
  t.is(await set("brokerPermission=6"), 0);
  t.is(tables.topics.get("T")?.perm, 6);
  t.is(await ask(RequestCode.PULL_MESSAGE, PULL), "replay");
  await control.close();
});

test("ordered topics are those that the name servers say", async (t) => {
  const { control, ask, tables } = rig(t).start();
  await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, TOPIC);
  control.applyOrderTable(new Map([["T", "b:2"]]));
  t.true(tables.topics.get("T")?.order);
  control.applyOrderTable(new Map());
  t.false(tables.topics.get("T")?.order);
  await control.close();
});
