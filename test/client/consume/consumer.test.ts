import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "ava";
import { MillraceError } from "../../../src/base/errors.ts";
import type { ConsumedMessage } from "../../../src/client/consume/consumed-message.ts";
import { Consumer } from "../../../src/client/consume/consumer.ts";
import type { ConsumerOptions } from "../../../src/client/consume/consumer-options.ts";
import { FLAG_RESPONSE, request, response } from "../../../src/format/remoting/remoting-command.ts";
import { memberOf, parseJson, parseQueueTable, queueTable, writeJson } from "../../../src/format/text/fastjson.ts";
import { until } from "../../until.ts";
import { FakeCluster, type FakeTopic } from "../fake-cluster.ts";
import { FakeQueues, fakeRecord } from "../fake-queues.ts";

interface Rig {
  cluster: FakeCluster;
  queues: FakeQueues;
  consumer: (options?: Partial<ConsumerOptions>) => Consumer;
  stop: () => Promise<void>;
}

async function rig(topics: Record<string, FakeTopic> = { T: { queueCount: 2, brokers: ["a"] } }): Promise<Rig> {
  const cluster = await FakeCluster.start(["a"], topics);
  const queues = new FakeQueues(cluster.broker("a"));
  const consumers: Consumer[] = [];
  return {
    cluster,
    queues,
    consumer: (options = {}) => {
      const consumer = new Consumer({ namesrvAddr: cluster.namesrvAddr, group: "g", consumeFrom: "first", ...options });
      consumer.subscribe("T");
      consumers.push(consumer);
      return consumer;
    },
    stop: async () => {
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await cluster.stop();
    },
  };
}

const bodies = (from: number, to: number): { body: string }[] =>
  Array.from({ length: to - from }, (_, index) => ({ body: `m${from + index}` }));

test("messages come in order of their queue, with their fields, and are committed on close", async (t) => {
  const { queues, cluster, consumer, stop } = await rig();
  queues.append("T", 0, [{ body: "m0", tags: "x", properties: { KEYS: "k1 k2", a: "ü" } }, ...bodies(1, 100)]);
  const seen: ConsumedMessage[] = [];
  const one = consumer();
  await one.run((messages) => void seen.push(...messages));
  await until(() => seen.length === 100);
  t.deepEqual(
    seen.map((message) => message.text()),
    bodies(0, 100).map(({ body }) => body),
  );
  const first = seen[0]!;
  t.is(first.topic, "T");
  t.is(first.tags, "x");
  t.deepEqual(first.keys, ["k1", "k2"]);
  t.is(first.properties.get("a"), "ü");
  t.is(first.msgId, "id-T/0-0");
  t.is(first.brokerName, "a");
  t.deepEqual([first.queueId, first.queueOffset, first.physicalOffset, first.bornTimestamp], [0, 0, 0, 1_000]);
  t.is(first.bornHost, "127.0.0.1:5000");
  t.is(seen[99]!.queueOffset, 99);
  t.deepEqual(
    one.assignment.map(({ topic, queueId }) => `${topic}/${queueId}`),
    ["T/0", "T/1"],
  );
  const heartbeat = JSON.parse(cluster.broker("a").receivedOf(34)[0]!.body.toString());
  t.is(heartbeat.clientID, one.clientId);
  const data = heartbeat.consumerDataSet[0];
  t.is(data.groupName, "g");
  t.deepEqual(
    data.subscriptionDataSet.map(({ topic, subString }: { topic: string; subString: string }) => [topic, subString]),
    [
      ["%RETRY%g", "*"],
      ["T", "*"],
    ],
  );
  await one.close();
  t.is(queues.committed.get("T/0"), 100);
  t.is(cluster.broker("a").receivedOf(35)[0]!.extFields["consumerGroup"], "g");
  await stop();
});

test("only what is done without a gap is committed", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 10));
  const release = new Map<string, () => void>();
  const one = consumer({ commitIntervalMs: 5, closeTimeoutMs: 0 });
  await one.run(([message]) => new Promise<void>((resolve) => release.set(message!.text(), resolve)));
  await until(() => release.size === 10);
  for (const body of ["m0", "m1", "m5", "m9"]) release.get(body)!();
  await until(() => queues.committed.get("T/0") === 2);
  for (const body of ["m2", "m3"]) release.get(body)!();
  await until(() => queues.committed.get("T/0") === 4);
  release.get("m4")!();
  await until(() => queues.committed.get("T/0") === 6);
  await one.close();
  t.is(queues.committed.get("T/0"), 6);
  await stop();
});

test("the broker compares hashes of tags, the consumer their text", async (t) => {
  const { queues, consumer, stop } = await rig();
  // "Aa" and "BB" have the same hash.
  queues.append("T", 0, [{ body: "1", tags: "Aa" }, { body: "2", tags: "BB" }, { body: "3" }, { body: "4", tags: "C" }]);
  const seen: string[] = [];
  const one = consumer();
  one.subscribe("T", "Aa || C");
  await one.run(([message]) => void seen.push(message!.text()));
  await until(() => seen.length === 2);
  await one.close();
  t.deepEqual(seen, ["1", "4"]);
  t.is(queues.committed.get("T/0"), 4);
  await stop();
});

test("a failed message goes back to the broker, its neighbours do not wait for it", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 5));
  const failures: string[] = [];
  const seen: string[] = [];
  const one = consumer({ onError: (error) => failures.push(error.message) });
  await one.run(([message]) => {
    seen.push(message!.text());
    if (message!.text() === "m2") throw new Error("no good");
    if (message!.text() === "m3") return Promise.reject(new Error("no better"));
    return undefined;
  });
  await until(() => queues.sentBack.length === 2);
  await one.close();
  t.deepEqual(seen, ["m0", "m1", "m2", "m3", "m4"]);
  t.deepEqual(
    queues.sentBack.map(({ delayLevel, topic }) => [delayLevel, topic]),
    [
      [0, "T"],
      [0, "T"],
    ],
  );
  t.is(queues.committed.get("T/0"), 5);
  t.true(failures.some((text) => text.includes("no good")));
  t.true(failures.some((text) => text.includes("no better")));
  await stop();
});

test("a message from the retry topic has its own topic again", async (t) => {
  const { queues, consumer, stop } = await rig({
    T: { queueCount: 1, brokers: ["a"] },
    "%RETRY%g": { queueCount: 1, brokers: ["a"] },
  });
  queues.append("%RETRY%g", 0, [{ body: "again", properties: { RETRY_TOPIC: "T" }, reconsumeTimes: 2 }]);
  const seen: ConsumedMessage[] = [];
  await consumer().run(([message]) => void seen.push(message!));
  await until(() => seen.length === 1);
  t.is(seen[0]!.topic, "T");
  t.is(seen[0]!.reconsumeTimes, 2);
  await stop();
});

test("orderly: one at a time, a failure is repeated on the spot, the dead go to the DLQ", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 4));
  const seen: string[] = [];
  let running = 0;
  const one = consumer({ orderly: true, orderlyRetryMs: 1, maxReconsumeTimes: 2 });
  await one.run(async ([message]) => {
    t.is(++running, 1);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running--;
    seen.push(`${message!.text()}#${message!.reconsumeTimes}`);
    if (message!.text() === "m1") throw new Error("always");
  });
  await until(() => seen.length === 6);
  await one.close();
  t.deepEqual(seen, ["m0#0", "m1#0", "m1#1", "m1#2", "m2#0", "m3#0"]);
  t.deepEqual(
    queues.sentBack.map(({ delayLevel }) => delayLevel),
    [-1],
  );
  t.is(queues.committed.get("T/0"), 4);
  t.true(queues.unlocked.includes("T/0"));
  await stop();
});

test("orderly: a queue that another member has locked is not touched", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.lockedByOthers.add("T/0");
  queues.append("T", 0, bodies(0, 1));
  queues.append("T", 1, bodies(1, 2));
  const seen: string[] = [];
  const one = consumer({ orderly: true, rebalanceIntervalMs: 100 });
  await one.run(([message]) => void seen.push(message!.text()));
  await until(() => seen.length === 1);
  t.deepEqual(seen, ["m1"]);
  t.is(queues.pullsOf("T", 0).length, 0);
  queues.lockedByOthers.clear();
  await until(() => seen.length === 2);
  t.deepEqual(seen, ["m1", "m0"]);
  await stop();
});

test("an offset out of range: the consumer goes where the broker says", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 20));
  queues.truncate("T", 0, 15);
  queues.committed.set("T/0", 3);
  queues.committed.set("T/1", 7);
  queues.append("T", 1, bodies(0, 2));
  const seen: string[] = [];
  const one = consumer();
  await one.run(([message]) => void seen.push(`${message!.queueId}/${message!.text()}`));
  await until(() => seen.length === 5);
  t.deepEqual(seen, ["0/m15", "0/m16", "0/m17", "0/m18", "0/m19"]);
  queues.append("T", 1, bodies(2, 3));
  await until(() => seen.length === 6);
  t.is(seen[5], "1/m2");
  await stop();
});

test("where a group begins: last, a time, or its stored offset", async (t) => {
  const { queues, cluster, consumer, stop } = await rig({ T: { queueCount: 1, brokers: ["a"] } });
  queues.append("T", 0, bodies(0, 5));
  const last = consumer({ consumeFrom: "last" });
  await last.run(() => {});
  await until(() => queues.pullsOf("T", 0).length === 1);
  t.is(queues.pullsOf("T", 0)[0]!.extFields["queueOffset"], "5");
  await last.close();
  queues.committed.clear();
  const timed = consumer({ consumeFrom: { timestamp: 12_345 } });
  await timed.run(() => {});
  await until(() => queues.pullsOf("T", 0).length > 1);
  t.is(queues.pullsOf("T", 0)[1]!.extFields["queueOffset"], "1");
  t.is(cluster.broker("a").receivedOf(29)[0]!.extFields["timestamp"], "12345");
  await stop();
});

test("flow control: a queue whose first message is stuck is not pulled on and on", async (t) => {
  const { queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 500));
  const pulled = (): number => Math.max(...queues.pullsOf("T", 0).map(({ extFields }) => Number(extFields["queueOffset"])));
  let release: (() => void) | undefined;
  let count = 0;
  const one = consumer({ maxQueueMessages: 40, pullBatchSize: 10 });
  await one.run(([message]) => {
    count++;
    return message!.queueOffset > 0 ? undefined : new Promise<void>((resolve) => (release = resolve));
  });
  await until(() => count === 40);
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.is(count, 40);
  t.true(pulled() <= 40);
  release!();
  await until(() => count === 500);
  await one.close();
  t.is(queues.committed.get("T/0"), 500);
  await stop();
});

test("members share the queues; a member that leaves gives its queues back", async (t) => {
  const { queues, cluster, consumer, stop } = await rig({ T: { queueCount: 4, brokers: ["a"] } });
  const clients = ["c1", "c2"].map((clientId) => consumer({ clientId }));
  const seen: string[][] = [[], []];
  await clients[0]!.run(([message]) => void seen[0]!.push(message!.text()));
  t.is(clients[0]!.assignment.length, 4);
  await clients[1]!.run(([message]) => void seen[1]!.push(message!.text()));
  const notify = (): void => {
    for (const connection of cluster.broker("a").connections)
      connection.send({ ...request(40, 7, { consumerGroup: "g" }), flag: 2 });
  };
  notify();
  await until(() => clients[0]!.assignment.length === 2);
  t.deepEqual(
    clients[0]!.assignment.map(({ queueId }) => queueId),
    [0, 1],
  );
  t.deepEqual(
    clients[1]!.assignment.map(({ queueId }) => queueId),
    [2, 3],
  );
  for (let queueId = 0; queueId < 4; queueId++) queues.append("T", queueId, [{ body: `q${queueId}` }]);
  await until(() => seen[0]!.length + seen[1]!.length === 4);
  t.deepEqual(
    seen.map((list) => list.toSorted()),
    [
      ["q0", "q1"],
      ["q2", "q3"],
    ],
  );
  await clients[0]!.close();
  t.is(queues.committed.get("T/0"), 1);
  notify();
  await until(() => clients[1]!.assignment.length === 4);
  queues.append("T", 0, [{ body: "late" }]);
  await until(() => seen[1]!.includes("late"));
  t.is(seen[1]!.filter((body) => body === "q0").length, 0);
  await stop();
});

test("a broker that forgot the subscription is told again", async (t) => {
  const { cluster, queues, consumer, stop } = await rig({ T: { queueCount: 1, brokers: ["a"] } });
  const broker = cluster.broker("a");
  let isForgetful = true;
  const one = consumer();
  broker.on(11, (command) => {
    if (isForgetful) return response(command, 24, "the consumer's subscription not exist");
    return response(command, 19, "", { nextBeginOffset: 0, suggestWhichBrokerId: 0, minOffset: 0, maxOffset: 0 });
  });
  await one.run(() => {});
  await until(() => broker.receivedOf(11).length === 1);
  const heartbeats = broker.receivedOf(34).length;
  isForgetful = false;
  await until(() => broker.receivedOf(34).length > heartbeats);
  broker.on(11, () => undefined);
  t.is(queues.sentBack.length, 0);
  await stop();
});

test("a lost connection: the heartbeat goes first, then the pulls go on", async (t) => {
  const { cluster, queues, consumer, stop } = await rig({ T: { queueCount: 1, brokers: ["a"] } });
  const seen: string[] = [];
  await consumer().run(([message]) => void seen.push(message!.text()));
  await until(() => queues.pullsOf("T", 0).length === 1);
  const before = cluster.broker("a").received.length;
  cluster.broker("a").connections[0]!.cut();
  await until(() => queues.pullsOf("T", 0).length === 2);
  t.is(cluster.broker("a").received[before]!.code, 34);
  queues.append("T", 0, bodies(0, 1));
  await until(() => seen.length === 1);
  await stop();
});

test("requests of the broker: reset, status, running info, consume directly", async (t) => {
  const { cluster, queues, consumer, stop } = await rig({ T: { queueCount: 1, brokers: ["a"] } });
  queues.append("T", 0, bodies(0, 5));
  const seen: string[] = [];
  const one = consumer({ clientId: "me", commitIntervalMs: 5 });
  await one.run(([message]) => {
    seen.push(message!.text());
    if (message!.text() === "direct fails") throw new Error("as told");
  });
  await until(() => queues.committed.get("T/0") === 5);
  const connection = cluster.broker("a").connections[0]!;
  const queue = { brokerName: "a", queueId: 0, topic: "T" };
  connection.send({
    ...request(220, 1, { topic: "T", group: "g" }, Buffer.from(writeJson({ offsetTable: queueTable([[queue, 3]]) }))),
    flag: 2,
  });
  await until(() => seen.length === 7);
  t.deepEqual(seen.slice(5), ["m3", "m4"]);
  const answers = new Map<number, Buffer>();
  const codes = new Map<number, number>();
  for (const code of [0, 1]) {
    cluster.broker("a").on(code, (answer) => {
      t.is(answer.flag & FLAG_RESPONSE, FLAG_RESPONSE);
      answers.set(answer.opaque, answer.body);
      codes.set(answer.opaque, answer.code);
      return undefined;
    });
  }
  connection.send(request(221, 21, { topic: "T", group: "g" }));
  connection.send(request(221, 22, { topic: "T", group: "other" }));
  connection.send(request(307, 23, { consumerGroup: "g", clientId: "me", jstackEnable: false }));
  connection.send(
    request(
      309,
      24,
      { consumerGroup: "g", clientId: "me", brokerName: "a", topic: "T" },
      fakeRecord("T", 0, { body: "direct" }, "127.0.0.1:1"),
    ),
  );
  connection.send(
    request(
      309,
      25,
      { consumerGroup: "g", clientId: "me", brokerName: "a", topic: "T" },
      fakeRecord("T", 0, { body: "direct fails" }, "127.0.0.1:1"),
    ),
  );
  await until(() => answers.size === 5);
  const table = parseQueueTable(memberOf(parseJson(answers.get(21)!), "messageQueueTable"));
  t.deepEqual(
    table.map((entry) => ({ ...entry })),
    [{ queue, value: 5 }],
  );
  t.is(codes.get(22), 1);
  const info = parseJson(answers.get(23)!);
  t.deepEqual(
    parseQueueTable(memberOf(info, "mqTable")).map(({ queue: { queueId } }) => queueId),
    [0],
  );
  t.is(memberOf(parseJson(answers.get(24)!), "consumeResult"), "CR_SUCCESS");
  t.is(memberOf(parseJson(answers.get(25)!), "consumeResult"), "CR_THROW_EXCEPTION");
  t.is(memberOf(parseJson(answers.get(25)!), "remark"), "as told");
  t.deepEqual(seen.slice(7), ["direct", "direct fails"]);
  await stop();
});

test("for await: a message is done when the loop asks for the next, or says so", async (t) => {
  const { queues, consumer, stop } = await rig({ T: { queueCount: 1, brokers: ["a"] } });
  queues.append("T", 0, bodies(0, 10));
  const seen: string[] = [];
  const first = consumer();
  for await (const message of first) {
    seen.push(message.text());
    if (message.text() === "m3") break;
  }
  await first.close();
  t.is(queues.committed.get("T/0"), 3);
  const second = consumer();
  for await (const message of second) {
    seen.push(message.text());
    if (message.text() !== "m5") continue;
    second.acknowledge(message);
    break;
  }
  await second.close();
  t.is(queues.committed.get("T/0"), 6);
  const third = consumer();
  const rest: string[] = [];
  for await (const message of third) {
    rest.push(message.text());
    // Closing ends the loop; the message it came with is not done.
    if (message.text() === "m8") await third.close();
  }
  t.deepEqual(seen, ["m0", "m1", "m2", "m3", "m3", "m4", "m5"]);
  t.deepEqual(rest, ["m6", "m7", "m8"]);
  t.is(queues.committed.get("T/0"), 8);
  await stop();
});

test("broadcasting: all queues, no members asked, offsets in a file", async (t) => {
  const directory = await mkdtemp(path.join(tmpdir(), "millrace-consumer-"));
  const { cluster, queues, consumer, stop } = await rig();
  queues.append("T", 0, bodies(0, 3));
  queues.append("T", 1, bodies(3, 5));
  const offsetFile = path.join(directory, "deep", "offsets.json");
  const seen: string[] = [];
  const first = consumer({ messageModel: "broadcasting", offsetFile });
  await first.run(([message]) => {
    seen.push(message!.text());
    if (message!.text() === "m1") throw new Error("nobody keeps it");
  });
  await until(() => seen.length === 5);
  await first.close();
  t.is(cluster.broker("a").receivedOf(38).length + cluster.broker("a").receivedOf(15).length + queues.sentBack.length, 0);
  t.is(JSON.parse(cluster.broker("a").receivedOf(34)[0]!.body.toString()).consumerDataSet[0].messageModel, "BROADCASTING");
  t.deepEqual(JSON.parse(await readFile(offsetFile, "utf8")), { offsets: { "T@a@0": 3, "T@a@1": 2 } });
  queues.append("T", 0, bodies(5, 6));
  const second = consumer({ messageModel: "broadcasting", offsetFile });
  await second.run(([message]) => void seen.push(message!.text()));
  await until(() => seen.length === 6);
  t.is(seen[5], "m5");
  await stop();
  await rm(directory, { recursive: true });
});

test("subscribing and unsubscribing while running", async (t) => {
  const { queues, cluster, consumer, stop } = await rig({
    T: { queueCount: 1, brokers: ["a"] },
    U: { queueCount: 1, brokers: ["a"] },
  });
  queues.append("U", 0, bodies(0, 2));
  const seen: string[] = [];
  const one = consumer();
  await one.run(([message]) => void seen.push(`${message!.topic}/${message!.text()}`));
  one.subscribe("U");
  await until(() => seen.length === 2);
  t.deepEqual(seen, ["U/m0", "U/m1"]);
  one.unsubscribe("U");
  await until(() => one.assignment.length === 1);
  await until(() => queues.committed.get("U/0") === 2);
  const counts = (): number[] =>
    cluster
      .broker("a")
      .receivedOf(34)
      .map(({ body }) => JSON.parse(body.toString()).consumerDataSet[0].subscriptionDataSet.length);
  await until(() => counts().at(-1) === 2);
  t.is(Math.max(...counts()), 3);
  await stop();
});

test("misuse is told", async (t) => {
  const valid = { namesrvAddr: "127.0.0.1:1", group: "g" };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ messageModel: "both" }, /messageModel: "both".*"clustering", "broadcasting"/],
    [{ consumeFrom: "middle" }, /consumeFrom: "middle".*timestamp/],
    [{ consumeFrom: { timestamp: -1 } }, /consumeFrom/],
    [{ offsetFile: "x" }, /offsetFile: "x".*broadcasting/],
    [{ orderly: true, messageModel: "broadcasting" }, /orderly/],
    [{ maxInFlight: 0 }, /maxInFlight: 0.*from 1/],
    [{ batchSize: 5 }, /batchSize: 5.*consumeBatchSize/],
  ];
  for (const [options, expected] of cases) {
    t.throws(() => new Consumer({ ...valid, ...options }), { instanceOf: MillraceError, message: expected });
  }
  const one = new Consumer(valid);
  t.throws(() => one.subscribe("a b"), { message: /topic: "a b"/ });
  t.throws(() => one.subscribe("T", " || "), { message: /expression/ });
  t.throws(() => one.subscribe("T", { sql: "" }), { message: /expression/ });
  await one.close();
  await t.throwsAsync(
    one.run(() => {}),
    { instanceOf: MillraceError },
  );
  t.throws(() => one[Symbol.asyncIterator](), { instanceOf: MillraceError });
});
