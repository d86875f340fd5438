import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { storedBatchTopics, type TopicSettings, Topics } from "../../../src/broker/topics/topics.ts";
import { RequestCode, ResponseCode } from "../../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeChannel, FakeStore, FakeTables } from "../fake-store.ts";
import { TOPIC_SETTINGS } from "../topic-settings.ts";

function rig(t: ExecutionContext, settings: Partial<TopicSettings> = {}, directory = mkdtempSync(join(tmpdir(), "topics-"))) {
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "topics.json");
  const events: string[] = [];
  const store = new FakeStore(events);
  const tables = new FakeTables(events);
  const announced: string[] = [];
  const deleted: string[] = [];
  const topics = new Topics({
    file: new ConfigFile(path),
    settings: { ...TOPIC_SETTINGS, ...settings },
    store,
    tables,
    clock: new VirtualClock(5000),
    log: silentLog,
    onChanged: (configs) => {
      for (const { topicName } of configs) {
        events.push(`announced ${topicName}`);
        announced.push(topicName);
      }
    },
    onDeleted: (topic) => deleted.push(topic),
    groupsOf: (topic) => (topic === "T" ? ["g", "h"] : []),
    storedTopics: () => ["T", "orphan"],
  });
  const channel = new FakeChannel();
  async function ask(code: number, header: HeaderValues = {}, body?: unknown): Promise<RemotingCommand> {
    const command = request(code, 1, header, Buffer.from(body === undefined ? "" : JSON.stringify(body)));
    const answer = await topics.handlers().get(code)!(command, channel);
    if (answer === undefined) throw new Error("no answer");
    return answer;
  }
  return { topics, store, tables, events, announced, deleted, ask, path, directory };
}

const UPDATE = {
  topic: "T",
  defaultTopic: "TBW102",
  readQueueNums: 4,
  writeQueueNums: 3,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  order: false,
};

test("system topics are there from the first start, with queues before tables", (t) => {
  const { topics, tables, events, store } = rig(t);
  topics.load();
  t.like(topics.get("TBW102"), { perm: 7, readQueueNums: 8, writeQueueNums: 8 });
  t.like(topics.get("c"), { perm: 7, readQueueNums: 16 });
  t.like(topics.get("b"), { perm: 7, readQueueNums: 1 });
  t.like(topics.get("SCHEDULE_TOPIC_XXXX"), { perm: 6, readQueueNums: 18 });
  t.is(topics.get("BenchmarkTest")?.readQueueNums, 1024);
  t.is(topics.get("rmq_sys_REVIVE_LOG_c")?.readQueueNums, 8);
  t.truthy(topics.get("c_REPLY_TOPIC"));
  t.is(topics.get("RMQ_SYS_TRACE_TOPIC"), undefined);
  t.is(tables.topics.size, topics.size);
  t.is(store.queueCounts.get("TBW102"), 8);
  t.true(events.indexOf("queues TBW102 8") < events.indexOf("topic TBW102"));
});

test("a send creates its topic from the template", async (t) => {
  const { topics, tables, announced, events } = rig(t);
  topics.load();
  const config = topics.createForSend("T", "TBW102", 4, 0);
  t.like(config, { readQueueNums: 4, writeQueueNums: 4, perm: 6, topicFilterType: "SINGLE_TAG" });
  t.is(topics.createForSend("U", "TBW102", 100, 0)?.writeQueueNums, 8, "no more than the template has");
  t.is(topics.createForSend("V", "nobody", 4, 0), undefined);
  t.is(topics.createForSend("V", "T", 4, 0), undefined, "T has no inherit bit");
  t.deepEqual(announced, ["T", "U"]);
  t.is(tables.topics.get("T")?.writeQueueNums, 4);
  t.deepEqual(
    events.filter((event) => event.includes(" T")).filter((event, i, all) => all.indexOf(event) === i && !event.includes("TBW")),
    ["queues TRANS_CHECK_MAX_TIME_TOPIC 1", "topic TRANS_CHECK_MAX_TIME_TOPIC", "queues T 4", "topic T", "announced T"],
  );
  await topics.save();
});

test("without auto-creation a template that was stored before does not help", async (t) => {
  const first = rig(t);
  first.topics.load();
  await first.topics.save();
  const second = rig(t, { autoCreateTopicEnable: false }, first.directory);
  second.topics.load();
  t.truthy(second.topics.get("TBW102"));
  t.is(second.topics.createForSend("T", "TBW102", 4, 0), undefined);
});

test("topics survive a restart in Apache's shape", async (t) => {
  const first = rig(t);
  first.topics.load();
  t.is((await first.ask(RequestCode.UPDATE_AND_CREATE_TOPIC, { ...UPDATE, attributes: "+message.type=FIFO" })).code, 0);
  await first.topics.save();
  const text = JSON.parse(readFileSync(first.path, "utf8"));
  t.deepEqual(text.topicConfigTable.T, {
    attributes: { "message.type": "FIFO" },
    order: false,
    perm: 6,
    readQueueNums: 4,
    topicFilterType: "SINGLE_TAG",
    topicName: "T",
    topicSysFlag: 0,
    writeQueueNums: 3,
  });
  t.deepEqual(text.dataVersion, { counter: 1, stateVersion: 0, timestamp: 5000 });
  const second = rig(t, {}, first.directory);
  second.topics.load();
  t.deepEqual(second.topics.get("T"), first.topics.get("T"));
  t.deepEqual(second.topics.dataVersion, first.topics.dataVersion);
  t.is(second.store.queueCounts.get("T"), 4);
});

test("what was answered is on the disk, however late the file is; a torn line is none", async (t) => {
  const first = rig(t);
  first.topics.load();
  await first.topics.save();
  const before = readFileSync(first.path);
  const names = Array.from({ length: 30 }, (_, i) => `T${i}`);
  const create = (topic: string): Promise<RemotingCommand> =>
    first.ask(RequestCode.UPDATE_AND_CREATE_TOPIC, { ...UPDATE, topic, attributes: "+queue.type=BatchCQ" });
  for (const answer of await Promise.all(names.map(create))) t.is(answer.code, 0);
  const journal = readFileSync(`${first.path}.journal`);
  const restarted = (file: Buffer, lines: Buffer | string): Set<string> => {
    const next = rig(t);
    writeFileSync(next.path, file);
    writeFileSync(`${next.path}.journal`, lines);
    next.topics.load();
    const found = new Set(names.filter((name) => next.topics.get(name)?.attributes["queue.type"] === "BatchCQ"));
    t.deepEqual(storedBatchTopics(next.directory), found);
    if (found.size === names.length) t.deepEqual(next.topics.dataVersion, first.topics.dataVersion);
    return found;
  };
  // The file may be written by now, and the journal begun anew: whatever was written when, nothing is missing.
  if (journal.length > 0) t.is(restarted(readFileSync(first.path), journal).size, names.length);
  await first.topics.save();
  const after = readFileSync(first.path);
  t.is(readFileSync(`${first.path}.journal`).length, 0);
  t.is(restarted(after, "").size, names.length);
  t.is(restarted(after, journal).size, names.length);
  t.is(restarted(before, "").size, 0);

  const [line = "", ...others] = journal.toString().split("\n");
  if (others.length > 1) {
    t.deepEqual([...restarted(before, `${line}\n`)], ["T0"]);
    t.deepEqual([...restarted(before, `${others[0]!.slice(0, -3)}\n${line}`)], ["T0"]);
    t.is(restarted(before, line.replace("T0", "T1")).size, 0);
  }
  await first.topics.close();
});

test("a file with a name that is no topic stops the start", (t) => {
  const { topics, path } = rig(t);
  writeFileSync(path, JSON.stringify({ topicConfigTable: { "../x": {} } }));
  t.throws(() => topics.load(), { code: "MILLRACE_STORE_CORRUPT" });
});

test("updates are refused with the reason", async (t) => {
  const { topics, ask } = rig(t);
  topics.load();
  const code = async (change: HeaderValues): Promise<[number, string | undefined]> => {
    const answer = await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, { ...UPDATE, ...change });
    return [answer.code, answer.remark];
  };
  t.is((await code({ topic: "a b" }))[0], ResponseCode.INVALID_PARAMETER);
  t.deepEqual(await code({ topic: "TBW102" }), [29, "The topic[TBW102] is conflict with system topic."]);
  t.is((await code({ topic: "rmq_sys_x" }))[0], 29);
  t.is((await code({ topic: "c" }))[0], 29, "the cluster's own topic");
  t.regex((await code({ readQueueNums: -1 }))[1]!, /readQueueNums/);
  t.regex((await code({ writeQueueNums: 1_000_000_000 }))[1]!, /writeQueueNums/);
  t.is((await code({ perm: 99 }))[0], 29);
  t.is((await code({ topicFilterType: "x" }))[0], 29);
  t.deepEqual(await code({ attributes: "+message.type=MIXED" }), [29, "MIXED message type is not supported."]);
  await t.throwsAsync(code({ attributes: "message.type=FIFO" }), { message: /add\/alter attribute format is wrong/ });
  await t.throwsAsync(code({ attributes: "+message.type=x" }), { message: /not in set/ });
  await t.throwsAsync(code({ attributes: "-message.type" }), { message: /only add attribute/ });
  await t.throwsAsync(code({ attributes: "+a=b" }), { message: /unsupported key: a/ });
  await t.throwsAsync(code({ readQueueNums: null }), { code: "MILLRACE_PROTOCOL", message: /readQueueNums/ });
  t.is(topics.get("T"), undefined);
});

test("a topic may be of mixed types where the broker is told so", async (t) => {
  const { topics, ask } = rig(t, { enableMixedMessageType: true });
  topics.load();
  t.is((await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, { ...UPDATE, attributes: "+message.type=MIXED" })).code, 0);
  t.is(topics.get("T")!.attributes["message.type"], "MIXED");
});

test("attributes are added, changed and deleted", async (t) => {
  const { topics, ask } = rig(t);
  topics.load();
  const update = (attributes: string): Promise<RemotingCommand> =>
    ask(RequestCode.UPDATE_AND_CREATE_TOPIC, { ...UPDATE, attributes });
  await update("+message.type=FIFO,+queue.type=SimpleCQ");
  await update("+message.type=DELAY,+reserve.time=10");
  t.deepEqual(topics.get("T")?.attributes, { "message.type": "DELAY", "queue.type": "SimpleCQ", "reserve.time": "10" });
  await update("-message.type");
  t.deepEqual(topics.get("T")?.attributes, { "queue.type": "SimpleCQ", "reserve.time": "10" });
  await t.throwsAsync(update("+queue.type=BatchCQ"), { message: /unchangeable/ });
  await t.throwsAsync(update("-message.type"), { message: /nonexistent/ });
});

test("what changes nothing changes no version", async (t) => {
  const { topics, ask, announced } = rig(t);
  topics.load();
  await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, UPDATE);
  const { counter } = topics.dataVersion;
  t.is((await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, UPDATE)).code, 0);
  t.is(topics.dataVersion.counter, counter);
  t.deepEqual(announced, ["T"]);
});

test("a list is made whole or not at all", async (t) => {
  const { topics, ask, announced } = rig(t);
  topics.load();
  const entry = (topicName: string) => ({
    topicName,
    readQueueNums: 2,
    writeQueueNums: 2,
    perm: 6,
    attributes: { "+message.type": "FIFO" },
  });
  const bad = await ask(RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, {}, { topicConfigList: [entry("A"), entry("TBW102")] });
  t.is(bad.code, 29);
  t.is(topics.get("A"), undefined);
  t.is((await ask(RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, {}, { topicConfigList: [entry("A"), entry("B")] })).code, 0);
  t.deepEqual(topics.get("B")?.attributes, { "message.type": "FIFO" });
  t.deepEqual(announced, ["A", "B"]);
});

test("a deleted topic takes its queues, offsets and pop retry topics along", async (t) => {
  const { topics, ask, store, tables, deleted } = rig(t);
  topics.load();
  await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, UPDATE);
  topics.ensure("%RETRY%g_T", 1, 6);
  topics.ensure("%RETRY%g", 1, 6);
  t.is((await ask(RequestCode.DELETE_TOPIC_IN_BROKER, { topic: "T" })).code, 0);
  t.deepEqual(store.dropped, ["T", "%RETRY%g_T"]);
  t.deepEqual(deleted, ["T", "%RETRY%g_T"]);
  t.is(topics.get("T"), undefined);
  t.false(tables.topics.has("T"));
  t.truthy(topics.get("%RETRY%g"));
  t.is((await ask(RequestCode.DELETE_TOPIC_IN_BROKER, { topic: "TBW102" })).code, 29);
  t.is((await ask(RequestCode.DELETE_TOPIC_IN_BROKER, { topic: "../../etc" })).code, 29);
  t.is((await ask(RequestCode.DELETE_TOPIC_IN_BROKER, { topic: "unknown" })).code, 0);
});

test("all topics, whole and in pages", async (t) => {
  const { topics, ask } = rig(t);
  topics.load();
  const all = await ask(RequestCode.GET_ALL_TOPIC_CONFIG);
  t.is(all.extFields["totalTopicNum"], String(topics.size));
  const names = Object.keys(JSON.parse(all.body.toString()).topicConfigTable).sort();
  t.is(names.length, topics.size);
  const seen: string[] = [];
  for (let topicSeq = 0; topicSeq < topics.size; topicSeq += 5) {
    const page = await ask(RequestCode.GET_ALL_TOPIC_CONFIG, {
      topicSeq,
      maxTopicNum: 5,
      dataVersion: JSON.stringify(topics.dataVersion),
    });
    seen.push(...Object.keys(JSON.parse(page.body.toString()).topicConfigTable));
  }
  t.deepEqual(seen.sort(), names);
  const stale = await ask(RequestCode.GET_ALL_TOPIC_CONFIG, { topicSeq: 5, maxTopicNum: 2, dataVersion: "{}" });
  t.deepEqual(Object.keys(JSON.parse(stale.body.toString()).topicConfigTable), [...topics.table.keys()].sort().slice(0, 2));
});

test("one topic, system topics, unused topics", async (t) => {
  const { topics, ask, store } = rig(t);
  topics.load();
  t.is((await ask(RequestCode.GET_TOPIC_CONFIG, { topic: "T" })).code, 17);
  await ask(RequestCode.UPDATE_AND_CREATE_TOPIC, UPDATE);
  t.is(JSON.parse((await ask(RequestCode.GET_TOPIC_CONFIG, { topic: "T" })).body.toString()).readQueueNums, 4);
  const system = JSON.parse((await ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER)).body.toString()).topicList;
  t.true(["TBW102", "c", "b", "SCHEDULE_TOPIC_XXXX"].every((name) => system.includes(name)));
  t.is((await ask(RequestCode.CLEAN_UNUSED_TOPIC)).code, 0);
  t.deepEqual(store.dropped, ["orphan"]);
});
