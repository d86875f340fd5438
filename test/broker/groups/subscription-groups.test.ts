import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import type { ConsumerGroupState, ConsumerLookup } from "../../../src/broker/contracts.ts";
import { PublishedGroups } from "../../../src/broker/groups/published-groups.ts";
import { SubscriptionGroups } from "../../../src/broker/groups/subscription-groups.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { NO_FILTERS, NOT_FILTERING } from "../fake-lookups.ts";
import { FakeChannel, FakeTables } from "../fake-store.ts";

function rig(t: ExecutionContext, autoCreate = true, directory = mkdtempSync(join(tmpdir(), "groups-"))) {
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "subscriptionGroup.json");
  const changed: string[] = [];
  const deleted: [string, boolean][] = [];
  const groups = new SubscriptionGroups({
    file: new ConfigFile(path),
    autoCreate,
    clock: new VirtualClock(5000),
    log: silentLog,
    onChanged: (group) => changed.push(group),
    onDeleted: (group, cleanOffset) => deleted.push([group, cleanOffset]),
  });
  groups.load();
  async function ask(code: number, header: HeaderValues = {}, body?: unknown): Promise<RemotingCommand> {
    const command = request(code, 1, header, Buffer.from(body === undefined ? "" : JSON.stringify(body)));
    const answer = await groups.handlers().get(code)!(command, new FakeChannel());
    if (answer === undefined) throw new Error("no answer");
    return answer;
  }
  return { groups, changed, deleted, ask, path, directory };
}

const json = (answer: RemotingCommand) => JSON.parse(answer.body.toString());

test("a group is made by its first use, where that is allowed", async (t) => {
  const { groups, changed } = rig(t);
  t.truthy(groups.get("TOOLS_CONSUMER"));
  t.truthy(groups.get("CID_RMQ_SYS_TRANS"));
  t.is(groups.get("g"), undefined);
  t.like(groups.find("g"), { groupName: "g", retryMaxTimes: 16, retryQueueNums: 1, whichBrokerWhenConsumeSlowly: 1 });
  t.is(groups.find("a b"), undefined);
  t.is(groups.find("x".repeat(121)), undefined);
  t.deepEqual(changed, ["g"]);
  await groups.save();
  const strict = rig(t, false).groups;
  t.is(strict.find("g"), undefined);
  t.truthy(strict.find("CID_RMQ_SYS_x"));
  await strict.save();
});

test("groups survive a restart in Apache's shape", async (t) => {
  const first = rig(t);
  await first.ask(
    RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
    {},
    { groupName: "g", retryMaxTimes: 3, attributes: { "+priority.factor": "50" } },
  );
  await first.ask(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, { group: "g", topic: "T", readable: false });
  const stored = JSON.parse(readFileSync(first.path, "utf8"));
  t.deepEqual(stored.subscriptionGroupTable.g, {
    attributes: { "priority.factor": "50" },
    brokerId: 0,
    consumeBroadcastEnable: true,
    consumeEnable: true,
    consumeFromMinEnable: true,
    consumeMessageOrderly: false,
    consumeTimeoutMinute: 15,
    groupName: "g",
    groupRetryPolicy: { type: "CUSTOMIZED" },
    groupSysFlag: 0,
    notifyConsumerIdsChangedEnable: true,
    retryMaxTimes: 3,
    retryQueueNums: 1,
    whichBrokerWhenConsumeSlowly: 1,
  });
  t.deepEqual(stored.forbiddenTable, { g: { T: 4 } });
  const second = rig(t, true, first.directory);
  t.deepEqual(second.groups.get("g"), first.groups.get("g"));
  t.true(second.groups.isForbidden("g", "T"));
  t.deepEqual(second.groups.dataVersion, first.groups.dataVersion);
});

test("bad groups are refused, and a list with one is refused whole", async (t) => {
  const { groups, ask } = rig(t);
  t.is((await ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, { groupName: "a b" })).code, 29);
  await t.throwsAsync(ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, { groupName: "g", retryMaxTimes: "x" }), {
    message: /retryMaxTimes/,
  });
  t.is(
    (await ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, {}, { groupConfigList: [{ groupName: "g" }, {}] })).code,
    29,
  );
  t.is(groups.get("g"), undefined);
  t.is(
    (
      await ask(
        RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
        {},
        { groupConfigList: [{ groupName: "g" }, { groupName: "h" }] },
      )
    ).code,
    0,
  );
  t.truthy(groups.get("h"));
});

test("deleting, reading and listing", async (t) => {
  const { groups, ask, deleted, changed } = rig(t);
  t.is((await ask(RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, { group: "no name" })).code, 26);
  await ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, { groupName: "g" });
  t.is(json(await ask(RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, { group: "g" })).groupName, "g");
  const all = await ask(RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
  t.is(all.extFields["totalGroupNum"], "9");
  t.is(Object.keys(json(all).subscriptionGroupTable).length, 9);
  const page = await ask(RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, {
    groupSeq: 8,
    maxGroupNum: 5,
    dataVersion: JSON.stringify(groups.dataVersion),
  });
  t.deepEqual(Object.keys(json(page).subscriptionGroupTable), ["g"]);
  await ask(RequestCode.DELETE_SUBSCRIPTIONGROUP, { groupName: "g", cleanOffset: true });
  t.is(groups.get("g"), undefined);
  t.deepEqual(deleted, [["g", true]]);
  t.deepEqual(changed, ["g", "g"]);
});

test("a topic can be forbidden for a group and allowed again", async (t) => {
  const { groups, ask } = rig(t);
  const header = { group: "g", topic: "T" };
  t.deepEqual(json(await ask(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, header)), { group: "g", readable: true, topic: "T" });
  t.is(json(await ask(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, { ...header, readable: false })).readable, false);
  t.true(groups.isForbidden("g", "T"));
  t.is(json(await ask(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, { ...header, readable: true })).readable, true);
  t.false(groups.isForbidden("g", "T"));
});

test("published groups follow configuration and clients, and say nothing twice", async (t) => {
  const { groups, ask } = rig(t);
  const online = new Map<string, ConsumerGroupState>();
  const consumers: ConsumerLookup = { group: (group) => online.get(group), all: () => online.values(), client: () => undefined };
  const tables = new FakeTables();
  const published = new PublishedGroups({ groups, consumers, tables, filters: NO_FILTERS, settings: NOT_FILTERING });
  published.refresh("g");
  t.deepEqual(tables.events, []);
  await ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, { groupName: "g" });
  published.refresh("g");
  published.refresh("g");
  t.deepEqual(tables.events, ["group g"]);
  t.like(tables.groups.get("g"), { hasClients: false, broadcasting: false, subscriptions: [] });
  const channel = new FakeChannel();
  const subscription = {
    topic: "T",
    subString: "A",
    tagsSet: ["A"],
    codeSet: [65],
    subVersion: 7,
    expressionType: "TAG",
    classFilterMode: false,
  };
  online.set("g", {
    group: "g",
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "BROADCASTING",
    consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
    subscriptions: new Map([["T", subscription]]),
    clients: new Map([[1, { clientId: "x", channel, language: "JAVA", version: 1, lastUpdateMs: 0 }]]),
  });
  published.refresh("g");
  t.deepEqual(tables.groups.get("g")?.subscriptions, [
    { topic: "T", subString: "A", filter: "tags", subVersion: 7, codes: [65], matchAll: false },
  ]);
  t.true(tables.groups.get("g")?.broadcasting);
  await ask(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, { group: "g", topic: "T", readable: false });
  published.refreshAll();
  t.deepEqual(tables.groups.get("g")?.forbiddenTopics, ["T"]);
  await ask(RequestCode.DELETE_SUBSCRIPTIONGROUP, { groupName: "g" });
  published.refresh("g");
  published.refresh("g");
  t.is(tables.events.filter((event) => event === "group-removed g").length, 1);
});
