// Goal: a filtered read picks what passes, by tag hash and by expression, goes on behind what it looked at, and stops in time.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { javaHash } from "../../../src/base/java-hash.ts";
import { type EntryFilter, entryFilter } from "../../../src/filter/entry-filter.ts";
import { ENTRY_SIZE, writeEntry } from "../../../src/format/files/consume-queue.ts";
import { decodeMessages, encodeMessage } from "../../../src/format/record/message.ts";
import { encodeProperties } from "../../../src/format/record/properties.ts";
import { chooseDrive } from "../../../src/os/choose.ts";
import { makeDirectory } from "../../../src/os/files.ts";
import { basePath } from "../../../src/store/log/log-files.ts";
import { LogReader } from "../../../src/store/log/log-reader.ts";
import { ConsumeQueue, queueDirectory } from "../../../src/store/queue/consume-queue.ts";
import { QueueReader, READ_FOUND, READ_NO_MATCH } from "../../../src/store/queue/queue-reader.ts";

const LIMITS = { countInMemory: 32, sizeInMemory: 1_048_576, countOnDisk: 32, sizeOnDisk: 1_048_576, inMemoryDistance: 2 ** 40 };

async function rig(t: ExecutionContext, isNativeFree: boolean, messages: readonly Readonly<Record<string, string>>[]) {
  const root = mkdtempSync(join(tmpdir(), "queue-reader-"));
  const { drive } = await chooseDrive(isNativeFree);
  const records = messages.map((properties, i) =>
    encodeMessage({
      topic: "T",
      queueId: 0,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: 0,
      bornHost: "10.0.0.1:1",
      storeHost: "10.0.0.1:1",
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
      properties: encodeProperties(new Map(Object.entries(properties))),
      body: Buffer.from(String(i)),
      bodyCrc: 0,
    }),
  );
  const log = Buffer.concat(records);
  const logDirectory = join(root, "commitlog");
  makeDirectory(logDirectory);
  const file = drive.openFile(basePath(logDirectory, 0), { size: log.length, writable: true, mapped: false });
  file.write(0, log, 0, log.length);
  file.close();
  const entries = Buffer.alloc(records.length * ENTRY_SIZE);
  let at = 0;
  records.forEach((record, i) => {
    const { TAGS, ext } = messages[i]!;
    const tagsCode = ext !== undefined ? -(2 ** 63) + 4096 : TAGS === undefined ? 0 : javaHash(TAGS);
    writeEntry(entries, i * ENTRY_SIZE, at, record.length, tagsCode);
    at += record.length;
  });
  const queue = new ConsumeQueue(drive, queueDirectory(join(root, "consumequeue"), "T", 0), 6_000_000, true);
  queue.write(0, entries, 0, entries.length);
  const logReader = new LogReader(drive, logDirectory, log.length);
  const reader = new QueueReader(logReader, LIMITS);
  t.teardown(() => {
    queue.close();
    logReader.close();
    rmSync(root, { recursive: true, force: true });
  });
  const read = (filter: EntryFilter, from = 0, count = 32): { status: number; bodies: string[]; next: number } => {
    const status = reader.read(queue, from, records.length, count, filter, log.length, records.length);
    const answer = Buffer.alloc(reader.totalSize);
    reader.copyTo(answer, 0);
    return { status, bodies: decodeMessages(answer).map(({ body }) => body.toString()), next: reader.nextOffset };
  };
  return { read };
}

for (const isNativeFree of [false, true]) {
  const on = isNativeFree ? "native-free" : "ffi";

  test(`${on}: by tags, by an expression, by both`, async (t) => {
    const messages = [{ TAGS: "A", n: "1" }, { TAGS: "B", n: "2" }, { n: "3" }, { TAGS: "A", n: "4", ext: "x" }, { TAGS: "B" }];
    const { read } = await rig(t, isNativeFree, messages);
    t.deepEqual(read(entryFilter("TAG", "A")), { status: READ_FOUND, bodies: ["0", "3"], next: 5 });
    t.deepEqual(read(entryFilter("TAG", "C || B")).bodies, ["1", "3", "4"], "an entry without the hash is for the client");
    t.deepEqual(read(entryFilter("SQL92", "n >= 2")).bodies, ["1", "2", "3"]);
    t.deepEqual(read(entryFilter("SQL92", "n > 9")), { status: READ_NO_MATCH, bodies: [], next: 5 });
    t.deepEqual(read(entryFilter("SQL92", "n > 0"), 1, 2), { status: READ_FOUND, bodies: ["1", "2"], next: 3 });
    const both = { matchesAll: false, codes: new Set([javaHash("B")]), message: entryFilter("SQL92", "n IS NOT NULL").message };
    t.deepEqual(read(both).bodies, ["1", "3"]);
  });

  test(`${on}: an expression that costs much ends the read early, behind what was looked at`, async (t) => {
    const long = "z".repeat(15_000);
    const messages = Array.from({ length: 60 }, () => ({ a: `${long}1`, b: `${long}2` }));
    const { read } = await rig(t, isNativeFree, messages);
    const expensive = entryFilter("SQL92", Array.from({ length: 50 }, () => "a=b").join(" OR "));
    const first = read(expensive);
    t.is(first.status, READ_NO_MATCH);
    t.true(first.next > 0 && first.next < 60, `next ${first.next}`);
    t.true(read(expensive, first.next).next > first.next);
  });
}
