// Goal: of a topic with cleanup.policy=COMPACTION the last message of each key stays for ever, at its offset and in order,
// whatever is compacted when, whoever reads meanwhile, and wherever the broker dies.
// Method: random puts beside a Map; after each compaction a reader from offset 0 must end with that Map.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import { until } from "../until.ts";
import { Lab } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Prices";
const GROUP = "compaction-readers";
const QUEUES = 2;
const FOUND = 0;
const RETRY_IMMEDIATELY = 20;
const OFFSET_MOVED = 21;

async function setUp(client: RawClient, attributes = "+cleanup.policy=COMPACTION"): Promise<void> {
  const answer = await client.ask(ask.CREATE_TOPIC, { ...ask.topicHeader(TOPIC, QUEUES), attributes });
  if (answer.code !== 0) throw new Error(answer.remark);
  await client.ask(ask.CREATE_GROUP, {}, Buffer.from(JSON.stringify({ groupName: GROUP, consumeEnable: true })));
}

async function put(client: RawClient, key: string, value: string): Promise<void> {
  const queueId = key.charCodeAt(key.length - 1) % QUEUES;
  const answer = await client.ask(
    ask.SEND_V2,
    ask.sendHeaderV2({ topic: TOPIC, queueId, properties: { KEYS: key } }),
    Buffer.from(value),
  );
  if (answer.code !== 0) throw new Error(answer.remark);
}

async function endOf(client: RawClient, queueId: number): Promise<number> {
  return Number((await client.ask(ask.MAX_OFFSET, { topic: TOPIC, queueId })).extFields["offset"]);
}

interface ReadBack {
  table: Map<string, string>;
  offsets: number[];
}

/** All of a queue by pulls from offset 0 on. */
async function readQueue(client: RawClient, queueId: number, count = 32): Promise<ReadBack> {
  const read: ReadBack = { table: new Map(), offsets: [] };
  const end = await endOf(client, queueId);
  for (let offset = 0; offset < end; ) {
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: TOPIC, queueId, offset, count }));
    if (![FOUND, RETRY_IMMEDIATELY, OFFSET_MOVED].includes(answer.code)) throw new Error(`${answer.code} ${answer.remark}`);
    for (const { properties, body, queueOffset } of decodeMessages(answer.body)) {
      read.table.set(properties.get("KEYS")!, body.toString());
      read.offsets.push(queueOffset);
    }
    const next = Number(answer.extFields["nextBeginOffset"]);
    if (next <= offset) throw new Error(`no way on from ${offset}`);
    offset = next;
  }
  return read;
}

async function readAll(client: RawClient, count?: number): Promise<ReadBack[]> {
  return Promise.all(Array.from({ length: QUEUES }, (_, queueId) => readQueue(client, queueId, count)));
}

function merged(reads: readonly ReadBack[]): [string, string][] {
  return reads.flatMap(({ table }) => [...table]).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

const isAscending = (offsets: readonly number[]): boolean => offsets.every((offset, i) => i === 0 || offset > offsets[i - 1]!);

test("a reader from the start always ends with the last value of each key, and offsets stay", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = { compactionScheduleInternal: 200 };
  await lab.start({ store, config });
  let client = await lab.raw();
  await setUp(client);
  const expected = new Map<string, string>();
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 300; i++) {
      const key = `key-${random(40)}`;
      const value = `${round}.${i}`;
      await put(client, key, value);
      expected.set(key, value);
      if (i % 100 === 0) t.true((await readAll(client, 1 + random(40))).every(({ offsets }) => isAscending(offsets)));
    }
    await until(async () => (await endOf(client, 0)) + (await endOf(client, 1)) === 300 * (round + 1));
    const wanted = [...expected].toSorted(([a], [b]) => (a < b ? -1 : 1));
    // Everything below the boundary is compacted: about one message a key is left of it.
    await until(async () => {
      const reads = await readAll(client);
      t.deepEqual(merged(reads), wanted);
      t.true(reads.every(({ offsets }) => isAscending(offsets)));
      return reads.reduce((sum, { offsets }) => sum + offsets.length, 0) <= 1.5 * expected.size; // A few new ones wait for more.
    });
    if (round % 2 === 0) continue;
    await lab.broker.close();
    // What a death in the middle leaves behind, and a file that is none.
    const directory = join(store, "compaction", TOPIC, "0");
    writeFileSync(join(directory, "00000000000000009999.tmp"), "half a file");
    writeFileSync(join(directory, "00000000000000099999"), "not one of ours, and newer than all");
    await lab.start({ store, config });
    client = await lab.raw();
    t.deepEqual(merged(await readAll(client)), wanted);
  }
  const files = readdirSync(join(store, "compaction", TOPIC, "0"));
  t.is(files.filter((name) => /^\d{20}$/.test(name)).length <= 2, true, files.join());
});

test("a message without a key is refused; a deleted topic leaves nothing", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { compactionScheduleInternal: 100 } });
  const client = await lab.raw();
  await setUp(client);
  for (const properties of [{}, { KEYS: " " }, { KEYS: "" }]) {
    const answer = await client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: TOPIC, properties }), Buffer.from("x"));
    t.deepEqual([answer.code, answer.remark], [13, "Required message key is missing"]);
  }
  mkdirSync(join(store, "compaction"), { recursive: true });
  await put(client, "a", "1");
  await until(() => readdirSync(join(store, "compaction")).includes(TOPIC));
  t.is((await client.ask(ask.DELETE_TOPIC, { topic: TOPIC })).code, 0);
  await until(() => !readdirSync(join(store, "compaction")).includes(TOPIC));
});

test("of a topic of whole batches as well, the messages of batches are compacted one by one", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = { compactionScheduleInternal: 100 };
  await lab.start({ store, config });
  let client = await lab.raw();
  await setUp(client, "+cleanup.policy=COMPACTION,+queue.type=BatchCQ");
  const single = (key: string, value: string): Buffer => {
    const properties = ask.propertiesText({ KEYS: key });
    const bytes = Buffer.alloc(22 + value.length + properties.length);
    bytes.writeInt32BE(bytes.length, 0);
    bytes.writeInt32BE(value.length, 16);
    bytes.writeInt16BE(properties.length, 20 + bytes.write(value, 20));
    bytes.write(properties, 22 + value.length);
    return bytes;
  };
  for (let i = 0; i < 20; i++) {
    const batch = Buffer.concat(["a", "b", "c"].map((key) => single(key, `${key}${i}`)));
    const { code } = await client.ask(ask.SEND_BATCH, ask.sendHeaderV2({ topic: TOPIC, queueId: 0, batch: true }), batch);
    t.is(code, 0);
  }
  await put(client, "b", "last");
  const wanted = [["a", "a19"], ["b", "last"], ["c", "c19"]] as [string, string][]; // biome-ignore format: one thing.
  await until(async () => {
    const reads = await readAll(client);
    return reads.reduce((sum, { offsets }) => sum + offsets.length, 0) <= 5 && merged(reads).join() === wanted.join();
  });
  await lab.broker.close();
  await lab.start({ store, config });
  client = await lab.raw();
  t.deepEqual(merged(await readAll(client)), wanted);
});

test("a group goes on over the boundary", async (t) => {
  const lab = new Lab(t);
  await lab.start({ config: { compactionScheduleInternal: 100 } });
  const client = await lab.raw();
  await setUp(client);
  for (let i = 0; i < 50; i++) await put(client, `k${(i % 5) * 2}`, String(i));
  await until(async () => (await readAll(client)).reduce((sum, { offsets }) => sum + offsets.length, 0) === 5);
  const seen = new Map<string, string>();
  const consumer = lab.consumer("compaction-group");
  consumer.subscribe(TOPIC);
  await consumer.run((messages) => {
    for (const { keys, body } of messages) seen.set([...keys].join(), body.toString());
  });
  await until(() => seen.size === 5);
  await put(client, "k8", "last");
  await until(() => seen.get("k8") === "last");
  t.deepEqual([...seen.values()].toSorted(), ["45", "46", "47", "48", "last"]);
});

test("files of the log go only when their last values of keys are safe", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  const config = { compactionScheduleInternal: 3_600_000, cleanResourceInterval: 100, deleteCommitLogFilesInterval: 1 };
  await lab.start({ store, config: { ...config, mappedFileSizeCommitLog: 262_144, commitLogSizeMax: 600_000 } });
  const client = await lab.raw();
  await setUp(client);
  const expected = new Map<string, string>();
  for (let i = 0; i < 120; i++) {
    // The first keys are never put again: they stand in files that go.
    const key = i < 20 ? `early-${i}` : `late-${i % 4}`;
    const value = `${i}`.padEnd(15_000, "x");
    await put(client, key, value);
    expected.set(key, value);
  }
  const log = join(store, "commitlog");
  await until(() => readdirSync(log).filter((name) => Number(name) < 786_432).length === 0);
  const wanted = [...expected].toSorted(([a], [b]) => (a < b ? -1 : 1));
  t.deepEqual(merged(await readAll(client)), wanted);
  const min = await client.ask(ask.MIN_OFFSET, { topic: TOPIC, queueId: 0 });
  t.is(min.extFields["offset"], "0", "the first message that is kept");
});
