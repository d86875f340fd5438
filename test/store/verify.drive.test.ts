// Goal: whatever is planted in a healthy store is found and called by its name; a healthy store is called healthy;
// and nothing is ever written.
// Method: one store made by the engine, copied for each fault; one fault planted in the copy's bytes; the whole
// verification, threads included, on both drives.
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import {
  type DecodedMessage,
  decodeMessage,
  encodeMessage,
  MAGIC_BLANK,
  readInt64,
  recordSizeAt,
  writeInt64,
} from "../../src/format/record/message.ts";
import { openEngine } from "../../src/runtime/embedded-engine.ts";
import { type VerifyOptions, verifyStore } from "../../src/runtime/verify.ts";
import type { VerifyReport } from "../../src/store/verify/verify-report.ts";
import { runCommand } from "../cli/command.ts";

const nativeFree = process.env["MILLRACE_DRIVE"] === "native-free";
const DRIVE_FLAGS = nativeFree ? ["--native-free"] : [];
const LOG_FILE_SIZE = 262_144;
const COUNT = 900;

const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-verify-"));
const healthy = path.join(root, "healthy");
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));

interface Place {
  file: string;
  position: number;
  message: DecodedMessage;
}
/** Where each record stands, in log order. */
const places: Place[] = [];

test.before(async () => {
  {
    await using engine = await openEngine({
      storePath: healthy,
      nativeFree,
      mappedFileSizeCommitLog: LOG_FILE_SIZE,
      maxMessageSize: 100_000,
    });
    engine.createTopic("Topic", 3);
    const appends = Array.from({ length: COUNT }, (_, i) =>
      engine.append("Topic", `body ${i} ${"x".repeat(i)}`, {
        queueId: i % 3,
        tags: `tag${i % 5}`,
        keys: [`k${i}`, "all"],
        properties: { colour: "blue" },
      }),
    );
    await Promise.all(appends);
  }
  const commitLog = path.join(healthy, "commitlog");
  for (const name of fs.readdirSync(commitLog).sort()) {
    const bytes = fs.readFileSync(path.join(commitLog, name));
    for (let at = 0; ; ) {
      const size = recordSizeAt(bytes, at, bytes.length);
      if (size < 0) break;
      places.push({
        file: `commitlog/${name}`,
        position: at,
        message: decodeMessage(Buffer.from(bytes.subarray(at, at + size))),
      });
      at += size;
    }
  }
  // The index is a sparse file of 420 MB: copies must stay sparse too.
  const index = path.join(healthy, "index");
  for (const name of fs.readdirSync(index)) shrinkIndex(path.join(index, name));
});

const INDEX_SHAPE = { slotCount: 5_000_000, entryCount: 20_000 };
const INDEX_OPTIONS = ["--set", `maxIndexNum=${INDEX_SHAPE.entryCount}`];

/** Entries stand behind the slots, so cutting off unused ones leaves a good file of another maxIndexNum. */
function shrinkIndex(file: string): void {
  fs.truncateSync(file, 40 + 4 * INDEX_SHAPE.slotCount + 20 * INDEX_SHAPE.entryCount);
}

let copies = 0;
function copy(): string {
  const made = path.join(root, String(++copies));
  // Without the checksums of the log's blocks, which name each fault once more: verify-blocks.drive.test.ts.
  const without = ["index", "checksums"];
  fs.cpSync(healthy, made, { recursive: true, filter: (source) => !without.includes(path.basename(source)) });
  return made;
}

function copyWithIndex(): string {
  const made = copy();
  fs.cpSync(path.join(healthy, "index"), path.join(made, "index"), { recursive: true });
  return made;
}

/** Four parts a log file, so that faults stand before, on and behind the seams. */
const LOG_PART_SIZE = 65_536;

function verify(storePath: string, more: Partial<VerifyOptions> = {}): Promise<VerifyReport> {
  return verifyStore({ storePath, nativeFree, indexShape: INDEX_SHAPE, logPartSize: LOG_PART_SIZE, ...more });
}

/** Changes bytes of a file in place. */
function patch(storePath: string, file: string, position: number, size: number, change: (bytes: Buffer) => void): void {
  const fd = fs.openSync(path.join(storePath, file), "r+");
  const bytes = Buffer.alloc(size);
  fs.readSync(fd, bytes, 0, size, position);
  change(bytes);
  fs.writeSync(fd, bytes, 0, size, position);
  fs.closeSync(fd);
}

function flip(storePath: string, file: string, position: number, mask = 1): void {
  patch(storePath, file, position, 1, (bytes) => (bytes[0]! ^= mask));
}

/** All paths, sizes, times of change and contents (but for the index, by its time only). */
function fingerprint(directory: string): string[] {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()
    .map((file) => {
      const stat = fs.statSync(file);
      const isRead = stat.isFile() && stat.size < 10_000_000;
      const hash = isRead ? createHash("sha1").update(fs.readFileSync(file)).digest("hex") : "";
      return `${file} ${stat.size} ${stat.mtimeMs} ${hash}`;
    });
}

function queueFile(queueId: number): string {
  return `consumequeue/Topic/${queueId}/00000000000000000000`;
}

test("a healthy store is clean, all of it is looked at, and nothing is written", async (t) => {
  const before = fingerprint(healthy);
  const report = await verify(healthy);
  t.deepEqual(report.findings, []);
  t.true(report.isClean);
  t.is(report.lastExit, "clean");
  t.is(report.recordCount, COUNT);
  t.is(report.entryCount, COUNT);
  t.is(report.queueCount, 3);
  t.is(report.indexEntryCount, 3 * COUNT);
  t.true(report.logFileCount >= 3);
  const last = places.at(-1)!.message;
  t.is(report.logEnd, last.physicalOffset + last.size);
  t.deepEqual(fingerprint(healthy), before);
});

/** Positions in a record with IPv4 hosts. */
const BODY_AT = 88;
const FLIPS: readonly {
  what: string;
  /** Byte of the record, and its bit. */
  at: (message: DecodedMessage) => number;
  mask?: number;
  /** All of these must be among the findings. */
  kinds: readonly string[];
}[] = [
  { what: "size", at: () => 3, kinds: ["record-size", "queue-entry-record"] },
  { what: "size, a high bit", at: () => 0, mask: 0x40, kinds: ["record-size", "queue-entry-record"] },
  { what: "magic", at: () => 5, kinds: ["record-magic", "queue-entry-record"] },
  { what: "CRC", at: () => 11, kinds: ["record-crc"] },
  { what: "CRC, its sign", at: () => 8, mask: 0x80, kinds: ["record-crc"] },
  { what: "queueId", at: () => 15, kinds: ["queue-entry-queue", "record-without-entry"] },
  { what: "queueOffset", at: () => 27, kinds: ["queue-entry-offset", "record-without-entry"] },
  { what: "physicalOffset", at: () => 35, kinds: ["record-physical-offset"] },
  { what: "body size", at: () => 87, kinds: ["record-size", "queue-entry-record"] },
  { what: "body", at: () => BODY_AT + 1, kinds: ["record-crc"] },
  { what: "topic", at: (m) => BODY_AT + m.body.length + 1, kinds: ["queue-entry-topic", "record-without-entry", "index-entry"] },
  {
    what: "topic, no letter any more",
    at: (m) => BODY_AT + m.body.length + 1,
    mask: 0x80,
    kinds: ["record-topic", "queue-entry-topic"],
  },
  { what: "topic size", at: (m) => BODY_AT + m.body.length, kinds: ["record-size", "queue-entry-record"] },
  { what: "value of TAGS", at: (m) => find(m, "tag"), kinds: ["queue-entry-tags", "index-entry"] },
  { what: "name of TAGS", at: (m) => find(m, "TAGS"), kinds: ["queue-entry-tags", "index-entry"] },
  { what: "value of KEYS", at: (m) => find(m, "all"), kinds: ["index-entry"] },
  { what: "end of a property's name", at: (m) => find(m, "blue") - 1, kinds: ["record-properties"] },
  { what: "properties that are no text", at: (m) => find(m, "blue"), mask: 0x80, kinds: ["record-properties"] },
];

function find(message: DecodedMessage, text: string): number {
  const { file, position, message: found } = places.find((place) => place.message.physicalOffset === message.physicalOffset)!;
  const bytes = fs.readFileSync(path.join(healthy, file));
  const start = position + BODY_AT + found.body.length;
  return bytes.indexOf(text, start) - position;
}

test("a flipped bit is found and named, and makes nothing else suspect", async (t) => {
  const store = copyWithIndex();
  const flips = FLIPS.map((fault, i) => ({ ...fault, ...places[301 + 10 * i]! }));
  for (const { file, position, message, at, mask } of flips) flip(store, file, position + at(message), mask);
  const { findings, recordCount } = await verify(store);
  for (const { what, kinds, message } of flips) {
    const named = new Set<string>(
      findings.filter(({ physicalOffset }) => physicalOffset === message.physicalOffset).map(({ kind }) => kind),
    );
    for (const kind of kinds) t.true(named.has(kind), `${what}: ${kind} is not among ${[...named].join(", ")}`);
  }
  const damaged = new Set(flips.map(({ message }) => message.physicalOffset));
  t.deepEqual(
    findings.filter(({ physicalOffset }) => !damaged.has(physicalOffset!)),
    [],
  );
  t.true(recordCount >= COUNT - FLIPS.length && recordCount < COUNT);
});

test("two damaged neighbours are two findings, and a damaged last record is one", async (t) => {
  const store = copy();
  for (const place of [places[100]!, places[101]!, places.at(-1)!]) flip(store, place.file, place.position + BODY_AT);
  const report = await verify(store);
  t.deepEqual(
    report.findings
      .filter(({ kind }) => kind === "record-crc")
      .map(({ physicalOffset }) => physicalOffset)
      .sort((a, b) => a! - b!),
    [places[100]!, places[101]!, places.at(-1)!].map(({ message }) => message.physicalOffset),
  );
});

test("a record in a message's body, where a part of the log file begins, is taken for none", async (t) => {
  const storePath = path.join(root, "seam");
  const body = Buffer.alloc(90_000, 1);
  const inner = encodeMessage({
    topic: "Inner",
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: "127.0.0.1:1",
    storeHost: "127.0.0.1:1",
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    properties: "",
    body: Buffer.alloc(0),
    bodyCrc: 0,
  });
  const innerAt = LOG_PART_SIZE + 100;
  writeInt64(inner, innerAt, 28);
  inner.copy(body, innerAt - BODY_AT);
  {
    await using engine = await openEngine({ storePath, nativeFree, mappedFileSizeCommitLog: LOG_FILE_SIZE });
    engine.createTopic("T");
    await engine.append("T", body);
    for (let i = 0; i < 20; i++) await engine.append("T", `after ${i}`);
  }
  fs.rmSync(path.join(storePath, "index"), { recursive: true });
  const report = await verify(storePath);
  t.deepEqual(report.findings, []);
  t.is(report.recordCount, 21);
  t.is(report.entryCount, 21);
});

test("zeros over records, and a file's closing marker gone", async (t) => {
  const store = copy();
  const { file, position, message } = places[50]!;
  patch(store, file, position, message.size, (bytes) => bytes.fill(0));
  const next = places.findIndex((place) => place.file !== file);
  const last = places[next - 1]!;
  patch(store, file, last.position + last.message.size, 8, (bytes) => {
    t.is(bytes.readUInt32BE(4), MAGIC_BLANK);
    bytes.fill(0);
  });
  const report = await verify(store);
  t.is(report.findingCounts["log-hole"], 1);
  t.is(report.findingCounts["log-end"], 1);
  t.is(report.findings.find(({ kind }) => kind === "log-hole")!.physicalOffset, message.physicalOffset);
});

test("queue entries that point elsewhere", async (t) => {
  const store = copy();
  const entry = (queueId: number, queueOffset: number, change: (bytes: Buffer) => void): void =>
    patch(store, queueFile(queueId), 20 * queueOffset, 20, change);
  // At another record of the queue; into the middle of one; past the log; the right one, of another size; nowhere.
  const other = places.find(({ message }) => message.queueId === 0 && message.queueOffset === 20)!.message;
  entry(0, 10, (bytes) => {
    writeInt64(bytes, other.physicalOffset, 0);
    bytes.writeInt32BE(other.size, 8);
  });
  entry(0, 30, (bytes) => writeInt64(bytes, readInt64(bytes, 0) + 4, 0));
  entry(1, 10, (bytes) => writeInt64(bytes, 1e12, 0));
  entry(1, 20, (bytes) => bytes.writeInt32BE(bytes.readInt32BE(8) + 1, 8));
  entry(2, 10, (bytes) => bytes.fill(0));
  entry(2, 20, (bytes) => writeInt64(bytes, 77, 12));
  entry(2, 30, (bytes) => bytes.writeInt32BE(-1, 0));
  const report = await verify(store);
  const found = report.findings
    .filter(({ kind }) => kind.startsWith("queue-"))
    .map(({ kind, queueId, queueOffset }) => `${queueId}:${queueOffset} ${kind}`)
    .sort();
  t.deepEqual(found, [
    "0:10 queue-entry-offset",
    "0:30 queue-entry-record",
    "1:10 queue-entry-record",
    "1:20 queue-entry-size",
    "2:10 queue-hole",
    "2:20 queue-entry-tags",
    "2:30 queue-entry-record",
  ]);
  // From the other side: the records whose entries these were; tags are the entry's own.
  t.is(report.findingCounts["record-without-entry"], 6);
});

test("a missing queue file, one that was cut short, a missing queue", async (t) => {
  const store = copy();
  const size = fs.statSync(path.join(store, queueFile(0))).size;
  fs.rmSync(path.join(store, queueFile(0)));
  fs.truncateSync(path.join(store, queueFile(1)), size / 2);
  const report = await verify(store);
  t.is(report.findingCounts["record-without-entry"], (2 * COUNT) / 3);
  t.deepEqual(
    report.findings.filter(({ kind }) => kind === "queue-file").map(({ queueId }) => queueId),
    [1],
  );
  fs.rmSync(path.join(store, "consumequeue", "Topic", "2"), { recursive: true });
  const without = await verify(store, { queueFileSize: size });
  t.is(without.findingCounts["record-without-entry"], COUNT);
});

test("a log whose tail was cut off, within a record and between two; a missing log file", async (t) => {
  const last = places.at(-1)!;
  const inside = copy();
  fs.truncateSync(path.join(inside, last.file), last.position + 50);
  const cut = await verify(inside);
  for (const kind of ["log-file", "record-cut", "queue-entry-record", "checkpoint"] as const) {
    t.is(cut.findingCounts[kind], 1, `${kind}: ${JSON.stringify(cut.findingCounts)}`);
  }
  t.is(cut.findings.find(({ kind }) => kind === "record-cut")!.physicalOffset, last.message.physicalOffset);

  const between = copy();
  fs.truncateSync(path.join(between, last.file), last.position);
  fs.truncateSync(path.join(between, last.file), LOG_FILE_SIZE);
  const emptied = await verify(between);
  t.deepEqual(Object.keys(emptied.findingCounts).sort(), ["checkpoint", "queue-entry-record"]);
  t.is(emptied.logEnd, last.message.physicalOffset);

  const missing = copy();
  const second = places.find(({ file }) => file !== places[0]!.file)!.file;
  fs.rmSync(path.join(missing, second));
  const gone = await verify(missing);
  t.is(gone.findingCounts["log-file"], 1);
  t.is(gone.findingCounts["queue-entry-record"], places.filter(({ file }) => file === second).length);
});

test("the key index: its header, an entry, a slot", async (t) => {
  const store = copyWithIndex();
  const file = `index/${fs.readdirSync(path.join(store, "index"))[0]!}`;
  const entriesAt = 40 + 4 * INDEX_SHAPE.slotCount;
  patch(store, file, 24, 8, (bytes) => writeInt64(bytes, 1e12, 0));
  flip(store, file, entriesAt + 20 * 7 + 3);
  patch(store, file, entriesAt + 20 * 100 + 4, 8, (bytes) => writeInt64(bytes, readInt64(bytes, 0) + 1, 0));
  const slots = fs.readFileSync(path.join(store, file)).subarray(40, entriesAt);
  const used = slots.findLastIndex((byte) => byte !== 0);
  flip(store, file, 40 + used);
  const { findings } = await verify(store);
  const texts = findings.map(({ kind, text }) => `${kind} ${text}`).join("\n");
  t.regex(texts, /index-header .*its last record is at physicalOffset 1000000000000/);
  t.regex(texts, /index-entry .*entry 7 has a key hash/);
  t.regex(texts, /index-entry .*entry 100 points at/);
  t.regex(texts, new RegExp(`index-slot .*slot ${Math.floor(used / 4)} leads to`));
  fs.truncateSync(path.join(store, file), 1000);
  t.is((await verify(store)).findingCounts["index-file"], 1);
});

test("what a killed broker leaves is no fault: torn end, entries still to be made", async (t) => {
  const store = copy();
  fs.writeFileSync(path.join(store, "abort"), "");
  fs.rmSync(path.join(store, "checkpoint"));
  const last = places.at(-1)!;
  flip(store, last.file, last.position + BODY_AT);
  for (const [queueId, queueOffset] of [
    [0, 299],
    [1, 299],
    [2, 299],
  ] as const) {
    patch(store, queueFile(queueId), 20 * queueOffset, 20, (bytes) => bytes.fill(0));
  }
  const report = await verify(store);
  t.deepEqual(report.findings, []);
  t.is(report.pendingRecordCount, 2);
  t.true(report.tornBytes > 0);
  // But in a store that was stopped cleanly it is.
  fs.rmSync(path.join(store, "abort"));
  t.false((await verify(store)).isClean);
});

test("records of a topic that was removed, and of one that was made again, are no fault", async (t) => {
  const store = copy();
  fs.mkdirSync(path.join(store, "config"), { recursive: true });
  fs.writeFileSync(path.join(store, "config", "topics.json"), JSON.stringify({ topicConfigTable: {} }));
  fs.rmSync(path.join(store, "consumequeue", "Topic"), { recursive: true });
  const removed = await verify(store);
  t.deepEqual(removed.findings, []);
  t.is(removed.removedTopicRecordCount, COUNT);

  const again = path.join(root, "again");
  {
    await using engine = await openEngine({ storePath: again, nativeFree, mappedFileSizeCommitLog: LOG_FILE_SIZE });
    engine.createTopic("T");
    for (let i = 0; i < 30; i++) await engine.append("T", "same size");
  }
  for (const name of ["index", "checksums"]) fs.rmSync(path.join(again, name), { recursive: true });
  // As if the topic had been removed after 20 records: the next ones count from 0, in a new queue.
  const { size } = decodeMessage(fs.readFileSync(path.join(again, "commitlog", "0".padStart(20, "0"))));
  for (let i = 0; i < 10; i++) {
    patch(again, `commitlog/${"0".padStart(20, "0")}`, (20 + i) * size + 20, 8, (bytes) => writeInt64(bytes, i, 0));
  }
  patch(again, `consumequeue/T/0/${"0".padStart(20, "0")}`, 0, 600, (bytes) => {
    bytes.copy(bytes, 0, 400, 600);
    bytes.fill(0, 200);
  });
  const made = await verify(again);
  t.deepEqual(made.findings, []);
  t.is(made.recordCount, 30);
  t.is(made.entryCount, 10);
  t.is(made.removedTopicRecordCount, 20);
});

test("the command: exit codes, text, JSON; a store in use and a directory that is none are refused", async (t) => {
  const clean = await runCommand(["verify", healthy, ...INDEX_OPTIONS, ...DRIVE_FLAGS]);
  t.is(clean.code, 0, clean.stderr);
  t.regex(clean.stdout, /900 records.*900 entries of 3 queues.*\nnothing is wrong\n$/);
  t.is(clean.stderr, "");

  const store = copy();
  flip(store, places[0]!.file, places[0]!.position + BODY_AT);
  const found = await runCommand(["verify", store, ...DRIVE_FLAGS]);
  t.is(found.code, 1);
  t.regex(found.stdout, /wrong: 1 record-crc\n {2}record-crc: no record can be read at physicalOffset 0: the CRC/);
  const json = await runCommand(["verify", store, "--json", ...DRIVE_FLAGS]);
  t.is(json.code, 1);
  const report = JSON.parse(json.stdout) as VerifyReport;
  t.deepEqual(report.findingCounts, { "record-crc": 1 });

  const none = await runCommand(["verify", path.join(root, "nosuch"), ...DRIVE_FLAGS]);
  t.is(none.code, 2);
  t.regex(none.stderr, /^millrace: no store at .*nosuch/);
  t.false(fs.existsSync(path.join(root, "nosuch")));
  t.is((await runCommand(["verify"])).code, 2);

  const live = path.join(root, "live");
  await using engine = await openEngine({
    storePath: live,
    nativeFree,
    mappedFileSizeCommitLog: LOG_FILE_SIZE,
    maxMessageSize: 100_000,
  });
  engine.createTopic("T");
  await engine.append("T", "x");
  const locked = await runCommand(["verify", live, ...DRIVE_FLAGS]);
  t.is(locked.code, 2);
  t.regex(locked.stderr, new RegExp(`is held by pid ${process.pid}`));
  await t.throwsAsync(() => verify(live), { code: "MILLRACE_STORE_LOCKED" });
  let inspected = await runCommand(["inspect", live, "--topic", "T", "--json", ...DRIVE_FLAGS]);
  // The newest entries of a running broker are in its memory for a while.
  while (inspected.stdout === "") inspected = await runCommand(["inspect", live, "--topic", "T", "--json", ...DRIVE_FLAGS]);
  t.is((JSON.parse(inspected.stdout) as { body: string }).body, "x");
});

test("inspect shows records by place and by queue, and why there is none", async (t) => {
  const { message } = places[301]!;
  const one = await runCommand(["inspect", healthy, "--offset", String(message.physicalOffset), "--json", ...DRIVE_FLAGS]);
  t.is(one.code, 0, one.stderr);
  const { properties, body, ...fields } = message;
  t.deepEqual(JSON.parse(one.stdout), { ...fields, properties: Object.fromEntries(properties), body: body.toString() });

  const queue = await runCommand([
    "inspect",
    healthy,
    "--topic",
    "Topic",
    "--queue",
    "1",
    "--from",
    "298",
    "--json",
    ...DRIVE_FLAGS,
  ]);
  t.deepEqual(
    queue.stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as DecodedMessage).queueOffset),
    [298, 299],
  );
  const text = await runCommand(["inspect", healthy, "--topic", "Topic", "--count", "2", ...DRIVE_FLAGS]);
  t.regex(
    text.stdout,
    /^Topic\/0 queueOffset 0, physicalOffset 0, \d+ bytes\n[^]*"TAGS": "tag0"\n[^]*body, 7 bytes: "body 0 "\n\nTopic\/0 queueOffset 1,/,
  );

  const middle = await runCommand(["inspect", healthy, "--offset", String(message.physicalOffset + 1), ...DRIVE_FLAGS]);
  t.is(middle.code, 1);
  t.regex(middle.stdout, /no record at physicalOffset \d+: its magic is/);
  const unknown = await runCommand(["inspect", healthy, "--topic", "Topic", "--queue", "9", ...DRIVE_FLAGS]);
  t.is(unknown.code, 1);
  t.is(unknown.stderr, "millrace: topic Topic has queues 0, 1, 2\n");
});
