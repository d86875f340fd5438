// Goal: a broker that is asked for what it cannot do says so with RocketMQ's own code, stores nothing and lives on; and
// what looks odd but is allowed works.
// Method: raw requests past the checks of any client library. The codes are Apache 5.5.0's, taken from its broker by this
// same table: MILLRACE_E2E_BROKER=HOST:PORT sends it to a broker that runs already. Where we answer another code than
// Apache, it stands beside ours with the reason.
import test from "ava";
import type { HeaderValues, RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../src/format/remoting/remoting-frame.ts";
import { until } from "../until.ts";
import { Lab } from "./lab.ts";
import { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TARGET = process.env["MILLRACE_E2E_BROKER"];
const run = Date.now().toString(36);
const TOPIC = `Answers_${run}`;
const EMPTY = `Empty_${run}`;
const GROUP = `answers_${run}`;
const BODY = Buffer.from("hello");
const BODY_SIZE_MAX = 4_194_304;

interface Case {
  code: number;
  header?: HeaderValues;
  body?: Buffer;
  expected: number;
  /** With binary headers, where an empty text is none at all. */
  binary?: number;
  /** Where Apache answers otherwise, and why we do not follow. */
  apache?: readonly [code: number, why: string];
}

type Cases = Readonly<Record<string, Case>>;

function send(fields: Partial<ask.SendFields>, expected: number, body: Buffer = BODY, apache?: Case["apache"]): Case {
  const header = ask.sendHeaderV2({ topic: TOPIC, ...fields });
  return { code: ask.SEND_V2, header, body, expected, ...(apache === undefined ? {} : { apache }) };
}

function sendWith(change: HeaderValues, expected: number, apache?: Case["apache"]): Case {
  const header = { ...ask.sendHeaderV2({ topic: TOPIC }), ...change };
  return { code: ask.SEND_V2, header, body: BODY, expected, ...(apache === undefined ? {} : { apache }) };
}

function batch(fields: Partial<ask.SendFields>, expected: number, body: Buffer = TWO, apache?: Case["apache"]): Case {
  const header = ask.sendHeaderV2({ topic: TOPIC, batch: true, ...fields });
  return { code: ask.SEND_BATCH, header, body, expected, ...(apache === undefined ? {} : { apache }) };
}

function pull(fields: Partial<ask.PullFields>, expected: number, change: HeaderValues = {}, apache?: Case["apache"]): Case {
  const header = { ...ask.pullHeader({ group: GROUP, topic: TOPIC, ...fields }), ...change };
  return { code: ask.PULL, header, expected, ...(apache === undefined ? {} : { apache }) };
}

function create(change: HeaderValues, expected: number, apache?: Case["apache"]): Case {
  const header = { ...ask.topicHeader(`Made_${run}`, 2), ...change };
  return { code: ask.CREATE_TOPIC, header, expected, ...(apache === undefined ? {} : { apache }) };
}

const TWO = ask.batchBody([
  { body: BODY, properties: { KEYS: "a" } },
  { body: Buffer.from("world"), flag: 7 },
]);
const BETTER = "an exception by accident; ours says what is wrong";
const NEEDLESS = "it accepts what it has no use for";

const SENDS: Cases = {
  "a plain one": send({}, 0),
  "a blank in the topic": send({ topic: "a b" }, 29),
  "a path in the topic": send({ topic: "../../etc" }, 29),
  "a dot in the topic": send({ topic: "a.b" }, 29),
  "no topic": { ...send({ topic: "" }, 29), binary: 1 },
  "a topic beyond ASCII": send({ topic: "消息" }, 29),
  "a NUL in the topic": send({ topic: "a\u0000b" }, 29),
  "a topic of 128 characters": send({ topic: "x".repeat(128) }, 29),
  "a topic of 127 characters": send({ topic: `L${run}`.padEnd(127, "x") }, 0),
  "queue 4 of 4": send({ queueId: 4 }, 29),
  "queue -1, which means any": send({ queueId: -1 }, 0),
  "an unknown topic without a template": send({ topic: `None_${run}`, defaultTopic: "NoSuch" }, 17),
  "an unknown topic whose template may not be inherited": send({ topic: `None_${run}`, defaultTopic: TOPIC }, 17),
  "the delayed messages' topic": send({ topic: "SCHEDULE_TOPIC_XXXX" }, 16),
  "the half messages' topic": send({ topic: "RMQ_SYS_TRANS_HALF_TOPIC" }, 16),
  "another half messages' topic": send({ topic: "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC" }, 16),
  "the self test's topic": send({ topic: "SELF_TEST_TOPIC" }, 16),
  "a retry topic of a group that can be made": send({ topic: `%RETRY%made_${run}` }, 0),
  "a retry topic of no group": send({ topic: "%RETRY%" }, 26),
  "a retry topic of a group with too long a name": send({ topic: `%RETRY%${"g".repeat(121)}` }, 26),
  "no body": send({}, 13, Buffer.alloc(0), [1, BETTER]),
  "the largest body": send({}, 0, Buffer.alloc(BODY_SIZE_MAX, "b")),
  "a body one byte larger": send({}, 13, Buffer.alloc(BODY_SIZE_MAX + 1, "b")),
  "properties of 40,000 bytes": send({ properties: { n: "v".repeat(40_000) } }, 13),
  "properties that the broker's own make too large": send({ properties: { n: "v".repeat(32_700) } }, 13),
  "properties just small enough": send({ properties: { n: "v".repeat(32_500) } }, 0),
  "an illegal property separator": send({ propertiesText: "no separator at all" }, 0),
  "no queue": sendWith({ e: undefined }, 1),
  "a queue that is no number": sendWith({ e: "abc" }, 1),
  "a queue that is no whole number": sendWith({ e: "1.5" }, 1),
  "a queue beyond 32 bits": sendWith({ e: "99999999999" }, 1),
  "no born time": sendWith({ g: undefined }, 1),
  "reconsumeTimes that are no number": sendWith({ j: "x" }, 1),
  "no properties": sendWith({ i: undefined }, 0),
  "long names under code 310": { code: ask.SEND_V2, header: ask.sendHeader({ topic: TOPIC }), body: BODY, expected: 1 },
  "letters under code 10": { code: ask.SEND, header: ask.sendHeaderV2({ topic: TOPIC }), body: BODY, expected: 1 },
  "long names under code 10": { code: ask.SEND, header: ask.sendHeader({ topic: TOPIC }), body: BODY, expected: 0 },
};

const BATCHES: Cases = {
  "a plain one": batch({}, 0),
  "under code 310": { ...batch({}, 0), code: ask.SEND_V2 },
  "under code 10": { code: ask.SEND, header: ask.sendHeader({ topic: TOPIC, batch: true }), body: TWO, expected: 0 },
  "cut short": batch({}, 13, TWO.subarray(0, TWO.length - 3), [1, BETTER]),
  "of garbage": batch({}, 13, Buffer.from("this is no batch, whatever the header says"), [1, BETTER]),
  "of nothing": batch({}, 13, Buffer.alloc(0), [1, BETTER]),
  "to a retry topic": batch({ topic: `%RETRY%made_${run}` }, 13),
  "with a delay": batch({ properties: { DELAY: "3" } }, 13),
  "with a delay of 0": batch({ properties: { DELAY: "0" } }, 0),
  "with a delayed message": batch({}, 13, ask.batchBody([{ body: BODY, properties: { DELAY: "3" } }]), [
    0,
    "it delivers the message at once, as if no delay had been asked for",
  ]),
  "with a body that claims 2 GiB": batch({}, 13, withUInt32(TWO, 16, 0x7fff_ffff), [1, BETTER]),
  "of more than 4 MiB": batch({}, 13, ask.batchBody([1, 2, 3].map(() => ({ body: Buffer.alloc(1_500_000) }))), [1, BETTER]),
};

const PULLS: Cases = {
  "a plain one": pull({}, 0),
  "under code 361": { ...pull({}, 0), code: 361 },
  "an unknown topic": pull({ topic: `None_${run}` }, 17),
  "a topic with a blank": pull({ topic: "a b" }, 17),
  "queue 99": pull({ queueId: 99 }, 29),
  "queue -1": pull({ queueId: -1 }, 29),
  "an offset far beyond": pull({ offset: 1e9 }, 21),
  "an offset below 0": pull({ offset: -1 }, 21),
  "an empty queue": pull({ topic: EMPTY }, 19),
  "an empty queue, not at 0": pull({ topic: EMPTY, offset: 7 }, 21),
  "a tag that nobody has": pull({ expression: "nobody" }, 20),
  "a subscription of separators": pull({ expression: "||" }, 23),
  "no expression type": pull({}, 0, { expressionType: "" }),
  "a group that nobody is in": pull({ sysFlag: 0 }, 24),
  "a group with a blank": pull({ group: "a b" }, 26),
  "a group with too long a name": pull({ group: "g".repeat(121) }, 26),
  "0 messages": pull({ count: 0 }, 0),
  "no topic": pull({}, 1, { topic: undefined }),
  "no offset": pull({}, 1, { queueOffset: undefined }),
  "an offset that is no number": pull({}, 1, { queueOffset: "abc" }),
};

const OFFSETS: Cases = {
  "the offset of a group that has none": {
    code: ask.QUERY_OFFSET,
    header: { consumerGroup: GROUP, topic: TOPIC, queueId: 0, setZeroIfNotFound: false },
    expected: 22,
  },
  "the offset of a young queue, which is 0": {
    code: ask.QUERY_OFFSET,
    header: { consumerGroup: GROUP, topic: TOPIC, queueId: 0 },
    expected: 0,
  },
  "a commit": {
    code: ask.UPDATE_OFFSET,
    header: { consumerGroup: GROUP, topic: TOPIC, queueId: 1, commitOffset: 1 },
    expected: 0,
  },
  "a commit to an unknown topic": {
    code: ask.UPDATE_OFFSET,
    header: { consumerGroup: GROUP, topic: `None_${run}`, queueId: 0, commitOffset: 1 },
    expected: 17,
  },
  "a commit of an illegal group": {
    code: ask.UPDATE_OFFSET,
    header: { consumerGroup: "a b", topic: TOPIC, queueId: 0, commitOffset: 1 },
    expected: 26,
  },
  "a commit to queue 99": {
    code: ask.UPDATE_OFFSET,
    header: { consumerGroup: GROUP, topic: TOPIC, queueId: 99, commitOffset: 1 },
    expected: 29,
    apache: [0, NEEDLESS],
  },
  "the end of an unknown topic": { code: ask.MAX_OFFSET, header: { topic: `None_${run}`, queueId: 0 }, expected: 0 },
  "the start of queue 99": { code: ask.MIN_OFFSET, header: { topic: TOPIC, queueId: 99 }, expected: 0 },
  "a message beyond the log": { code: ask.VIEW_MESSAGE, header: { topic: TOPIC, offset: 999_999_999_999 }, expected: 1 },
  "a message at -1": { code: ask.VIEW_MESSAGE, header: { topic: TOPIC, offset: -1 }, expected: 1 },
  "a message in the middle of another": {
    code: ask.VIEW_MESSAGE,
    header: { topic: TOPIC, offset: 1 },
    expected: 1,
    apache: [0, "it sends whatever stands there"],
  },
  "a key that nobody has": {
    code: 12,
    header: { topic: TOPIC, key: "nobody", maxNum: 10, beginTimestamp: 0, endTimestamp: 9e12 },
    expected: 22,
  },
  "sending back what is not there": {
    code: ask.SEND_BACK,
    header: { offset: 999_999_999_999, group: GROUP, delayLevel: 0 },
    expected: 1,
  },
  "sending back for an illegal group": { code: ask.SEND_BACK, header: { offset: 0, group: "a b", delayLevel: 0 }, expected: 26 },
  "the members of an empty group": { code: 38, header: { consumerGroup: `nobody_${run}` }, expected: 1 },
};

const ADMIN: Cases = {
  "a topic": create({}, 0),
  "a topic with a blank": create({ topic: "a b" }, 29),
  "a topic without a name": { ...create({ topic: "" }, 29), binary: 1 },
  "a topic of 128 characters": create({ topic: "x".repeat(128) }, 29),
  "a system topic": create({ topic: "TBW102" }, 29),
  "a topic with perm 99": create({ perm: 99 }, 29, [0, NEEDLESS]),
  "a topic with -1 queues": create({ readQueueNums: -1, writeQueueNums: -1 }, 29, [0, NEEDLESS]),
  "a topic with a filter type that is none": create({ topicFilterType: "X" }, 29, [1, BETTER]),
  "a topic with attributes that are none": create({ attributes: "nonsense" }, 1),
  "a topic with an unknown message type": create({ topic: `Typed_${run}`, attributes: "+message.type=NONE" }, 1),
  "deleting an unknown topic": { code: ask.DELETE_TOPIC, header: { topic: `None_${run}` }, expected: 0 },
  "deleting a path": { code: ask.DELETE_TOPIC, header: { topic: "../../etc" }, expected: 29, apache: [0, "it deletes nothing"] },
  "deleting a system topic": { code: ask.DELETE_TOPIC, header: { topic: "TBW102" }, expected: 29 },
  "a group": { code: ask.CREATE_GROUP, body: Buffer.from(JSON.stringify({ groupName: GROUP })), expected: 0 },
  "a group with a blank": { code: ask.CREATE_GROUP, body: Buffer.from('{"groupName":"a b"}'), expected: 29 },
  "a heart-beat of garbage": { code: ask.HEARTBEAT, body: Buffer.from("garbage"), expected: 1 },
  "a heart-beat of nothing": { code: ask.HEARTBEAT, expected: 1 },
  "an unknown code": { code: 7777, expected: 3 },
  "a code below 0": { code: -5, expected: 3 },
  "a code that no broker serves": { code: 22, expected: 3 },
};

function withUInt32(bytes: Buffer, at: number, value: number): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt32BE(value, at);
  return changed;
}

for (const type of [SERIALIZE_JSON, SERIALIZE_ROCKETMQ]) {
  const headers = type === SERIALIZE_JSON ? "JSON" : "binary";
  for (const [kind, cases] of Object.entries({ sends: SENDS, batches: BATCHES, pulls: PULLS, offsets: OFFSETS, admin: ADMIN })) {
    test.serial(`${kind}, ${headers} headers`, async (t) => {
      const lab = new Lab(t);
      if (TARGET === undefined) await lab.start();
      const client = TARGET === undefined ? await lab.raw() : await RawClient.connect(TARGET);
      for (const topic of [TOPIC, EMPTY]) t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(topic, 4))).code, 0);
      t.is((await client.ask(ask.CREATE_GROUP, {}, Buffer.from(JSON.stringify({ groupName: GROUP })))).code, 0);
      t.is((await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC }), BODY)).code, 0);
      // A queue shows a message once it is indexed.
      await until(async () => (await client.ask(ask.MAX_OFFSET, { topic: TOPIC, queueId: 0 })).extFields["offset"] !== "0");
      for (const [name, { code, header, body, expected, binary, apache }] of Object.entries(cases)) {
        const answer = await client.ask(code, header, body, { type });
        const ours = type === SERIALIZE_ROCKETMQ ? (binary ?? expected) : expected;
        const due = TARGET === undefined ? ours : (apache?.[0] ?? ours);
        t.is(answer.code, due, `${name}: ${told(answer)}`);
        if (answer.code !== 0) t.true((answer.remark ?? "") !== "", `${name}: a remark says why`);
      }
      const after = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC }), BODY, { type });
      t.is(after.code, 0, "it lives on, on the same connection");
      client.close();
    });
  }
}

function told({ code, remark }: RemotingCommand): string {
  return `${code} ${remark ?? ""}`.slice(0, 300);
}
