// Goal: `verify` checks queues of whole batches against the log and the log against them; `inspect` shows such a queue.
// Method: a broker stores batches and single messages; then files of the stopped store are changed, one thing at a time.
import fs from "node:fs";
import { join } from "node:path";
import test from "ava";
import { chooseDrive } from "../../src/os/choose.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { StoreInspector } from "../../src/store/verify/inspect.ts";
import { Findings } from "../../src/store/verify/verify-findings.ts";
import { readLayout } from "../../src/store/verify/verify-layout.ts";
import { Lab, NATIVE_FREE } from "../broker-e2e/lab.ts";
import * as ask from "../broker-e2e/requests.ts";

const TOPIC = "Whole";
const ENTRY_SIZE = 46;
const ENTRIES_PER_FILE = 8;
const indexShape = { slotCount: 1000, entryCount: 4000 };

/** 12 entries in two files: batches of 1, 2, 3, … messages, every third a single one without a batch. */
async function fill(lab: Lab): Promise<string> {
  const store = lab.directory();
  await lab.start({
    store,
    config: { mapperFileSizeBatchConsumeQueue: ENTRY_SIZE * ENTRIES_PER_FILE, waitTimeMillsInSendQueue: 60_000 },
  });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, { ...ask.topicHeader(TOPIC, 1), attributes: "+queue.type=BatchCQ" });
  for (let i = 0; i < 12; i++) {
    const header = ask.sendHeaderV2({ topic: TOPIC, batch: i % 3 !== 2, properties: { UNIQ_KEY: `k${i}` } });
    const messages = Array.from({ length: i + 1 }, (_, j) => ({ body: Buffer.from(`${i}/${j}`) }));
    const answer = await client.ask(
      i % 3 === 2 ? ask.SEND_V2 : ask.SEND_BATCH,
      header,
      i % 3 === 2 ? Buffer.from("one") : ask.batchBody(messages),
    );
    if (answer.code !== 0) throw new Error(answer.remark);
  }
  await lab.broker.close();
  return store;
}

const fileOf = (store: string, entry: number): string => {
  const base = Math.floor(entry / ENTRIES_PER_FILE) * ENTRIES_PER_FILE * ENTRY_SIZE;
  return join(store, "batchconsumequeue", TOPIC, "0", String(base).padStart(20, "0"));
};

/** Changes bytes of an entry, and gives them back. */
function change(store: string, entry: number, at: number, bytes: number[]): () => void {
  const file = fileOf(store, entry);
  const before = fs.readFileSync(file);
  const after = Buffer.from(before);
  Buffer.from(bytes).copy(after, (entry % ENTRIES_PER_FILE) * ENTRY_SIZE + at);
  fs.writeFileSync(file, after);
  return () => fs.writeFileSync(file, before);
}

test("queues of whole batches: what was changed is found, and nothing else", async (t) => {
  const lab = new Lab(t);
  const store = await fill(lab);
  const verify = () => verifyStore({ storePath: store, nativeFree: NATIVE_FREE, indexShape });
  const clean = await verify();
  t.true(clean.isClean, JSON.stringify(clean.findings));
  t.is(clean.entryCount, 12);
  const changes: readonly [what: string, entry: number, at: number, bytes: number[], kinds: string[]][] = [
    ["physicalOffset", 4, 7, [1], ["queue-entry-record", "record-without-entry"]],
    ["size", 4, 11, [1], ["queue-entry-record", "record-without-entry"]],
    ["baseOffset", 4, 35, [200], ["queue-entry-offset"]],
    ["count", 4, 37, [9], ["queue-entry-size"]],
    ["never written", 11, 0, new Array<number>(ENTRY_SIZE).fill(0), ["record-without-entry"]],
  ];
  for (const [what, entry, at, bytes, kinds] of changes) {
    const undo = change(store, entry, at, bytes);
    t.deepEqual(Object.keys((await verify()).findingCounts).toSorted(), kinds, what);
    undo();
  }
  const removed = fs.readFileSync(fileOf(store, 11));
  fs.truncateSync(fileOf(store, 11), 100);
  t.true(Object.keys((await verify()).findingCounts).includes("queue-file"));
  fs.writeFileSync(fileOf(store, 11), removed);
  fs.rmSync(join(store, "batchconsumequeue", TOPIC, "0"), { recursive: true });
  t.deepEqual((await verify()).findingCounts, { "record-without-entry": 12 });
});

test("inspect shows the records of such a queue, from the one that holds the message asked for", async (t) => {
  const lab = new Lab(t);
  const store = await fill(lab);
  const { drive } = await chooseDrive(NATIVE_FREE);
  const inspector = new StoreInspector(drive, readLayout(drive, { storePath: store, indexShape }, new Findings()));
  t.teardown(() => inspector.close());
  const offsets = (from: number | undefined, count: number) =>
    [...inspector.queue(TOPIC, 0, from, count)].map(({ queueOffset, message }) => [queueOffset, message?.queueOffset]);
  t.deepEqual(
    offsets(undefined, 4),
    [0, 1, 3, 4].map((offset) => [offset, offset]),
  );
  t.deepEqual(
    offsets(2, 2),
    [1, 3].map((offset) => [offset, offset]),
  );
  t.is(offsets(undefined, 100).length, 12);
});
