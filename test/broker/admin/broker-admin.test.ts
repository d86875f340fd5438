import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { BrokerAdmin } from "../../../src/broker/admin/broker-admin.ts";
import { BrokerStats } from "../../../src/broker/admin/broker-stats.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { ScheduleService } from "../../../src/broker/later/schedule.ts";
import type { ConfigValues } from "../../../src/config/keys.ts";
import { resolveConfig } from "../../../src/config/resolve.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { parseProperties } from "../../../src/format/text/java-properties.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { ask, bodyOf, FakeTopics } from "../fake-lookups.ts";
import { FakeStore } from "../fake-store.ts";

function rig() {
  const values: ConfigValues = { ...resolveConfig([]).values, storePathRootDir: "/", storePathCommitLog: "/" };
  const clock = new VirtualClock(1_000_000_000_000);
  const store = new FakeStore();
  const topics = new FakeTopics();
  topics.add("T", 2);
  store.ensureQueues("T", 2);
  const served = { puts: 0, putBytes: 0, putsFailed: 0, messages: 0, bytes: 0, pullsFound: 0, pullsEmpty: 0 };
  const stats = new BrokerStats({ topics, store, clock, served: () => served, keys: { view: () => undefined } });
  const file = new ConfigFile("/nowhere/delayOffset.json");
  const schedule = new ScheduleService({ store, file, delayLevelsMs: [1000], saveIntervalMs: 1000, clock, log: silentLog });
  const changed: (readonly string[])[] = [];
  const cleaned: string[] = [];
  const admin = new BrokerAdmin({
    values,
    store,
    stats,
    schedule,
    timerInfo: () => ({}),
    retention: { deleteExpiredNow: () => cleaned.push("log"), cleanQueuesNow: () => cleaned.push("queues") },
    clock,
    log: silentLog,
    onChanged: (names) => changed.push(names),
  });
  const handlers = admin.handlers();
  const runtimeInfo = async (): Promise<Record<string, string>> => {
    const { table } = JSON.parse(bodyOf(await ask(handlers, RequestCode.GET_BROKER_RUNTIME_INFO))) as {
      table: Record<string, string>;
    };
    return table;
  };
  return { values, clock, store, handlers, changed, cleaned, served, runtimeInfo };
}

const send = { flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: "10.0.0.1:1", reconsumeTimes: 0, preparedTransactionOffset: 0 };

test("keys that take effect at run time are set, all of a request or none", async (t) => {
  const { values, handlers, changed } = rig();
  const set = (body: string) => ask(handlers, RequestCode.UPDATE_BROKER_CONFIG, {}, body);
  t.is((await set("autoCreateTopicEnable=false\nbrokerPermission = 4")).code, 0);
  t.like(values, { autoCreateTopicEnable: false, brokerPermission: 4 });
  t.deepEqual(changed, [["autoCreateTopicEnable", "brokerPermission"]]);
  for (const [body, code] of [
    ["brokerPermission=6\nnoSuchKey=1", 29],
    ["brokerPermission=6\nautoCreateSubscriptionGroup=perhaps", 29],
    ["brokerPermission=6\nlistenPort=1", 16],
    ["brokerPermission=6\nbrokerConfigPath=/x", 16],
    ["brokerPermission=9", 29],
  ] as const) {
    t.is((await set(body)).code, code, body);
    t.is(values.brokerPermission, 4, body);
  }
  t.is(changed.length, 1);
  t.is((await set(`listenPort=${values.listenPort}`)).code, 0, "naming a key with the value that it has changes nothing");
});

test("the configuration is told as properties, with a version that each change raises", async (t) => {
  const { handlers, clock } = rig();
  const get = async (): Promise<{ counter: number; timestamp: number; table: Map<string, string> }> => {
    const answer = await ask(handlers, RequestCode.GET_BROKER_CONFIG);
    const version = JSON.parse(answer.extFields["version"]!) as { counter: number; timestamp: number };
    return { ...version, table: new Map(parseProperties(bodyOf(answer))) };
  };
  const before = await get();
  t.is(before.table.get("brokerPermission"), "6");
  t.is(before.table.get("brokerClusterName"), "DefaultCluster");
  clock.advance(5000);
  await ask(handlers, RequestCode.UPDATE_BROKER_CONFIG, {}, "brokerPermission=4");
  const after = await get();
  t.is(after.table.get("brokerPermission"), "4");
  t.deepEqual([after.counter - before.counter, after.timestamp - before.timestamp], [1, 5000]);
});

test("figures are texts, true ones, under the names that consoles read", async (t) => {
  const { store, clock, served, runtimeInfo } = rig();
  store.nowMs = clock.now();
  for (let i = 0; i < 20; i++) {
    await store.append({ ...send, topic: "T", queueId: i % 2, properties: new Map(), body: Buffer.from("x") });
  }
  Object.assign(served, { puts: 20, putBytes: 2000, putsFailed: 3, messages: 30, pullsFound: 10, pullsEmpty: 5 });
  clock.advance(10_000);
  const table = await runtimeInfo();
  t.true(Object.values(table).every((value) => typeof value === "string"));
  const rates = (name: string): number[] => table[name]!.split(" ").map(Number);
  t.is(rates("putTps").length, 3, "over 10, 60 and 600 seconds");
  t.is(rates("putTps")[0], 2);
  t.is(rates("getTransferredTps")[0], 3);
  t.is(rates("getFoundTps")[0], 1);
  t.is(rates("getMissTps")[0], 0.5);
  t.is(rates("getTotalTps")[0], 1.5);
  t.like(table, {
    brokerVersionDesc: "V5_5_0",
    brokerActive: "true",
    bootTimestamp: "1000000000000",
    runtime: "[ 0 days, 0 hours, 0 minutes, 10 seconds ]",
    putMessageTimesTotal: "20",
    putMessageAverageSize: "100",
    putMessageFailedTimes: "3",
    msgPutTotalTodayNow: "20",
    msgGetTotalTodayNow: "30",
    dispatchBehindBytes: "0",
    commitLogMinOffset: "0",
    commitLogMaxOffset: String(store.maxPhysicalOffset()),
    earliestMessageTimeStamp: "1000000000000",
  });
  t.true(Number(table["commitLogDiskRatio"]) > 0 && Number(table["commitLogDiskRatio"]) <= 1);
  clock.advance(60_000);
  t.is(Number((await runtimeInfo())["putTps"]!.split(" ")[0]), 0, "what is long ago counts no more");
});

test("statistics by name: the broker's own totals, and a refusal for what is not counted", async (t) => {
  const { clock, handlers, served } = rig();
  served.puts = 1;
  clock.advance(1000);
  const answer = await ask(handlers, RequestCode.VIEW_BROKER_STATS_DATA, { statsName: "BROKER_PUT_NUMS", statsKey: "c" });
  t.like(JSON.parse(bodyOf(answer)), { statsMinute: { sum: 1, tps: 1 }, statsHour: { sum: 1 }, statsDay: { sum: 1 } });
  t.is((await ask(handlers, RequestCode.VIEW_BROKER_STATS_DATA, { statsName: "NONE", statsKey: "c" })).code, 1);
});

test("a master alone has no replicas", async (t) => {
  const { handlers, store } = rig();
  t.deepEqual(JSON.parse(bodyOf(await ask(handlers, RequestCode.GET_BROKER_HA_STATUS))), {
    haClientRuntimeInfo: {},
    haConnectionInfo: [],
    inSyncSlaveNums: 0,
    master: true,
    masterCommitLogMaxOffset: store.maxPhysicalOffset(),
  });
});

test("filters by tags are taken, others where they are enabled and right", async (t) => {
  const { handlers, values } = rig();
  const check = async (body: string): Promise<number> => (await ask(handlers, RequestCode.CHECK_CLIENT_CONFIG, {}, body)).code;
  t.is(await check('{"subscriptionData":{"expressionType":"TAG"}}'), 0);
  t.is(await check("{}"), 0);
  t.is(await check(""), 0);
  t.is(await check('{"subscriptionData":{"expressionType":"SQL92","subString":"a > 1"}}'), 1);
  values.enablePropertyFilter = true;
  t.is(await check('{"subscriptionData":{"expressionType":"SQL92","subString":"a > 1"}}'), 0);
  t.is(await check('{"subscriptionData":{"expressionType":"SQL92","subString":"a >"}}'), 23);
  t.is(await check('{"subscriptionData":{"expressionType":"SQL92"}}'), 23);
  t.is(await check('{"subscriptionData":{"expressionType":"OTHER","subString":"a > 1"}}'), 23);
  await t.throwsAsync(check("{"), { code: "MILLRACE_PROTOCOL" });
});

test("old files are deleted when administrators ask for it", async (t) => {
  const { handlers, cleaned } = rig();
  t.is((await ask(handlers, RequestCode.DELETE_EXPIRED_COMMITLOG)).code, 0);
  t.is((await ask(handlers, RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE)).code, 0);
  t.deepEqual(cleaned, ["log", "queues"]);
});
