import test from "ava";
import type { ConsumerGroupState, OffsetLookup, SubscriptionGroupConfig } from "../../../src/broker/contracts.ts";
import { newGroup } from "../../../src/broker/groups/group-config.ts";
import { PublishedGroups } from "../../../src/broker/groups/published-groups.ts";
import { PullCheck, type PullCheckSettings } from "../../../src/broker/query/pull-check.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, request } from "../../../src/format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../../src/format/topic-config.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { NO_FILTERS, NOT_FILTERING } from "../fake-lookups.ts";
import { FakeChannel, FakeStore, FakeTables } from "../fake-store.ts";

const PULL = {
  consumerGroup: "g",
  topic: "T",
  queueId: 1,
  queueOffset: 0,
  maxMsgNums: 32,
  sysFlag: 2,
  commitOffset: 0,
  suspendTimeoutMillis: 100,
  subVersion: 7,
};
const TOPIC: TopicConfig = {
  topicName: "T",
  readQueueNums: 2,
  writeQueueNums: 4,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  topicSysFlag: 0,
  order: false,
  attributes: {},
};

function rig(change: Partial<PullCheckSettings> = {}) {
  const config: SubscriptionGroupConfig = newGroup("g");
  const topic: TopicConfig = { ...TOPIC };
  const subscription = {
    topic: "T",
    subString: "*",
    tagsSet: [],
    codeSet: [],
    subVersion: 7,
    expressionType: "TAG",
    classFilterMode: false,
  };
  const state: ConsumerGroupState = {
    group: "g",
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
    subscriptions: new Map([["T", subscription]]),
    clients: new Map([[1, { clientId: "x", channel: new FakeChannel(), language: "JAVA", version: 1, lastUpdateMs: 0 }]]),
  };
  const world = { config, topic, subscription, state: state as ConsumerGroupState | undefined, isForbidden: false, reset: -1 };
  const groups = {
    find: (group: string) => (group === "g" ? config : undefined),
    get: (group: string) => (group === "g" ? config : undefined),
    all: () => [config],
    isForbidden: () => world.isForbidden,
  };
  const consumers = {
    group: (group: string) => (group === "g" ? world.state : undefined),
    all: () => [],
    client: () => undefined,
  };
  const offsets: OffsetLookup = {
    get: () => -1,
    commit: () => {},
    groupsOf: () => [],
    topicsOf: () => [],
    removeTopic: () => {},
    removeGroup: () => {},
    pendingReset: () => world.reset,
    takeReset: () => {
      const { reset } = world;
      world.reset = -1;
      return reset;
    },
  };
  const tables = new FakeTables();
  const store = new FakeStore();
  const check = new PullCheck({
    settings: { brokerIP1: "10.1.2.3", brokerPermission: 6, litePullMessageEnable: true, enablePropertyFilter: false, ...change },
    topics: {
      get: (name) => (name === "T" ? topic : undefined),
      all: () => [topic],
      ensure: () => topic,
      serve: () => undefined,
    },
    groups,
    consumers,
    offsets,
    filters: NO_FILTERS,
    published: new PublishedGroups({ groups, consumers, tables, filters: NO_FILTERS, settings: NOT_FILTERING }),
    store,
    compaction: { serve: () => undefined },
    log: silentLog,
  });
  const channel = new FakeChannel();
  const pull = (header: HeaderValues = {}, code: number = RequestCode.PULL_MESSAGE) =>
    check.checkPull(request(code, 7, { ...PULL, ...header }), channel);
  const codeOf = (header: HeaderValues = {}, code?: number): number | "replay" => {
    const answer = pull(header, code);
    return answer === "replay" ? answer : answer.code;
  };
  return { ...world, world, tables, store, pull, codeOf };
}

test("a pull with nothing wrong is replayed, and its group is published by then", (t) => {
  const { codeOf, tables } = rig();
  t.is(codeOf(), "replay");
  t.is(codeOf({}, RequestCode.LITE_PULL_MESSAGE), "replay");
  t.deepEqual(tables.events, ["group g"]);
});

test("broker, group, topic and queue are checked in this order", (t) => {
  t.like(rig({ brokerPermission: 2 }).pull({ consumerGroup: "x" }), { code: 16, extFields: { forbiddenType: "1" } });
  const noLite = rig({ litePullMessageEnable: false });
  t.is(noLite.codeOf({}, RequestCode.LITE_PULL_MESSAGE), 16);
  t.is(noLite.codeOf(), "replay");
  const { codeOf, config, topic, pull } = rig();
  t.is(codeOf({ consumerGroup: "x", topic: "x" }), 26);
  t.like(pull({ topic: "x" }), { code: 17, remark: "topic[x] not exist, apply first please!" });
  t.is(codeOf({ queueId: 2 }), 29);
  t.is(codeOf({ queueId: -1 }), 29);
  topic.perm = 2;
  t.like(pull({ queueId: 9 }), { code: 16, extFields: { forbiddenType: "3" } });
  config.consumeEnable = false;
  t.like(pull({ topic: "x" }), { code: 16, extFields: { forbiddenType: "2" } });
});

test("the subscription of the heart-beats", (t) => {
  const { world, codeOf, pull, config, subscription } = rig();
  t.is(codeOf({ subVersion: 8 }), 25);
  subscription.expressionType = "SQL92";
  t.is(codeOf(), 27);
  world.isForbidden = true;
  t.like(pull(), { code: 16, extFields: { forbiddenType: "5" } });
  config.consumeBroadcastEnable = false;
  world.state = { ...world.state!, messageModel: "BROADCASTING" };
  t.like(pull(), { code: 16, extFields: { forbiddenType: "4" } });
  config.consumeBroadcastEnable = true;
  world.isForbidden = false;
  world.state = { ...world.state, subscriptions: new Map() };
  t.is(codeOf(), 24);
  world.state = { ...world.state, clients: new Map() };
  t.is(codeOf(), 24);
  world.state = undefined;
  t.is(codeOf(), 24);
});

test("a subscription in the request needs no heart-beat", (t) => {
  const { world, codeOf } = rig();
  world.state = undefined;
  const own = (subscription: string | null, expressionType: string | null = null) =>
    codeOf({ sysFlag: 4, subscription, expressionType, subVersion: 99 });
  t.is(own("*"), "replay");
  t.is(own(null), "replay");
  t.is(own("A || B", "TAG"), "replay");
  t.is(own("||"), 23);
  t.is(own("a > 1", "SQL92"), 1);
  t.is(own(null, "SQL92"), 23);
});

test("a pending reset is answered once, with all offsets", (t) => {
  const { world, pull, codeOf, store } = rig();
  store.setMinQueueOffset("T", 1, 3);
  world.reset = 5;
  t.like(pull(), { code: 21, extFields: { nextBeginOffset: "5", minOffset: "3", maxOffset: "0", suggestWhichBrokerId: "0" } });
  t.is(codeOf(), "replay");
  world.reset = 0;
  t.is(codeOf(), 21, "to the very beginning");
});

test("missing and malformed fields are named", (t) => {
  const { pull } = rig();
  t.throws(() => pull({ queueOffset: null }), { message: /queueOffset/ });
  t.throws(() => pull({ commitOffset: "x" }), { message: /commitOffset/ });
});
