// Goal: one connection carries many requests at a time, of either header form, cut anywhere, and gets each its answer;
// what is no frame ends that connection only, and a client that does not read costs no memory and no time of others.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { decodeMessages, MAGIC_V1, MAGIC_V2 } from "../../src/format/record/message.ts";
import { FLAG_ONEWAY, type RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { FRAME_SIZE_MAX, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../src/format/remoting/remoting-frame.ts";
import { openEngine } from "../../src/index.ts";
import { Command } from "../cli/command.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE, TEST_TIMEOUT_MS } from "./lab.ts";
import { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const MIB = 1_048_576;

async function labWith(t: ExecutionContext, topic: string, queueCount = 1): Promise<{ lab: Lab; client: RawClient }> {
  const lab = new Lab(t);
  await lab.start();
  const client = await lab.raw();
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(topic, queueCount))).code, 0);
  return { lab, client };
}

/** All messages of a queue, pulled in as many answers as it takes. */
async function drain(client: RawClient, topic: string, queueId = 0): Promise<ReturnType<typeof decodeMessages>> {
  const messages = [];
  for (let offset = 0; ; ) {
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: "drain", topic, queueId, offset }));
    if (answer.code !== 0) return messages;
    messages.push(...decodeMessages(Buffer.from(answer.body)));
    offset = Number(answer.extFields["nextBeginOffset"]);
  }
}

async function queueEnd(client: RawClient, topic: string, end: number, queueId = 0): Promise<void> {
  let seen = -1;
  await until(
    async () => {
      seen = Number((await client.ask(ask.MAX_OFFSET, { topic, queueId })).extFields["offset"]);
      return seen >= end;
    },
    () => `queue ${topic}/${queueId} has ${seen} of ${end} messages`,
  );
}

test.serial(
  "many requests of all kinds in flight on one connection: each gets its own answer, in the form it came in or JSON",
  async (t) => {
    const { client } = await labWith(t, "Flight", 4);
    const held = client.frame(
      ask.PULL,
      ask.pullHeader({
        group: "g",
        topic: "Flight",
        queueId: 3,
        sysFlag: ask.PULL_SUSPEND | ask.PULL_SUBSCRIPTION,
        suspendMs: 60_000,
      }),
    );
    const late = client.answer(held.opaque, 60_000);
    const frames = [held.frame];
    const due: { opaque: number; expected: (answer: RemotingCommand) => boolean; what: string }[] = [];
    for (let i = 0; i < 600; i++) {
      const type = i % 3 === 0 ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
      const [what, code, header, body, expected] = oneOf(i);
      const { frame, opaque } = client.frame(code, header, body, { type });
      frames.push(frame);
      due.push({ opaque, expected, what });
    }
    const answers = due.map(({ opaque }) => client.answer(opaque));
    client.socket.write(Buffer.concat(frames));
    for (const [i, answer] of answers.entries()) {
      const { what, expected } = due[i]!;
      const got = await answer;
      if (!expected(got)) t.fail(`request ${i}, ${what}: ${got.code} ${got.remark ?? ""}`);
    }
    t.is(client.answered.length, 601, "600 and the topic's creation; the held one is still out");
    t.is((await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Flight", queueId: 3 }), Buffer.from("wakes"))).code, 0);
    const woken = await late;
    t.is(woken.code, 0);
    t.deepEqual(
      decodeMessages(Buffer.from(woken.body)).map(({ body }) => body.toString()),
      ["wakes"],
    );
    t.is((await drain(client, "Flight", 0)).length + (await drain(client, "Flight", 1)).length, 360);
  },
);

type Oneof = [
  what: string,
  code: number,
  header: Parameters<RawClient["ask"]>[1],
  body: Buffer | undefined,
  expected: (answer: RemotingCommand) => boolean,
];

function oneOf(i: number): Oneof {
  const queueId = i % 2;
  switch (i % 5) {
    case 0:
      return ["unknown code", 7000 + i, {}, undefined, ({ code, remark }) => code === 3 && remark!.includes(String(7000 + i))];
    case 1:
      return [
        "end of an empty queue",
        ask.MAX_OFFSET,
        { topic: "Flight", queueId: 2 },
        undefined,
        (a) => a.extFields["offset"] === "0",
      ];
    case 2:
      return ["send, long names", ask.SEND, ask.sendHeader({ topic: "Flight", queueId }), Buffer.from(`m${i}`), sent(queueId)];
    default:
      return ["send", ask.SEND_V2, ask.sendHeaderV2({ topic: "Flight", queueId }), Buffer.from(`m${i}`), sent(queueId)];
  }
}

function sent(queueId: number): (answer: RemotingCommand) => boolean {
  return ({ code, extFields }) => code === 0 && extFields["queueId"] === String(queueId) && extFields["msgId"]!.length === 32;
}

test.serial("frames cut at any place are the same frames", async (t) => {
  const { client } = await labWith(t, "Cuts");
  let stored = 0;
  const property = fc.asyncProperty(
    fc.array(fc.record({ size: fc.integer({ min: 1, max: 5000 }), type: fc.constantFrom(SERIALIZE_JSON, SERIALIZE_ROCKETMQ) }), {
      minLength: 1,
      maxLength: 12,
    }),
    fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 20 }),
    async (messages, cuts) => {
      const frames = messages.map(({ size, type }) =>
        client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "Cuts" }), Buffer.alloc(size, size % 251), { type }),
      );
      const answers = frames.map(({ opaque }) => client.answer(opaque));
      const bytes = Buffer.concat(frames.map(({ frame }) => frame));
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const cut = cuts[i % cuts.length]!;
        client.socket.write(bytes.subarray(at, at + cut));
        at += cut;
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const answer of answers) if (Number((await answer).extFields["queueOffset"]) !== stored++) return false;
      return true;
    },
  );
  await t.notThrowsAsync(() => fc.assert(property, { numRuns: 15, endOnFailure: true }));
  await queueEnd(client, "Cuts", stored);
  const kept = await drain(client, "Cuts");
  t.is(kept.length, stored);
  t.true(kept.every(({ body }) => body.every((byte) => byte === body.length % 251)));
});

test.serial("one-way requests are done and never answered", async (t) => {
  const { client } = await labWith(t, "Oneway");
  t.is((await client.ask(ask.CREATE_GROUP, {}, Buffer.from('{"groupName":"ow"}'))).code, 0);
  const body = Buffer.from("x");
  const oneway = { flag: FLAG_ONEWAY };
  const frames = [
    client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "Oneway" }), body, oneway),
    client.frame(ask.SEND, ask.sendHeader({ topic: "Oneway" }), body, { ...oneway, type: SERIALIZE_ROCKETMQ }),
    client.frame(ask.SEND_BATCH, ask.sendHeaderV2({ topic: "Oneway", batch: true }), ask.batchBody([{ body }, { body }]), oneway),
    client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "OnewayMade" }), body, oneway),
    client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "no topic" }), body, oneway),
    client.frame(ask.UPDATE_OFFSET, { consumerGroup: "ow", topic: "Oneway", queueId: 0, commitOffset: 3 }, undefined, oneway),
    client.frame(7777, {}, undefined, oneway),
    client.frame(ask.PULL, ask.pullHeader({ group: "ow", topic: "nowhere" }), undefined, oneway),
  ];
  for (const { frame } of frames) client.socket.write(frame);
  await queueEnd(client, "Oneway", 4);
  await queueEnd(client, "OnewayMade", 1);
  await until(async () => {
    const { extFields } = await client.ask(ask.QUERY_OFFSET, { consumerGroup: "ow", topic: "Oneway", queueId: 0 });
    return extFields["offset"] === "3";
  });
  const opaques = new Set(frames.map(({ opaque }) => opaque));
  t.deepEqual(
    client.answered.filter((opaque) => opaques.has(opaque)),
    [],
  );
});

test.serial("a batch becomes records of their own, one behind the other", async (t) => {
  const { client } = await labWith(t, "Batch");
  await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Batch" }), Buffer.from("before"));
  const messages = Array.from({ length: 50 }, (_, i) => ({
    body: Buffer.from(`body ${i} ${"b".repeat(i * 7)}`),
    flag: i,
    properties: { KEYS: `key${i}`, TAGS: i % 2 === 0 ? "even" : "odd", own: `ü${i}` },
  }));
  const answer = await client.ask(ask.SEND_BATCH, ask.sendHeaderV2({ topic: "Batch", batch: true }), ask.batchBody(messages));
  t.is(answer.code, 0);
  t.is(answer.extFields["queueOffset"], "1", "of the first");
  const ids = answer.extFields["msgId"]!.split(",");
  t.is(ids.length, 50);
  await queueEnd(client, "Batch", 51);
  const stored = (await drain(client, "Batch")).slice(1);
  t.is(stored.length, 50);
  for (const [i, { body, flag, properties, queueOffset, physicalOffset }] of stored.entries()) {
    t.deepEqual(body, messages[i]!.body);
    t.is(flag, i);
    t.is(queueOffset, i + 1);
    t.is(physicalOffset, Number.parseInt(ids[i]!.slice(16), 16), "the id is the place");
    for (const [name, value] of Object.entries(messages[i]!.properties)) t.is(properties.get(name), value);
  }
  const odd = await client.ask(ask.PULL, ask.pullHeader({ group: "g", topic: "Batch", expression: "odd" }));
  t.deepEqual(
    decodeMessages(Buffer.from(odd.body)).map(({ flag }) => flag),
    messages.map(({ flag }) => flag).filter((flag) => flag % 2 === 1),
  );
});

test.serial("names with JSON escapes are the names that they stand for", async (t) => {
  const { client } = await labWith(t, "Escaped");
  const { frame, opaque } = client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "Escaped" }), Buffer.from("x"));
  // "\u0045scaped" is as long as "Escaped" and five more.
  const escaped = Buffer.from(frame.toString("latin1").replace('"b":"Escaped"', '"b":"\\u0045scaped"'), "latin1");
  t.is(escaped.length, frame.length + 5);
  escaped.writeUInt32BE(frame.readUInt32BE(0) + 5, 0);
  escaped.writeUInt32BE(frame.readUInt32BE(4) + 5, 4);
  const answer = client.answer(opaque);
  client.socket.write(escaped);
  t.is((await answer).code, 0, (await answer).remark);
});

test.serial("a topic of more than 127 characters stands in records of the second form, others in the first", async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  const lab = new Lab(t);
  const store = lab.directory();
  const long = `%RETRY%${"r".repeat(193)}`;
  {
    await using engine = await openEngine({ storePath: store, nativeFree: NATIVE_FREE, mappedFileSizeCommitLog: 16_777_216 });
    for (const topic of [long, "Short"]) {
      engine.createTopic(topic);
      for (let i = 0; i < 20; i++) await engine.append(topic, `${i}`, { tags: "t", keys: `k${i}` });
    }
  }
  await lab.start({
    store,
    config: { mappedFileSizeConsumeQueue: 6_000_000, maxHashSlotNum: 5_000_000, maxIndexNum: 20_000_000 },
  });
  const client = await lab.raw();
  for (const [topic, magic] of [
    [long, MAGIC_V2],
    ["Short", MAGIC_V1],
  ] as const) {
    t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader(topic, 1))).code, 0);
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: "g", topic, expression: "t" }));
    t.is(answer.code, 0, answer.remark);
    t.is(answer.body.readUInt32BE(4), magic);
    const messages = decodeMessages(Buffer.from(answer.body));
    t.deepEqual(
      messages.map(({ body }) => body.toString()),
      Array.from({ length: 20 }, (_, i) => String(i)),
    );
    t.true(messages.every((message) => message.topic === topic && message.properties.get("TAGS") === "t"));
    const byKey = await client.ask(12, { topic, key: "k7", maxNum: 10, beginTimestamp: 0, endTimestamp: 9e12 });
    t.deepEqual(
      decodeMessages(Buffer.from(byKey.body)).map(({ body }) => body.toString()),
      ["7"],
    );
  }
});

test.serial("the largest frame is taken, a larger one and any garbage end their connection and no other", async (t) => {
  const { lab, client } = await labWith(t, "Limits");
  const empty = client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "Limits" }), Buffer.alloc(1)).frame.length - 1;
  const largest = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Limits" }), Buffer.alloc(FRAME_SIZE_MAX - empty - 8));
  t.is(largest.code, 13, "read whole, and refused for its body");
  const garbage: Record<string, Buffer> = {
    "a frame of 16 MiB and a byte": withHead(FRAME_SIZE_MAX + 1, 0, 100),
    "a frame of 2 GiB": withHead(0x7fff_ffff, 0, 100),
    "a frame of 4 GiB": withHead(0xffff_ffff, 0, 100),
    "a frame of nothing": Buffer.alloc(12),
    "a header beyond its frame": withHead(100, 0, 200),
    "an unknown header form": withHead(100, 2, 50),
    "a header that is no JSON": withHead(12, 0, 4),
    "a binary header cut short": withHead(24, 1, 16),
    "a binary header whose fields run over": withHead(60, 1, 52, 0xff),
    HTTP: Buffer.from("GET / HTTP/1.1\r\nHost: broker\r\nConnection: keep-alive\r\n\r\n"),
    zeros: Buffer.alloc(64),
  };
  for (const [what, bytes] of Object.entries(garbage)) {
    const other = await lab.raw();
    other.socket.write(bytes);
    const ended = await Promise.race([other.closed.then(() => true), sleep(20_000, false)]);
    t.true(ended, `${what}: the connection is closed`);
    t.is(other.answered.length, 0, what);
  }
  const property = fc.asyncProperty(fc.uint8Array({ minLength: 12, maxLength: 400 }), async (bytes) => {
    const other = await RawClient.connect(lab.broker.brokerAddress);
    other.socket.end(bytes);
    await other.closed;
  });
  await t.notThrowsAsync(() => fc.assert(property, { numRuns: 40, endOnFailure: true }));
  const half = await lab.raw();
  half.socket.write(client.frame(ask.SEND_V2, ask.sendHeaderV2({ topic: "Limits" }), Buffer.alloc(1000)).frame.subarray(0, 700));
  half.close();
  t.is(
    (await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Limits" }), Buffer.from("lives on"))).extFields["queueOffset"],
    "0",
  );
});

test.serial("what came before garbage in the same piece is answered, a large pull too", async (t) => {
  const { lab, client } = await labWith(t, "Before");
  for (let i = 0; i < 20; i++) await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Before" }), Buffer.alloc(1000));
  await queueEnd(client, "Before", 20);
  t.is((await drain(client, "Before")).length, 20); // The group is known from here on.
  const other = await lab.raw();
  const pull = other.frame(ask.PULL, ask.pullHeader({ group: "drain", topic: "Before" }));
  const answer = other.answer(pull.opaque);
  other.socket.write(Buffer.concat([pull.frame, Buffer.alloc(8, 0xff)]));
  t.is(decodeMessages(Buffer.from((await answer).body)).length, 20);
  await other.closed;
});

function withHead(size: number, type: number, headerSize: number, fill = 0x20): Buffer {
  const bytes = Buffer.alloc(Math.min(size, 256), fill);
  bytes.writeUInt32BE(size - 4, 0);
  bytes.writeUInt32BE(headerSize, 4);
  bytes[4] = type;
  return bytes;
}

test.serial("a client that asks for much and reads nothing costs neither memory nor others' time", async (t) => {
  t.timeout(TEST_TIMEOUT_MS);
  // In a process of its own, for only then its memory can be told from ours.
  const drive = NATIVE_FREE ? ["--native-free"] : [];
  const free = ["--port", "0", "--namesrv-port", "0", "--store", "memory"];
  const command = new Command(["up", "--log-level", "silent", ...free, ...drive]);
  t.teardown(() => command.end("SIGKILL"));
  const [, address, pid] = await command.line(/ broker=(\S+) pid=(\d+)$/m);
  const client = await RawClient.connect(address!);
  t.teardown(() => client.close());
  t.is((await client.ask(ask.CREATE_TOPIC, ask.topicHeader("Slow", 1))).code, 0);
  const body = Buffer.alloc(60_000, "s");
  for (let i = 0; i < 100; i++) t.is((await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Slow" }), body)).code, 0);
  await queueEnd(client, "Slow", 100);
  const before = ownMemory(pid!);
  const pull = client.frame(ask.PULL, ask.pullHeader({ group: "slow", topic: "Slow", offset: 0 })).frame;
  const pulls = Buffer.concat(Array.from({ length: 2000 }, () => pull));
  const readers: RawClient[] = [];
  for (let i = 0; i < 8; i++) {
    const reader = await RawClient.connect(address!);
    t.teardown(() => reader.close());
    reader.socket.pause();
    reader.socket.write(pulls); // Asks for 480 MB.
    readers.push(reader);
  }
  const took: number[] = [];
  for (let i = 0; i < 100; i++) {
    const started = performance.now();
    t.is((await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Slow" }), Buffer.from("quick"))).code, 0);
    took.push(performance.now() - started);
    await sleep(10);
  }
  took.sort((a, b) => a - b);
  const grown = (ownMemory(pid!) - before) / MIB;
  t.log(
    `grew by ${Math.round(grown)} MiB; another client's sends: median ${took[50]!.toFixed(1)} ms, longest ${took[99]!.toFixed(1)} ms`,
  );
  t.true(took[50]! < 1000, `sends of another client take ${took[50]!.toFixed(1)} ms`);
  t.true(grown < 100, `grew by ${Math.round(grown)} MiB`);
  // Whoever begins to read gets all of it.
  const reader = readers[0]!;
  reader.socket.resume();
  await until(
    () => reader.answered.length === 2000,
    () => `${reader.answered.length} of 2000 answers came`,
  );
});

/** Memory of the process that is no mapped file, bytes; 0 where the system does not tell. */
function ownMemory(pid: string): number {
  try {
    return 1024 * Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]);
  } catch {
    return 0;
  }
}
