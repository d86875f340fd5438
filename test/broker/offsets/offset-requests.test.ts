import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { ClientCalls } from "../../../src/broker/groups/client-calls.ts";
import { Consumers } from "../../../src/broker/groups/consumers.ts";
import { ConsumeStats } from "../../../src/broker/offsets/consume-stats.ts";
import { OffsetRequests } from "../../../src/broker/offsets/offset-requests.ts";
import { OffsetReset } from "../../../src/broker/offsets/offset-reset.ts";
import { Offsets } from "../../../src/broker/offsets/offsets.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import { RequestCode, ResponseCode } from "../../../src/format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, response } from "../../../src/format/remoting/remoting-command.ts";
import { OffsetCells } from "../../../src/format/shared/offset-cells.ts";
import { memberOf, parseJson, parseQueueTable } from "../../../src/format/text/fastjson.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { ask, bodyOf, FakeGroups, FakeTopics, NO_FILTERS } from "../fake-lookups.ts";
import { FakeChannel, FakeStore, FakeTables } from "../fake-store.ts";

const directory = mkdtempSync(join(tmpdir(), "millrace-requests-"));
test.after.always(() => rmSync(directory, { recursive: true }));

const START_MS = 1_000_000;
const IN_MEMORY_SIZE = 10_000;

/** Topic T of two queues; groups g and h are known. */
class Broker {
  readonly clock = new VirtualClock(START_MS);
  readonly store = new FakeStore();
  readonly groups = new FakeGroups();
  readonly topics = new FakeTopics();
  readonly cells = new OffsetCells();
  readonly offsets = new Offsets({
    clock: this.clock,
    log: silentLog,
    cells: this.cells,
    tables: new FakeTables(),
    file: new ConfigFile(join(directory, "consumerOffset.json")),
    saveIntervalMs: 1e9,
  });
  readonly consumers = new Consumers({
    clock: this.clock,
    log: silentLog,
    groups: this.groups,
    topics: this.topics,
    filters: NO_FILTERS,
    isNotifying: () => false,
    onChanged: () => {},
  });
  isServerSide = true;
  readonly #parts = {
    brokerName: "b",
    brokerAddress: "10.0.0.9:10911",
    clock: this.clock,
    log: silentLog,
    topics: this.topics,
    groups: this.groups,
    consumers: this.consumers,
    offsets: this.offsets,
    store: this.store,
  };
  readonly handlers = new Map([
    ...new OffsetRequests({ ...this.#parts, inMemorySize: IN_MEMORY_SIZE }).handlers(),
    ...new OffsetReset({ ...this.#parts, isServerSide: () => this.isServerSide }).handlers(),
    ...new ConsumeStats({ ...this.#parts, consumeTps: (group, topic) => (group === "g" && topic === "T" ? 2.5 : 0) }).handlers(),
    ...new ClientCalls(this.#parts).handlers(),
  ]);

  constructor() {
    this.topics.add("T", 2);
    this.store.ensureQueues("T", 2);
    this.groups.add("g");
    this.groups.add("h");
  }

  /** Stores `count` messages, 100 ms apart from START_MS on. */
  async fill(queueId: number, count: number, size = 10): Promise<void> {
    for (let at = 0; at < count; at++) {
      this.store.nowMs = START_MS + at * 100;
      await this.store.append({
        topic: "T",
        queueId,
        flag: 0,
        sysFlag: 0,
        bornTimestamp: 0,
        bornHost: "10.0.0.1:1",
        reconsumeTimes: 0,
        preparedTransactionOffset: 0,
        properties: new Map(),
        body: Buffer.alloc(size),
      });
    }
  }

  join(group: string, channel: FakeChannel, topics: string[] = ["T"], version = 477, language = "JAVA"): void {
    const subscriptions = topics.map((topic) => ({
      topic,
      subString: "*",
      tagsSet: [],
      codeSet: [],
      subVersion: 1,
      expressionType: "TAG",
      classFilterMode: false,
    }));
    const data = {
      group,
      consumeType: "CONSUME_PASSIVELY",
      messageModel: "CLUSTERING",
      consumeFromWhere: "",
      subscriptions,
      unitMode: false,
    } as const;
    const client = { clientId: `c${channel.id}`, channel, language, version, lastUpdateMs: this.clock.now() };
    this.consumers.heartbeat(data, client, 0, false);
  }

  async query(header: object = {}): Promise<{ code: number; offset: string | undefined }> {
    const { code, extFields } = await ask(this.handlers, RequestCode.QUERY_CONSUMER_OFFSET, {
      consumerGroup: "g",
      topic: "T",
      queueId: 0,
      ...header,
    });
    return { code, offset: extFields["offset"] };
  }

  async commit(header: object = {}): Promise<number> {
    const fields = { consumerGroup: "g", topic: "T", queueId: 0, commitOffset: 4, ...header };
    return (await ask(this.handlers, RequestCode.UPDATE_CONSUMER_OFFSET, fields)).code;
  }

  async reset(header: object): Promise<Map<number, number>> {
    const fields = { group: "g", topic: "T", timestamp: -1, isForce: true, ...header };
    const body = bodyOf(await ask(this.handlers, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, fields));
    return new Map(
      parseQueueTable(memberOf(parseJson(body), "offsetTable")).map(({ queue, value }) => [queue.queueId, value as number]),
    );
  }
}

const FOUND_ZERO = { code: ResponseCode.SUCCESS, offset: "0" };
const NOT_FOUND = { code: ResponseCode.QUERY_NOT_FOUND, offset: undefined };

test("14: a new group starts at 0 where the whole queue is in memory, else it has no offset", async (t) => {
  const broker = new Broker();
  t.deepEqual(await broker.query(), NOT_FOUND, "no message yet");
  await broker.fill(0, 3);
  t.deepEqual(await broker.query(), FOUND_ZERO);
  t.deepEqual(await broker.query({ setZeroIfNotFound: true }), FOUND_ZERO);
  t.deepEqual(await broker.query({ setZeroIfNotFound: false }), NOT_FOUND);
  t.deepEqual(await broker.query({ queueId: 1 }), NOT_FOUND);
  await broker.fill(1, 1, IN_MEMORY_SIZE);
  t.deepEqual(await broker.query(), NOT_FOUND, "too far back in the log");
  t.deepEqual(await broker.query({ queueId: 1 }), NOT_FOUND);
});

test("14: nor where the first messages are gone", async (t) => {
  const broker = new Broker();
  await broker.fill(0, 3);
  broker.store.setMinQueueOffset("T", 0, 1);
  t.deepEqual(await broker.query(), NOT_FOUND);
});

test("15: who commits what", async (t) => {
  const broker = new Broker();
  t.is(await broker.commit(), ResponseCode.SUCCESS);
  t.deepEqual(await broker.query(), { code: ResponseCode.SUCCESS, offset: "4" });
  t.is(await broker.commit({ commitOffset: 2 }), ResponseCode.SUCCESS);
  t.is(broker.offsets.get("g", "T", 0), 2);
  t.is(await broker.commit({ consumerGroup: "x" }), ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST);
  t.is(await broker.commit({ topic: "X" }), ResponseCode.TOPIC_NOT_EXIST);
  t.is(await broker.commit({ queueId: 2 }), ResponseCode.INVALID_PARAMETER);
  t.is(await broker.commit({ queueId: -1 }), ResponseCode.INVALID_PARAMETER);
  await t.throwsAsync(broker.commit({ commitOffset: undefined }), { message: /commitOffset/ });
});

test("222: all queues by time, in the broker; the group's commits are ignored until it pulls", async (t) => {
  const broker = new Broker();
  await broker.fill(0, 5);
  await broker.fill(1, 3);
  await broker.commit({ commitOffset: 5 });
  t.deepEqual(
    await broker.reset({ timestamp: START_MS + 150 }),
    new Map([
      [0, 2],
      [1, 2],
    ]),
  );
  t.is(await broker.commit({ commitOffset: 5 }), ResponseCode.SUCCESS);
  t.deepEqual(await broker.query(), { code: ResponseCode.SUCCESS, offset: "2" });
  t.is(broker.offsets.takeReset("g", "T", 0), 2);
  t.is(await broker.commit({ commitOffset: 3 }), ResponseCode.SUCCESS);
  t.deepEqual(await broker.query(), { code: ResponseCode.SUCCESS, offset: "3" });
  t.deepEqual(
    await broker.reset({ timestamp: -1 }),
    new Map([
      [0, 5],
      [1, 3],
    ]),
  );
});

test("222: one queue, by offset or by time", async (t) => {
  const broker = new Broker();
  await broker.fill(1, 3);
  t.deepEqual(await broker.reset({ queueId: 1, offset: 2, timestamp: 0 }), new Map([[1, 2]]));
  t.deepEqual(await broker.reset({ queueId: 1, offset: -1, timestamp: 0 }), new Map([[1, 0]]));
  t.is(broker.offsets.pendingReset("g", "T", 0), -1);
  const code = async (header: object): Promise<number> =>
    (await ask(broker.handlers, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, { group: "g", topic: "T", timestamp: 0, ...header }))
      .code;
  t.is(await code({ queueId: 1, offset: 5 }), ResponseCode.SYSTEM_ERROR);
  t.is(await code({ queueId: 2 }), ResponseCode.INVALID_PARAMETER);
  t.is(await code({ topic: "X" }), ResponseCode.TOPIC_NOT_EXIST);
  t.is(await code({ group: "x" }), ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST);
});

test("222: through the clients, where the broker is set so", async (t) => {
  const broker = new Broker();
  broker.isServerSide = false;
  await broker.fill(0, 5);
  await broker.commit({ commitOffset: 4 });
  await broker.commit({ queueId: 1, commitOffset: 0 });
  const header = { group: "g", topic: "T", timestamp: START_MS + 150, isForce: false };
  const offline = await ask(broker.handlers, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, header);
  t.is(offline.code, ResponseCode.CONSUMER_NOT_ONLINE);
  const [java, cpp] = [new FakeChannel(1), new FakeChannel(2)];
  broker.join("g", java);
  broker.join("g", cpp, ["T"], 477, "CPP");
  t.deepEqual(
    await broker.reset(header),
    new Map([
      [0, 2],
      [1, 0],
    ]),
  );
  t.deepEqual(
    await broker.reset({ timestamp: -1, isForce: false }),
    new Map([
      [0, 4],
      [1, 0],
    ]),
    "not forward unless forced",
  );
  t.is(broker.offsets.get("g", "T", 0), 4, "the clients commit it");
  const [note, listNote] = [java.written[0]!, cpp.written[0]!];
  t.deepEqual(
    [note.code, note.flag, note.extFields["timestamp"]],
    [RequestCode.RESET_CONSUMER_CLIENT_OFFSET, FLAG_ONEWAY, String(START_MS + 150)],
  );
  t.is(
    note.body.toString(),
    '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:2,{"brokerName":"b","queueId":1,"topic":"T"}:0}}',
  );
  t.is(
    listNote.body.toString(),
    '{"offsetTable":[{"brokerName":"b","offset":2,"queueId":0,"topic":"T"},{"brokerName":"b","offset":0,"queueId":1,"topic":"T"}]}',
  );
  broker.join("g", new FakeChannel(3), ["T"], 27);
  t.is((await ask(broker.handlers, RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, header)).code, ResponseCode.SYSTEM_ERROR);
});

test("223: what the clients say they hold; one that is silent is left out", async (t) => {
  const broker = new Broker();
  const header = { group: "g", topic: "T" };
  const [one, two] = [new FakeChannel(1), new FakeChannel(2)];
  const status = async (changes: object = {}): Promise<string> =>
    bodyOf(await ask(broker.handlers, RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, { ...header, ...changes }));
  await t.throwsAsync(status(), { message: /online/ });
  broker.join("g", one);
  broker.join("g", two);
  const held = '{"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"T"}:7}}';
  one.answer = (command) => response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(held));
  const expected = '{"consumerTable":{"c1":{{"brokerName":"b","queueId":0,"topic":"T"}:7}},"messageQueueTable":{}}';
  t.is(await status(), expected);
  t.is(await status({ clientAddr: "c1" }), expected);
  t.is(await status({ clientAddr: "c2" }), '{"consumerTable":{},"messageQueueTable":{}}');
  t.deepEqual({ ...one.written[0]!.extFields }, { group: "g", topic: "T" });
});

test("314: copies offsets, but not of topics that the source does not subscribe to", async (t) => {
  const broker = new Broker();
  broker.topics.add("U");
  for (const topic of ["T", "U", "Gone"]) broker.offsets.commit("g", topic, 1, 5);
  broker.join("g", new FakeChannel(), ["T"]);
  const clone = async (header: object): Promise<string[]> => {
    bodyOf(await ask(broker.handlers, RequestCode.CLONE_GROUP_OFFSET, { srcGroup: "g", ...header }));
    return broker.offsets.topicsOf("h");
  };
  t.deepEqual(await clone({ destGroup: "h", topic: "U" }), []);
  t.deepEqual(await clone({ destGroup: "h" }), ["T"]);
  t.is(broker.offsets.get("h", "T", 1), 5);
  t.deepEqual(await clone({ destGroup: "h", offline: true }), ["T", "U"]);
  await t.throwsAsync(clone({ destGroup: "a@b" }), { message: /code 29/ });
});

test("308: smallest offset over the other groups, Long.MAX_VALUE where the compared group is behind", async (t) => {
  const broker = new Broker();
  broker.offsets.commit("g", "T", 0, 5);
  broker.offsets.commit("g", "T", 1, 5);
  broker.offsets.commit("h", "T", 0, 3);
  broker.offsets.commit("h", "T", 1, 9);
  const correction = async (header: object): Promise<string> =>
    bodyOf(await ask(broker.handlers, RequestCode.QUERY_CORRECTION_OFFSET, { topic: "T", ...header }));
  t.is(await correction({ compareGroup: "g" }), '{"correctionOffsets":{0:3,1:5}}');
  t.is(await correction({ compareGroup: "h", filterGroups: "h,x" }), '{"correctionOffsets":{0:9223372036854775807,1:5}}');
  t.is(broker.offsets.get("h", "T", 0), 3, "and nothing is deleted");
});

test("43: the file's text, with the offsets of this moment", async (t) => {
  const broker = new Broker();
  await broker.commit();
  t.regex(bodyOf(await ask(broker.handlers, RequestCode.GET_ALL_CONSUMER_OFFSET)), /"offsetTable":\{"T@g":\{0:4\}\}/);
});

test("208: how far the group is in each queue", async (t) => {
  const broker = new Broker();
  await broker.fill(0, 5);
  await broker.commit({ commitOffset: 2 });
  broker.offsets.notePull("g", "T", 0, 4);
  const expected =
    '{"consumeTps":2.5,"offsetTable":{' +
    '{"brokerName":"b","queueId":0,"topic":"T"}:{"brokerOffset":5,"consumerOffset":2,"lastTimestamp":1000100,"pullOffset":4},' +
    '{"brokerName":"b","queueId":1,"topic":"T"}:{"brokerOffset":0,"consumerOffset":0,"lastTimestamp":0,"pullOffset":0}}}';
  const stats = async (header: object = {}): Promise<string> =>
    bodyOf(await ask(broker.handlers, RequestCode.GET_CONSUME_STATS, { consumerGroup: "g", ...header }));
  t.is(await stats(), expected);
  t.is(await stats({ topic: "T" }), expected);
  t.is(await stats({ topicList: "T;X" }), expected);
  t.is(await stats({ topic: "X" }), '{"consumeTps":0,"offsetTable":{}}');
  broker.join("g", new FakeChannel(), ["U"]);
  t.is(await stats({ topic: "T" }), '{"consumeTps":0,"offsetTable":{}}', "online, and it does not subscribe to T");
});

test("317: the same for all groups, with sums", async (t) => {
  const broker = new Broker();
  await broker.fill(0, 5);
  await broker.commit({ commitOffset: 2 });
  broker.offsets.notePull("g", "T", 0, 4);
  const stats = async (isOrder: boolean): Promise<Map<string, unknown>> => {
    const body = parseJson(bodyOf(await ask(broker.handlers, RequestCode.GET_BROKER_CONSUME_STATS, { isOrder })));
    return new Map(
      ["brokerAddr", "totalDiff", "totalInflightDiff", "consumeStatsList"].map((name) => [name, memberOf(body, name)]),
    );
  };
  const all = await stats(false);
  t.deepEqual([all.get("brokerAddr"), all.get("totalDiff"), all.get("totalInflightDiff")], ["10.0.0.9:10911", 3, 2]);
  t.deepEqual(
    (all.get("consumeStatsList") as object[]).map((group) => Object.keys(group)),
    [["g"], ["h"]],
  );
  t.is((await stats(true)).get("totalDiff"), 0, "T is no order topic");
});

test("303: times of the first, the last and the consumed message", async (t) => {
  const broker = new Broker();
  await broker.fill(0, 5);
  await broker.commit({ commitOffset: 2 });
  broker.clock.advance(1000);
  const body = bodyOf(await ask(broker.handlers, RequestCode.QUERY_CONSUME_TIME_SPAN, { topic: "T", group: "g" }));
  t.deepEqual(JSON.parse(body).consumeTimeSpanSet, [
    {
      consumeTimeStamp: START_MS + 100,
      delayTime: 800,
      maxTimeStamp: START_MS + 400,
      messageQueue: { brokerName: "b", queueId: 0, topic: "T" },
      minTimeStamp: START_MS,
    },
    {
      consumeTimeStamp: -1,
      delayTime: 0,
      maxTimeStamp: -1,
      messageQueue: { brokerName: "b", queueId: 1, topic: "T" },
      minTimeStamp: -1,
    },
  ]);
  const unknown = await ask(broker.handlers, RequestCode.QUERY_CONSUME_TIME_SPAN, { topic: "X", group: "g" });
  t.is(unknown.code, ResponseCode.TOPIC_NOT_EXIST);
});

test("300, 343, 345: who consumes what", async (t) => {
  const broker = new Broker();
  broker.offsets.commit("h", "T", 0, 1);
  broker.join("g", new FakeChannel());
  t.is(bodyOf(await ask(broker.handlers, RequestCode.QUERY_TOPIC_CONSUME_BY_WHO, { topic: "T" })), '{"groupList":["h","g"]}');
  const topics = bodyOf(await ask(broker.handlers, RequestCode.QUERY_TOPICS_BY_CONSUMER, { group: "h" }));
  t.is(topics, '{"brokerAddr":"10.0.0.9:10911","topicList":["T"]}');
  const subscription = async (topic: string): Promise<string> =>
    bodyOf(await ask(broker.handlers, RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER, { group: "g", topic }));
  t.is(
    await subscription("T"),
    '{"group":"g","subscriptionData":{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*",' +
      '"subVersion":1,"tagsSet":[],"topic":"T"},"topic":"T"}',
  );
  t.is(await subscription("U"), '{"group":"g","topic":"U"}');
});

test("307: the client's answer comes back as it is", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  const info = (): ReturnType<typeof ask> =>
    ask(broker.handlers, RequestCode.GET_CONSUMER_RUNNING_INFO, { consumerGroup: "g", clientId: "c1", jstackEnable: false });
  t.regex((await info()).remark ?? "", /<g> <c1> not online/);
  broker.join("g", channel);
  t.is((await info()).code, ResponseCode.CONSUME_MSG_TIMEOUT);
  channel.answer = () => {
    throw new MillraceError("MILLRACE_CONNECTION", "gone");
  };
  t.is((await info()).code, ResponseCode.SYSTEM_ERROR);
  channel.answer = (command) => response({ ...command, opaque: 5 }, ResponseCode.SUCCESS, "r", { a: 1 }, Buffer.from("{}"));
  const answer = await info();
  t.deepEqual(
    [answer.code, answer.opaque, answer.remark, answer.extFields["a"], answer.body.toString()],
    [0, 77, "r", "1", "{}"],
  );
  t.is(channel.written.at(-1)!.extFields["jstackEnable"], "false");
  broker.join("g", new FakeChannel(9), ["T"], 61);
  t.regex(
    (await ask(broker.handlers, RequestCode.GET_CONSUMER_RUNNING_INFO, { consumerGroup: "g", clientId: "c9" })).remark ?? "",
    /too old/,
  );
});

test("309: the client gets the record", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  await broker.fill(0, 2);
  broker.join("g", channel);
  channel.answer = (command) =>
    response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from('{"consumeResult":"CR_SUCCESS"}'));
  const physicalOffset = broker.store.queueEntry("T", 0, 1)!.physicalOffset;
  const consume = (msgId: string): ReturnType<typeof ask> =>
    ask(broker.handlers, RequestCode.CONSUME_MESSAGE_DIRECTLY, { consumerGroup: "g", clientId: "c1", msgId, topic: "T" });
  t.is(bodyOf(await consume(offsetMessageId("10.1.2.3:10911", physicalOffset))), '{"consumeResult":"CR_SUCCESS"}');
  const [forwarded] = channel.written;
  t.deepEqual(forwarded!.body, broker.store.readRecord(physicalOffset)!);
  t.deepEqual(
    [forwarded!.extFields["brokerName"], forwarded!.extFields["topicSysFlag"], forwarded!.extFields["groupSysFlag"]],
    ["b", "0", "0"],
  );
  for (const id of ["junk", offsetMessageId("10.1.2.3:10911", 3)]) t.is((await consume(id)).code, ResponseCode.SYSTEM_ERROR);
});
