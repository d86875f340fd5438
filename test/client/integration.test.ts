import { createHash } from "node:crypto";
import zlib from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { Admin } from "../../src/client/admin.ts";
import type { ConsumedMessage } from "../../src/client/consume/consumed-message.ts";
import { Consumer } from "../../src/client/consume/consumer.ts";
import type { ConsumerOptions } from "../../src/client/consume/consumer-options.ts";
import type { Compression } from "../../src/client/produce/compression.ts";
import { Producer } from "../../src/client/produce/producer.ts";
import type { ProducerOptions } from "../../src/client/produce/producer-options.ts";
import { type RunningBroker, startBroker } from "../../src/index.ts";
import { until } from "../until.ts";

// Against a broker of our own, or a running cluster, Millrace's or Apache's:
//   MILLRACE_TEST_NAMESRV=host:port npx ava test/client/integration.test.ts
// Topics and groups have fresh names; the broker must create subscription groups by itself.
let namesrvAddr = process.env["MILLRACE_TEST_NAMESRV"] ?? "";
const integration = test.serial;

let broker: RunningBroker | undefined;

test.before(async () => {
  if (namesrvAddr !== "") return;
  broker = await startBroker({ port: 0 });
  namesrvAddr = broker.namesrvAddress;
});

test.after.always(() => broker?.close());

const run = Date.now().toString(36);
let names = 0;

/** What a test started; closed at its end, whatever came. */
class Rig {
  readonly topic: string;
  readonly admin: Admin = new Admin({ namesrvAddr });
  readonly #open: { close(): Promise<void> }[] = [];

  private constructor(topic: string) {
    this.topic = topic;
  }

  static async create(t: ExecutionContext, queueCount: number): Promise<Rig> {
    t.timeout(120_000);
    const rig = new Rig(`ClientIT_${run}_${names++}`);
    await rig.admin.createTopic(rig.topic, { queueCount });
    t.teardown(async () => {
      await Promise.all(rig.#open.map((client) => client.close()));
      await rig.admin.deleteTopic(rig.topic);
      await rig.admin.close();
    });
    return rig;
  }

  async producer(options: Partial<ProducerOptions> = {}): Promise<Producer> {
    const producer = new Producer({ namesrvAddr, group: `pg_${run}`, ...options });
    this.#open.push(producer);
    await producer.start();
    return producer;
  }

  consumer(group: string, options: Partial<ConsumerOptions> = {}): Consumer {
    const consumer = new Consumer({ namesrvAddr, group, consumeFrom: "first", ...options });
    this.#open.push(consumer);
    consumer.subscribe(this.topic);
    return consumer;
  }
}

const newGroup = (): string => `cg_${run}_${names++}`;

/** Bodies `0`, `1`, ... as they came, by queue; checks order and completeness. */
class Tally {
  readonly #byQueue = new Map<string, number[]>();
  count = 0;

  readonly take = (messages: readonly ConsumedMessage[]): void => {
    for (const message of messages) {
      const queue = `${message.brokerName}/${message.queueId}`;
      const list = this.#byQueue.get(queue) ?? [];
      this.#byQueue.set(queue, list);
      list.push(Number(message.text()));
      this.count++;
    }
  };

  get numbers(): number[] {
    return [...this.#byQueue.values()].flat();
  }

  isComplete(count: number): boolean {
    const seen = new Set(this.numbers);
    return seen.size === count && this.count === count;
  }

  isOrdered(): boolean {
    return [...this.#byQueue.values()].every((list) => list.every((value, index) => index === 0 || value > list[index - 1]!));
  }
}

async function produce(producer: Producer, topic: string, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) {
    while (!producer.sendBuffered({ topic, body: String(index), keys: `k${index}` })) await producer.drained();
  }
  await producer.flush();
}

for (const header of ["json", "binary"] as const) {
  integration(`50,000 messages in batches, ${header} headers: each once, in the order of its queue`, async (t) => {
    const rig = await Rig.create(t, 8);
    const producer = await rig.producer({ batchSize: 32_768, lingerMs: 5, header });
    const offsets = new Set<string>();
    let failures = 0;
    for (let index = 0; index < 50_000; index++) {
      const accepted = producer.sendBuffered(
        { topic: rig.topic, body: String(index) },
        (error, queueOffset, queueId, brokerName) => {
          if (error === undefined) offsets.add(`${brokerName}/${queueId}/${queueOffset}`);
          else failures++;
        },
      );
      if (!accepted) {
        await producer.drained();
        index--;
      }
    }
    await producer.flush();
    t.is(failures, 0);
    t.is(offsets.size, 50_000);
    const tally = new Tally();
    const group = newGroup();
    const consumer = rig.consumer(group, { consumeBatchSize: 64, header });
    await consumer.run((messages) => {
      for (const message of messages) offsets.delete(`${message.brokerName}/${message.queueId}/${message.queueOffset}`);
      tally.take(messages);
    });
    await until(() => tally.count >= 50_000);
    t.true(tally.isComplete(50_000));
    t.true(tally.isOrdered());
    t.is(offsets.size, 0);
    await consumer.close();
    t.is(await rig.admin.consumerLag(group, rig.topic), 0);
  });

  integration(`single, one-way and batch sends with all their fields, ${header} headers`, async (t) => {
    const rig = await Rig.create(t, 2);
    const producer = await rig.producer({ header });
    const properties = { plain: "text", "odd key": 'quotes " \\ and \n umlaut ü, 漢, 😀' };
    const sent = await producer.send({
      topic: rig.topic,
      body: Buffer.from([0, 1, 2, 255]),
      tags: "tagA",
      keys: ["one", "two"],
      properties,
      flag: 42,
    });
    await producer.sendOneway({ topic: rig.topic, body: "one-way", tags: "tagB" });
    const batch = await producer.sendBatch(
      [1, 2, 3].map((index) => ({ topic: rig.topic, body: `batch${index}`, tags: "tagA", queueId: 1 })),
    );
    t.deepEqual(
      batch.map(({ queueOffset }) => queueOffset - batch[0]!.queueOffset),
      [0, 1, 2],
    );
    const large = Buffer.alloc(3_000_000, "large ");
    const sentLarge = await producer.send({ topic: rig.topic, body: large, tags: "tagC" });
    const seen: ConsumedMessage[] = [];
    const consumer = rig.consumer(newGroup(), { header });
    await consumer.run((messages) => void seen.push(...messages));
    await until(() => seen.length === 6);
    const first = seen.find((message) => message.flag === 42)!;
    t.true(first.body.equals(Buffer.from([0, 1, 2, 255])));
    t.is(first.msgId, sent.msgId);
    t.is(first.offsetMsgId, sent.offsetMsgId);
    t.is(first.queueOffset, sent.queueOffset);
    t.is(first.tags, "tagA");
    t.deepEqual(first.keys, ["one", "two"]);
    for (const [key, value] of Object.entries(properties)) t.is(first.properties.get(key), value);
    t.true(seen.some((message) => message.text() === "one-way"));
    t.deepEqual(
      batch.map(({ msgId }) => seen.find((message) => message.msgId === msgId)?.text()),
      ["batch1", "batch2", "batch3"],
    );
    t.true(seen.find((message) => message.msgId === sentLarge.msgId)!.body.equals(large));
    const tagged: string[] = [];
    const selective = rig.consumer(newGroup());
    selective.subscribe(rig.topic, "tagB || tagC");
    await selective.run(([message]) => void tagged.push(message!.tags!));
    await until(() => tagged.length === 2);
    t.deepEqual(tagged.toSorted(), ["tagB", "tagC"]);
  });
}

integration("2,000 single sends in flight at once: each has its own place", async (t) => {
  const rig = await Rig.create(t, 4);
  const producer = await rig.producer();
  const results = await Promise.all(
    Array.from({ length: 2_000 }, (_, index) => producer.send({ topic: rig.topic, body: String(index) })),
  );
  t.is(new Set(results.map(({ queueId, queueOffset }) => `${queueId}/${queueOffset}`)).size, 2_000);
  t.is(new Set(results.map(({ msgId }) => msgId)).size, 2_000);
  const tally = new Tally();
  await rig.consumer(newGroup()).run(tally.take);
  await until(() => tally.count >= 2_000);
  t.true(tally.isComplete(2_000));
});

integration("an unknown topic is created by its first message", async (t) => {
  const rig = await Rig.create(t, 1);
  const topic = `${rig.topic}_auto`;
  const producer = await rig.producer();
  t.is((await producer.send({ topic, body: "first" })).status, "SEND_OK");
  const route = await rig.admin.topicRoute(topic);
  t.is(route?.queues[0]?.writeQueueNums, 4);
  await rig.admin.deleteTopic(topic);
});

integration("two consumers share exactly, and go on exactly when one leaves and one comes", async (t) => {
  const rig = await Rig.create(t, 6);
  const group = newGroup();
  const producer = await rig.producer({ batchSize: 16_384 });
  const tally = new Tally();
  const consumers = [rig.consumer(group), rig.consumer(group)];
  const owned = (consumer: Consumer): number[] =>
    consumer.assignment.filter(({ topic }) => topic === rig.topic).map(({ queueId }) => queueId);
  for (const consumer of consumers) await consumer.run(tally.take);
  await until(() => consumers.every((consumer) => owned(consumer).length === 3));
  t.deepEqual(
    consumers.flatMap(owned).toSorted((a, b) => a - b),
    [0, 1, 2, 3, 4, 5],
  );
  await produce(producer, rig.topic, 0, 10_000);
  await until(() => tally.count >= 10_000);
  t.true(tally.isComplete(10_000));
  await consumers[0]!.close();
  await until(() => owned(consumers[1]!).length === 6);
  await produce(producer, rig.topic, 10_000, 20_000);
  await until(() => tally.count >= 20_000);
  t.true(tally.isComplete(20_000));
  const third = rig.consumer(group);
  await third.run(tally.take);
  await until(() => owned(third).length === 3 && owned(consumers[1]!).length === 3);
  await produce(producer, rig.topic, 20_000, 25_000);
  await until(() => tally.count >= 25_000);
  t.true(tally.isComplete(25_000));
});

integration("orderly: each key in order, one handler a queue, through a change of members", async (t) => {
  const rig = await Rig.create(t, 4);
  const group = newGroup();
  const producer = await rig.producer({ batchSize: 4_096 });
  const seen = new Map<string, number[]>();
  const busy = new Set<string>();
  let count = 0;
  const handler = async (messages: readonly ConsumedMessage[]): Promise<void> => {
    const queue = `${messages[0]!.brokerName}/${messages[0]!.queueId}`;
    t.false(busy.has(queue), "one at a time");
    busy.add(queue);
    await new Promise((resolve) => setImmediate(resolve));
    for (const message of messages) {
      const [key, number] = message.text().split(":") as [string, string];
      seen.set(key, [...(seen.get(key) ?? []), Number(number)]);
      count++;
    }
    busy.delete(queue);
  };
  const first = rig.consumer(group, { orderly: true, consumeBatchSize: 8 });
  await first.run(handler);
  const send = async (from: number, to: number): Promise<void> => {
    for (let index = from; index < to; index++) {
      const message = { topic: rig.topic, body: `key${index % 10}:${index}`, orderKey: `key${index % 10}` };
      while (!producer.sendBuffered(message)) await producer.drained();
    }
    await producer.flush();
  };
  await send(0, 3_000);
  const second = rig.consumer(group, { orderly: true, consumeBatchSize: 8 });
  await second.run(handler);
  await send(3_000, 6_000);
  await until(() => count >= 6_000);
  t.is(count, 6_000);
  for (const [key, numbers] of seen) {
    t.deepEqual(
      numbers,
      Array.from({ length: 600 }, (_, index) => index * 10 + Number(key.slice(3))),
      key,
    );
  }
});

integration("broadcasting: each consumer gets everything", async (t) => {
  const rig = await Rig.create(t, 3);
  const group = newGroup();
  const tallies = [new Tally(), new Tally()];
  for (const tally of tallies) await rig.consumer(group, { messageModel: "broadcasting" }).run(tally.take);
  await produce(await rig.producer({ batchSize: 16_384 }), rig.topic, 0, 3_000);
  await until(() => tallies.every((tally) => tally.count >= 3_000));
  for (const tally of tallies) t.true(tally.isComplete(3_000) && tally.isOrdered());
});

for (const compression of ["zlib", "lz4", "zstd"] as Compression[]) {
  const supported = compression !== "zstd" || typeof zlib.zstdCompressSync === "function";
  (supported ? integration : test.serial.skip)(
    `${compression}: compressed bodies come back whole, alone and in batches`,
    async (t) => {
      const rig = await Rig.create(t, 2);
      const hash = (body: Buffer): string => createHash("sha1").update(body).digest("hex");
      const bodies = Array.from({ length: 60 }, (_, index) => Buffer.alloc(2_000 + index * 700, `body ${index} `));
      const single = await rig.producer({ compression });
      const batching = await rig.producer({ compression, batchSize: 65_536 });
      await Promise.all(bodies.map((body, index) => (index % 2 === 0 ? single : batching).send({ topic: rig.topic, body })));
      const seen: ConsumedMessage[] = [];
      await rig.consumer(newGroup()).run((messages) => void seen.push(...messages));
      await until(() => seen.length === 60);
      t.deepEqual(seen.map((message) => hash(message.body)).toSorted(), bodies.map((body) => hash(body)).toSorted());
      t.is(seen.filter((message) => (message.sysFlag & 1) === 1).length, bodies.filter((body) => body.length >= 4_096).length);
    },
  );
}

integration("a failed message comes again after a while, the group's progress does not wait for it", async (t) => {
  const rig = await Rig.create(t, 1);
  const producer = await rig.producer();
  await producer.sendBatch(["good", "bad", "fine"].map((body) => ({ topic: rig.topic, body })));
  const seen: string[] = [];
  const group = newGroup();
  await rig.consumer(group).run(([message]) => {
    seen.push(`${message!.topic === rig.topic ? message!.text() : "other topic"}#${message!.reconsumeTimes}`);
    if (message!.text() === "bad" && message!.reconsumeTimes === 0) throw new Error("on purpose");
  });
  await until(() => seen.length === 4);
  t.deepEqual(seen, ["good#0", "bad#0", "fine#0", "bad#1"]);
});

integration("delayed messages come later", async (t) => {
  const rig = await Rig.create(t, 1);
  const producer = await rig.producer({ batchSize: 4_096 });
  let cameMs = 0;
  await rig.consumer(newGroup()).run(() => {
    cameMs = Date.now();
  });
  const sentMs = Date.now();
  await producer.send({ topic: rig.topic, body: "later", delayLevel: 1 });
  await until(() => cameMs > 0);
  t.true(cameMs - sentMs >= 950, `after ${cameMs - sentMs} ms`);
});

integration("for await, stopped and taken up again", async (t) => {
  const rig = await Rig.create(t, 1);
  await produce(await rig.producer({ batchSize: 16_384 }), rig.topic, 0, 300);
  const group = newGroup();
  const seen: number[] = [];
  for (const limit of [100, 300]) {
    const consumer = rig.consumer(group);
    for await (const message of consumer) {
      seen.push(Number(message.text()));
      if (seen.length < limit) continue;
      consumer.acknowledge(message);
      break;
    }
    await consumer.close();
  }
  t.deepEqual(
    seen,
    Array.from({ length: 300 }, (_, index) => index),
  );
});

integration("administration: progress, time search, reset of a running group, look-ups", async (t) => {
  const rig = await Rig.create(t, 1);
  const { admin, topic } = rig;
  const producer = await rig.producer();
  const before = Date.now();
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, index) => producer.send({ topic, body: String(index), keys: `word${index % 2} all` })),
  );
  const [queue] = await admin.queues(topic);
  // A message is acknowledged before its queue entry is there.
  for (let attempt = 0; attempt < 50 && (await admin.maxOffset(queue!)) < 20; attempt++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual([await admin.minOffset(queue!), await admin.maxOffset(queue!)], [0, 20]);
  t.is(await admin.searchOffset(queue!, before - 1_000), 0);
  const group = newGroup();
  const seen: string[] = [];
  const consumer = rig.consumer(group);
  await consumer.run(([message]) => void seen.push(message!.text()));
  await until(() => seen.length === 20);
  await consumer.commit();
  t.is((await admin.consumerOffsets(group, topic))[0]!.consumerOffset, 20);
  const reset = await admin.resetOffset(group, topic, { queueId: queue!.queueId, offset: 15 });
  t.deepEqual(
    reset.map(({ offset }) => offset),
    [15],
  );
  // The broker tells at the next pull; a message ends the one that it holds.
  await producer.send({ topic, body: "20" });
  await until(() => seen.length >= 26);
  t.deepEqual(seen.slice(-6), ["15", "16", "17", "18", "19", "20"]);
  t.is((await admin.viewMessage(results[7]!.offsetMsgId)).text(), "7");
  // The index is built in the background.
  let found: ConsumedMessage[] = [];
  for (let attempt = 0; attempt < 50 && found.length < 10; attempt++) {
    found = await admin.queryByKey(topic, "word1");
    if (found.length < 10) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.deepEqual(
    found.map((message) => Number(message.text())).toSorted((a, b) => a - b),
    [1, 3, 5, 7, 9, 11, 13, 15, 17, 19],
  );
  t.deepEqual(
    (await admin.queryByMsgId(topic, results[3]!.msgId)).map((message) => message.text()),
    ["3"],
  );
  t.true((await admin.topics()).includes(topic));
  t.true((await admin.clusterInfo()).brokers.length >= 1);
});
