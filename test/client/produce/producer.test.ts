import { inflateSync } from "node:zlib";
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import type { SendResult } from "../../../src/client/produce/batch.ts";
import { Producer } from "../../../src/client/produce/producer.ts";
import type { ProducerOptions } from "../../../src/client/produce/producer-options.ts";
import { decodeProperties } from "../../../src/format/record/properties.ts";
import { response } from "../../../src/format/remoting/remoting-command.ts";
import { until } from "../../until.ts";
import { acceptSends, batchMessages, FakeCluster } from "../fake-cluster.ts";

async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  const failure: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof MillraceError) return failure;
  throw new Error("expected a MillraceError", { cause: failure });
}

async function started(cluster: FakeCluster, options: Partial<ProducerOptions> = {}): Promise<Producer> {
  const producer = new Producer({ namesrvAddr: cluster.namesrvAddr, group: "pg", retryDelayMs: 1, ...options });
  await producer.start();
  return producer;
}

/** Bodies of all batches that a broker got, by queue, in order. */
function batchBodies(cluster: FakeCluster, broker: string): Map<string, string[]> {
  const bodies = new Map<string, string[]>();
  for (const command of cluster.broker(broker).receivedOf(320)) {
    const queue = command.extFields["e"]!;
    bodies.set(queue, [...(bodies.get(queue) ?? []), ...batchMessages(command.body).map(({ body }) => body.toString())]);
  }
  return bodies;
}

test("single sends go to the queues in turn and tell where each message lies", async (t) => {
  const cluster = await FakeCluster.start(["b"], { T: { queueCount: 4, brokers: ["b"] } });
  acceptSends(cluster.broker("b"));
  const producer = await started(cluster);
  const results: SendResult[] = [];
  for (let index = 0; index < 8; index++)
    results.push(await producer.send({ topic: "T", body: `m${index}`, tags: "tag", keys: ["k1", "k2"] }));
  t.deepEqual(
    results.map(({ queueId }) => queueId).toSorted((a, b) => a - b),
    [0, 0, 1, 1, 2, 2, 3, 3],
  );
  t.deepEqual(new Set(results.slice(0, 4).map(({ queueId }) => queueId)).size, 4);
  t.deepEqual(
    results.slice(4).map(({ queueOffset }) => queueOffset),
    [1, 1, 1, 1],
  );
  const sent = cluster.broker("b").receivedOf(310);
  t.deepEqual(
    sent.map(({ body }) => body.toString()),
    Array.from({ length: 8 }, (_, index) => `m${index}`),
  );
  const properties = decodeProperties(sent[0]!.extFields["i"]!);
  t.is(properties.get("TAGS"), "tag");
  t.is(properties.get("KEYS"), "k1 k2");
  t.is(properties.get("UNIQ_KEY"), results[0]!.msgId);
  t.is(results[0]!.status, "SEND_OK");
  t.is(results[0]!.brokerName, "b");
  await producer.close();
  t.is(cluster.broker("b").receivedOf(35)[0]!.extFields["producerGroup"], "pg");
  const heartbeat = JSON.parse(cluster.broker("b").receivedOf(34)[0]!.body.toString());
  t.deepEqual(heartbeat.producerDataSet, [{ groupName: "pg" }]);
  await cluster.stop();
});

test("queueId, brokerName and orderKey pin the queue", async (t) => {
  const cluster = await FakeCluster.start(["a", "b"], { T: { queueCount: 3, brokers: ["a", "b"] } });
  acceptSends(cluster.broker("a"));
  acceptSends(cluster.broker("b"));
  const producer = await started(cluster);
  const { queueId, brokerName } = await producer.send({ topic: "T", body: "x", queueId: 2, brokerName: "b" });
  t.deepEqual({ queueId, brokerName }, { queueId: 2, brokerName: "b" });
  t.is((await producer.send({ topic: "T", body: "x", queueId: 1 })).brokerName, "a");
  const keyed = await Promise.all(
    Array.from({ length: 20 }, (_, index) => producer.send({ topic: "T", body: "x", orderKey: `k${index % 2}` })),
  );
  // Java: "k0".hashCode() = 3365, "k1" = 3366; six queues, a:0 a:1 a:2 b:0 b:1 b:2.
  t.true(
    keyed.every(
      (result, index) => result.brokerName === (index % 2 === 0 ? "b" : "a") && result.queueId === (index % 2 === 0 ? 2 : 0),
    ),
  );
  t.is((await rejection(producer.send({ topic: "T", body: "x", queueId: 3 }))).code, "MILLRACE_MESSAGE_ILLEGAL");
  await producer.close();
  await cluster.stop();
});

test("a refusal that may pass is tried on another broker with the same id, one that may not is told", async (t) => {
  const cluster = await FakeCluster.start(["a", "b"], { T: { queueCount: 1, brokers: ["a", "b"] } });
  cluster.broker("a").on(310, (command) => response(command, 2, "[OVERLOAD]"));
  acceptSends(cluster.broker("b"));
  const producer = await started(cluster);
  const results = await Promise.all([producer.send({ topic: "T", body: "1" }), producer.send({ topic: "T", body: "2" })]);
  t.deepEqual(
    results.map(({ brokerName }) => brokerName),
    ["b", "b"],
  );
  const refused = cluster.broker("a").receivedOf(310);
  t.true(refused.length >= 1);
  const idOf = (fields: Record<string, string>): string => decodeProperties(fields["i"]!).get("UNIQ_KEY")!;
  t.true(results.some(({ msgId }) => msgId === idOf(refused[0]!.extFields)));
  cluster.broker("b").on(310, (command) => response(command, 13, "the message is illegal"));
  cluster.broker("a").on(310, (command) => response(command, 13, "the message is illegal"));
  const before = cluster.broker("a").receivedOf(310).length + cluster.broker("b").receivedOf(310).length;
  const illegal = await rejection(producer.send({ topic: "T", body: "3" }));
  t.is(illegal.code, "MILLRACE_REQUEST_FAILED");
  t.is(illegal.details["responseCode"], 13);
  t.is(cluster.broker("a").receivedOf(310).length + cluster.broker("b").receivedOf(310).length, before + 1);
  await producer.close();
  await cluster.stop();
});

test("a cut connection with sends pending: they go to the other broker", async (t) => {
  const cluster = await FakeCluster.start(["a", "b"], { T: { queueCount: 1, brokers: ["a", "b"] } });
  acceptSends(cluster.broker("b"));
  cluster.broker("a").on(310, (_command, connection) => {
    connection.cut();
    return undefined;
  });
  const producer = await started(cluster);
  const results = await Promise.all(Array.from({ length: 20 }, (_, index) => producer.send({ topic: "T", body: `m${index}` })));
  t.true(results.every(({ brokerName }) => brokerName === "b"));
  t.deepEqual(
    new Set(
      cluster
        .broker("b")
        .receivedOf(310)
        .map(({ body }) => body.toString()),
    ).size,
    20,
  );
  await producer.close();
  await cluster.stop();
});

test("without another broker the same one is tried again after a pause, retries times", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 2, brokers: ["a"] } });
  let refusals = 2;
  const { offsets } = acceptSends(cluster.broker("a"));
  cluster
    .broker("a")
    .on(310, (command) =>
      refusals-- > 0
        ? response(command, 1, "not now")
        : response(command, 0, undefined, { msgId: "m", queueId: 0, queueOffset: 7 }),
    );
  t.is(offsets.size, 0);
  const producer = await started(cluster, { retries: 2 });
  t.is((await producer.send({ topic: "T", body: "x" })).queueOffset, 7);
  refusals = 3;
  t.is((await rejection(producer.send({ topic: "T", body: "x" }))).details["responseCode"], 1);
  t.is(cluster.broker("a").receivedOf(310).length, 6);
  await producer.close();
  await cluster.stop();
});

test("a broker that does not answer: MILLRACE_TIMEOUT after all attempts", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  const producer = await started(cluster, { sendTimeoutMs: 1, retries: 1 });
  t.is((await rejection(producer.send({ topic: "T", body: "x" }))).code, "MILLRACE_TIMEOUT");
  t.is(cluster.broker("a").receivedOf(310).length, 2);
  t.is(producer.bufferedBytes, 0);
  await producer.close();
  await cluster.stop();
});

test("an unknown topic goes where TBW102 says, and nowhere without it", async (t) => {
  const cluster = await FakeCluster.start(["a"], { TBW102: { queueCount: 8, brokers: ["a"], perm: 7 } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster);
  const results = await Promise.all(Array.from({ length: 8 }, () => producer.send({ topic: "New", body: "x" })));
  t.deepEqual(
    [...new Set(results.map(({ queueId }) => queueId))].toSorted((a, b) => a - b),
    [0, 1, 2, 3],
  );
  const { c, d } = cluster.broker("a").receivedOf(310)[0]!.extFields;
  t.deepEqual({ c, d }, { c: "TBW102", d: "4" });
  await producer.close();
  cluster.topics.clear();
  const other = await started(cluster, { batchSize: 1_000 });
  t.is((await rejection(other.send({ topic: "New", body: "x" }))).code, "MILLRACE_TOPIC_UNKNOWN");
  t.false(other.sendBuffered({ topic: "New", body: "x" }));
  t.is((await rejection(other.drained())).code, "MILLRACE_TOPIC_UNKNOWN");
  t.is((await rejection(other.send({ topic: "no good", body: "x" }))).code, "MILLRACE_CONFIG_INVALID");
  await other.close();
  await cluster.stop();
});

test("messages of one turn go in one batch, each resolved with its own offset", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 4, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster, { batchSize: 10_000 });
  const results = await Promise.all(Array.from({ length: 50 }, (_, index) => producer.send({ topic: "T", body: `m${index}` })));
  t.is(cluster.broker("a").receivedOf(320).length, 1);
  t.deepEqual(
    results.map(({ queueOffset }) => queueOffset),
    Array.from({ length: 50 }, (_, index) => index),
  );
  t.deepEqual(new Set(results.map(({ queueId }) => queueId)).size, 1);
  const queue = results[0]!.queueId;
  t.is(results[49]!.offsetMsgId, `T/${queue}#49`);
  const written = batchMessages(cluster.broker("a").receivedOf(320)[0]!.body);
  t.deepEqual(
    written.map(({ properties }) => decodeProperties(properties).get("UNIQ_KEY")),
    results.map(({ msgId }) => msgId),
  );
  await producer.close();
  await cluster.stop();
});

test("a batch leaves when it is full or lingerMs are over", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const clock = new VirtualClock(1_000_000);
  const producer = await started(cluster, { batchSize: 1_000, lingerMs: 50, clock });
  t.false(producer.sendBuffered({ topic: "T", body: "the route is not known yet" }));
  await producer.drained();
  t.true(producer.sendBuffered({ topic: "T", body: "m0" }));
  clock.advance(49);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.is(cluster.broker("a").receivedOf(320).length, 0);
  clock.advance(1);
  await until(() => cluster.broker("a").receivedOf(320).length === 1);
  // Full: the sixth no longer fits into 1,000 bytes with the room its properties might need.
  for (let index = 0; index < 6; index++) t.true(producer.sendBuffered({ topic: "T", body: "x".repeat(100) }));
  await until(() => cluster.broker("a").receivedOf(320).length === 2);
  t.is(batchMessages(cluster.broker("a").receivedOf(320)[1]!.body).length < 6, true);
  await producer.flush();
  t.is(batchBodies(cluster, "a").get("0")!.length, 7);
  t.is(producer.bufferedBytes, 0);
  await producer.close();
  await cluster.stop();
});

test("a queue keeps its order and loses nothing through refusals and cuts", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 3, brokers: ["a"] } });
  const stored = new Map<string, string[]>();
  let turn = 0;
  cluster.broker("a").on(320, (command, connection) => {
    turn++;
    if (turn % 3 === 0) return response(command, 2, "busy");
    if (turn % 7 === 0) {
      connection.cut();
      return undefined;
    }
    const queue = command.extFields["e"]!;
    const bodies = stored.get(queue) ?? [];
    const queueOffset = bodies.length;
    bodies.push(...batchMessages(command.body).map(({ body }) => body.toString()));
    stored.set(queue, bodies);
    return response(command, 0, undefined, { msgId: "m", queueId: queue, queueOffset });
  });
  const producer = await started(cluster, {
    batchSize: 600,
    retries: 50,
    connection: { reconnectDelayMs: 1, reconnectDelayMsMax: 1 },
  });
  const heard: (string | undefined)[][] = [[], [], []];
  let sent = 0;
  while (sent < 900) {
    const key = sent % 3;
    const body = `${key}:${sent}`;
    const accepted = producer.sendBuffered({ topic: "T", body, orderKey: `k${key}` }, (error, queueOffset) => {
      heard[key]![queueOffset] = error === undefined ? body : String(error);
    });
    if (accepted) sent++;
    else await producer.drained();
    if (sent % 40 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await producer.flush();
  // A cut may swallow the answer to what was stored: then it is stored twice, the first time in its place.
  const first = [...stored.values()].map((bodies) => [...new Set(bodies)]);
  t.is(first.flat().length, 900);
  for (const bodies of first) {
    const numbers = bodies.map((body) => Number(body.slice(2)));
    t.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
  }
  // Each callback was told the offset of its own body.
  for (const told of heard) {
    const bodies = [...stored.values()].find((candidates) => candidates.includes(told.find((body) => body !== undefined)!))!;
    t.true(told.every((body, offset) => bodies[offset] === body));
    t.is(told.filter((body) => body !== undefined).length, 300);
  }
  await producer.close();
  await cluster.stop();
});

test("bufferMemory: sendBuffered says no, send waits, then gives up", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  const producer = await started(cluster, {
    batchSize: 20_000,
    bufferMemory: 65_536,
    maxBlockMs: 30,
    retries: 0,
    sendTimeoutMs: 60_000,
  });
  const body = Buffer.alloc(10_000);
  await rejection(producer.send({ topic: "Unknown", body }));
  while (!producer.sendBuffered({ topic: "T", body })) await producer.drained();
  let accepted = 1;
  while (producer.sendBuffered({ topic: "T", body })) accepted++;
  t.is(accepted, 6);
  t.true(producer.bufferedBytes <= 65_536);
  t.is((await rejection(producer.send({ topic: "T", body }))).code, "MILLRACE_BUSY");
  const late = producer.send({ topic: "T", body: "late" });
  acceptSends(cluster.broker("a"));
  for (const command of cluster.broker("a").receivedOf(320)) {
    cluster.broker("a").connections[0]!.send(response(command, 0, undefined, { msgId: "m", queueId: 0, queueOffset: 0 }));
  }
  await late;
  await producer.flush();
  t.is(producer.bufferedBytes, 0);
  await producer.close();
  await cluster.stop();
});

test("flush tells of failures that nobody listened to; callbacks and promises hear their own", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  cluster.broker("a").on(320, (command) => response(command, 13, "illegal"));
  const producer = await started(cluster, { batchSize: 10_000 });
  while (!producer.sendBuffered({ topic: "T", body: "first" }, () => {})) await producer.drained();
  await producer.flush();
  let heard: Error | undefined;
  producer.sendBuffered({ topic: "T", body: "1" }, (error) => {
    heard = error;
  });
  producer.sendBuffered({ topic: "T", body: "2" });
  t.is((await rejection(producer.flush())).details["responseCode"], 13);
  t.true(heard instanceof MillraceError);
  await producer.flush();
  await producer.close();
  await cluster.stop();
});

test("sendBatch puts its messages side by side; mixed topics and delays are refused", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 4, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster);
  const results = await producer.sendBatch([1, 2, 3].map((index) => ({ topic: "T", body: `b${index}`, tags: `t${index}` })));
  t.deepEqual(
    results.map(({ queueOffset }) => queueOffset),
    [0, 1, 2],
  );
  t.is(cluster.broker("a").receivedOf(320)[0]!.extFields["m"], "true");
  for (const bad of [
    [],
    [
      { topic: "T", body: "1" },
      { topic: "U", body: "2" },
    ],
    [{ topic: "T", body: "1", delayLevel: 3 }],
    [{ topic: "T", body: "" }],
  ]) {
    t.is((await rejection(producer.sendBatch(bad))).code, "MILLRACE_MESSAGE_ILLEGAL");
  }
  t.is(
    (
      await rejection(
        producer.sendBatch([
          { topic: "T", body: Buffer.alloc(3_000_000) },
          { topic: "T", body: Buffer.alloc(3_000_000) },
        ]),
      )
    ).code,
    "MILLRACE_MESSAGE_ILLEGAL",
  );
  t.is(producer.bufferedBytes, 0);
  await producer.close();
  await cluster.stop();
});

test("delayed and timed messages go one by one even with batches", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster, { batchSize: 10_000 });
  await producer.send({ topic: "T", body: "d", delayLevel: 3 });
  await producer.send({ topic: "T", body: "t", properties: { TIMER_DELAY_MS: "5000" } });
  await new Promise<void>((resolve, reject) => {
    producer.sendBuffered({ topic: "T", body: "d", delayLevel: 1 }, (error) => (error === undefined ? resolve() : reject(error)));
  });
  t.is(cluster.broker("a").receivedOf(310).length, 3);
  t.is(cluster.broker("a").receivedOf(320).length, 0);
  t.is(decodeProperties(cluster.broker("a").receivedOf(310)[0]!.extFields["i"]!).get("DELAY"), "3");
  await producer.close();
  await cluster.stop();
});

test("bodies over compressOver are compressed, and never share a batch with others", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster, { batchSize: 20_000, compression: "zlib", compressOver: 1_000 });
  const small = Buffer.from("small");
  const large = Buffer.alloc(5_000, "abc");
  await Promise.all([small, large, large, small].map((body) => producer.send({ topic: "T", body })));
  const batches = cluster.broker("a").receivedOf(320);
  t.deepEqual(
    batches.map(({ extFields }) => extFields["f"]),
    ["0", String(0x301), "0"],
  );
  const packed = batchMessages(batches[1]!.body);
  t.is(packed.length, 2);
  t.true(inflateSync(packed[0]!.body).equals(large));
  await producer.close();
  await cluster.stop();
});

test("a message that cannot be written leaves nothing behind: no request, no bytes, no late second try", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const clock = new VirtualClock(0);
  for (const batchSize of [0, 10_000]) {
    const producer = await started(cluster, { clock, batchSize });
    await producer.send({ topic: "T", body: "good" });
    const before = cluster.broker("a").received.length;
    for (const bad of [{ tags: "a\u0001b" }, { properties: { TAGS: "x" } }, { properties: { n: 1 as unknown as string } }]) {
      t.is((await rejection(producer.send({ topic: "T", body: "x", ...bad }))).code, "MILLRACE_MESSAGE_ILLEGAL");
    }
    t.is((await rejection(producer.send({ topic: "T", body: Buffer.alloc(4_194_305) }))).code, "MILLRACE_MESSAGE_ILLEGAL");
    clock.advance(20_000);
    t.is(producer.bufferedBytes, 0);
    await producer.send({ topic: "T", body: "good" });
    t.is(cluster.broker("a").received.length, before + 1);
    await producer.close();
  }
  await cluster.stop();
});

test("one-way sends carry the flag and wait for nobody", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  const producer = await started(cluster);
  await producer.sendOneway({ topic: "T", body: "x" });
  await until(() => cluster.broker("a").receivedOf(310).length === 1);
  t.is(cluster.broker("a").receivedOf(310)[0]!.flag, 2);
  t.is((await rejection(producer.sendOneway({ topic: "T", body: "x", tags: "" }))).code, "MILLRACE_MESSAGE_ILLEGAL");
  await producer.close();
  await cluster.stop();
});

test("close sends what was accepted; afterwards everything is refused", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  acceptSends(cluster.broker("a"));
  const producer = await started(cluster, { batchSize: 100_000, lingerMs: 60_000 });
  const sent = Array.from({ length: 10 }, () => producer.send({ topic: "T", body: "x" }));
  await producer.close();
  t.is((await Promise.all(sent)).length, 10);
  t.is((await rejection(producer.send({ topic: "T", body: "x" }))).code, "MILLRACE_CLOSED");
  t.throws(() => producer.sendBuffered({ topic: "T", body: "x" }), { instanceOf: MillraceError });
  await producer.close();
  await cluster.stop();
});

test("close does not hang on a broker that is gone, and fails what it held", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  const producer = await started(cluster, { batchSize: 10_000, retries: 1 });
  const failed = rejection(producer.send({ topic: "T", body: "x" }));
  await until(() => cluster.broker("a").receivedOf(320).length === 1);
  await cluster.broker("a").stop();
  await producer.close();
  t.is((await failed).code, "MILLRACE_CONNECTION");
  await cluster.nameServer.stop();
});

test("options are checked: key, value and what is allowed", (t) => {
  const valid = { namesrvAddr: "127.0.0.1:9876", group: "g" };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ namesrvAddr: "nohost" }, /namesrvAddr: "nohost".*host:port/],
    [{ group: "a b" }, /group: "a b".*characters/],
    [{ group: undefined }, /group: undefined/],
    [{ batchSize: -1 }, /batchSize: -1.*from 0/],
    [{ batchSize: 5_000_000 }, /batchSize: 5000000.*4194304/],
    [{ lingerMs: 1.5 }, /lingerMs: 1.5/],
    [{ compression: "gzip" }, /compression: "gzip".*"none", "zlib", "lz4", "zstd"/],
    [{ retries: "2" }, /retries: "2"/],
    [{ batchSizes: 1 }, /batchSizes: 1.*batchSize,/],
    [{ header: "xml" }, /header: "xml"/],
    [{ clientId: "a b" }, /clientId: "a b"/],
  ];
  for (const [options, expected] of cases) {
    const error = t.throws(() => new Producer({ ...valid, ...options }), { instanceOf: MillraceError });
    t.is(error.code, "MILLRACE_CONFIG_INVALID");
    t.regex(error.message, expected);
  }
});
