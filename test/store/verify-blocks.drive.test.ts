// Goal: after a clean stop every byte of the log has a checksum in the default configuration; a flipped bit in any field is named
// with its record; damage beyond one bit, what has no checksum, and what another broker has written since are told apart.
// Method: one store made by the engine, copied for each fault, verified with its threads on both drives.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import test from "ava";
import { CHECKSUM_BLOCK_SIZE, LogChecksumTable } from "../../src/format/files/log-checksums.ts";
import { readInt64, recordSizeAt, STORE_TIMESTAMP_OFFSET_V4, writeInt64 } from "../../src/format/record/message.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { openEngine } from "../../src/runtime/embedded-engine.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { verifyBlocks } from "../../src/store/verify/verify-blocks.ts";
import { Findings } from "../../src/store/verify/verify-findings.ts";
import type { VerifyReport } from "../../src/store/verify/verify-report.ts";
import { runCommand } from "../cli/command.ts";

const nativeFree = process.env["MILLRACE_DRIVE"] === "native-free";
const DRIVE_FLAGS = nativeFree ? ["--native-free"] : [];
const LOG_FILE_SIZE = 300_000;
const COUNT = 1000;
const FIRST = "00000000000000000000";
const SECOND = "00000000000000300000";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-verify-blocks-"));
const healthy = path.join(root, "healthy");
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));

/** By place in the first log file. */
const sizes = new Map<number, number>();
let lastEnd = 0;

test.before(async () => {
  await append(healthy, COUNT);
  fs.rmSync(path.join(healthy, "index"), { recursive: true }); // Large, and not looked at here.
  const bytes = fs.readFileSync(path.join(healthy, "commitlog", FIRST));
  for (let at = 0, size = 0; (size = recordSizeAt(bytes, at, bytes.length)) > 0; at += size) sizes.set(at, size);
  lastEnd = [...sizes].at(-1)![0] + [...sizes].at(-1)![1];
});

async function append(storePath: string, count: number): Promise<void> {
  await using engine = await openEngine({ storePath, nativeFree, mappedFileSizeCommitLog: LOG_FILE_SIZE });
  engine.createTopic("Topic", 2);
  const bodies = Array.from({ length: count }, (_, i) => `body ${i} ${"x".repeat(i % 700)}`);
  await Promise.all(bodies.map((body, i) => engine.append("Topic", body, { queueId: i % 2, properties: { colour: "blue" } })));
}

let copies = 0;
function copy(): string {
  const made = path.join(root, String(++copies));
  fs.cpSync(healthy, made, { recursive: true });
  return made;
}

function verify(storePath: string, logPartSize = LOG_FILE_SIZE): Promise<VerifyReport> {
  return verifyStore({ storePath, nativeFree, logFileSize: LOG_FILE_SIZE, logPartSize });
}

function patch(storePath: string, file: string, change: (bytes: Buffer) => void): void {
  const bytes = fs.readFileSync(path.join(storePath, file));
  change(bytes);
  fs.writeFileSync(path.join(storePath, file), bytes);
}

/** Flips one bit of the first log file. */
function flip(commitLog: string, position: number): void {
  const fd = fs.openSync(path.join(commitLog, FIRST), "r+");
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, position);
  byte[0]! ^= 16;
  fs.writeSync(fd, byte, 0, 1, position);
  fs.closeSync(fd);
}

/** A record that lies across two blocks, so that either part may be damaged. */
function acrossBlocks(): number {
  return [...sizes].find(([at, size]) => at < CHECKSUM_BLOCK_SIZE && at + size > CHECKSUM_BLOCK_SIZE)![0];
}

test("after a clean stop all of the log has checksums, also after a second life", async (t) => {
  const store = copy();
  const before = await verify(store);
  t.deepEqual(before.findings, []);
  t.is(before.blockUncheckedBytes, 0);
  t.is(before.blockCheckedBytes, before.logEnd);
  t.true(before.logFileCount > 1);
  const { blockCheckedBytes, blockUncheckedBytes } = await verify(store, 50_000);
  t.deepEqual([blockCheckedBytes, blockUncheckedBytes], [before.logEnd, 0], "in parts that share blocks");
  await append(store, 10);
  const after = await verify(store);
  t.true(after.isClean);
  t.true(after.logEnd > before.logEnd);
  t.is(after.blockCheckedBytes, after.logEnd);
});

test("a flipped bit of any byte of a record is named, with the record and the field", async (t) => {
  const store = copy();
  const { drive } = await chooseDrive(nativeFree);
  const commitLog = path.join(store, "commitlog");
  const logFiles = [{ base: 0, size: LOG_FILE_SIZE }];
  const layout = { commitLog, checksums: path.join(store, "checksums"), logFileSize: LOG_FILE_SIZE, logFiles };
  const record = acrossBlocks();
  const fields = new Set<string>();
  for (let offset = 0; offset < sizes.get(record)!; offset++) {
    flip(commitLog, record + offset);
    const found = new Findings();
    verifyBlocks(drive, layout, { fileIndex: 0, start: 0, end: LOG_FILE_SIZE }, found);
    flip(commitLog, record + offset);
    t.is(found.list.length, 1, `byte ${offset}`);
    const { physicalOffset, byteOffset, bit, topic, text } = found.list[0]!;
    t.deepEqual([physicalOffset, byteOffset, bit, topic], [record, record + offset, 16, "Topic"]);
    fields.add(/\(([^)]+)\)/.exec(text)![1]!);
  }
  for (const field of ["flag", "sysFlag", "bornTimestamp", "bornHost", "storeHost", "reconsumeTimes", "properties"])
    t.true(fields.has(field), field);
});

test("a bit behind the last record of a file, and damage of many bytes", async (t) => {
  const store = copy();
  patch(store, `commitlog/${FIRST}`, (bytes) => (bytes[lastEnd + 20]! ^= 1));
  patch(store, `commitlog/${SECOND}`, (bytes) => bytes.fill(0x55, 1000, 1600));
  const found = (await verify(store)).findings.filter(({ kind }) => kind === "log-block");
  t.is(found.length, 2);
  t.regex(found[0]!.text, /in no record/);
  t.is(found[0]!.byteOffset, lastEnd + 20);
  t.regex(found[1]!.text, /more than one bit/);
  t.is(found[1]!.physicalOffset, LOG_FILE_SIZE);
  t.is(found[1]!.records?.[0], LOG_FILE_SIZE);
  t.true(found[1]!.records!.length > 10);
});

test("checksums that are missing or damaged leave bytes uncovered, and make none suspect", async (t) => {
  const store = copy();
  const whole = await verify(store);
  patch(store, `checksums/${FIRST}`, (bytes) => (bytes[32 + 16 + 4]! ^= 1));
  const one = await verify(store);
  t.deepEqual(one.findings, []);
  t.is(one.blockUncheckedBytes, CHECKSUM_BLOCK_SIZE);
  fs.rmSync(path.join(store, "checksums"), { recursive: true });
  const none = await verify(store);
  t.deepEqual(none.findings, []);
  t.is(none.blockCheckedBytes, 0);
  t.true(none.blockUncheckedBytes > 0.9 * whole.logEnd);
  const { code, stdout } = await runCommand([
    "verify",
    store,
    "--set",
    `mappedFileSizeCommitLog=${LOG_FILE_SIZE}`,
    ...DRIVE_FLAGS,
  ]);
  t.is(code, 0);
  t.regex(stdout, /have no checksum but those of the messages' bodies/);
});

test("what was written anew after a block got its checksum is no damage, but uncovered", async (t) => {
  const store = copy();
  patch(store, `checksums/${FIRST}`, (bytes) => {
    const table = LogChecksumTable.decode(bytes, 0, LOG_FILE_SIZE)!;
    table.set(1, CHECKSUM_BLOCK_SIZE, (table.crc(1) ^ 0x1234_5678) >>> 0, table.coveredAt(1) - 1000);
  });
  const report = await verify(store);
  t.deepEqual(report.findings, []);
  t.is(report.blockRewrittenBytes, CHECKSUM_BLOCK_SIZE);
  t.is(report.blockUncheckedBytes, CHECKSUM_BLOCK_SIZE);
});

test("a last record whose time was damaged does not make its block look written anew", async (t) => {
  const store = copy();
  const starts = [...sizes.keys()];
  const behind = starts.findIndex((at) => at >= 2 * CHECKSUM_BLOCK_SIZE);
  const record = starts[behind - 1]!;
  t.true(record + STORE_TIMESTAMP_OFFSET_V4 + 8 < 2 * CHECKSUM_BLOCK_SIZE);
  const log = fs.readFileSync(path.join(store, "commitlog", FIRST));
  const late = readInt64(log, starts[behind]! + STORE_TIMESTAMP_OFFSET_V4) + 100_000; // The next message came much later.
  patch(store, `commitlog/${FIRST}`, (bytes) => {
    writeInt64(bytes, 2 ** 45, record + STORE_TIMESTAMP_OFFSET_V4);
    for (const at of starts.slice(behind)) writeInt64(bytes, late, at + STORE_TIMESTAMP_OFFSET_V4);
    bytes.copy(log);
  });
  patch(store, `checksums/${FIRST}`, (bytes) => {
    const table = LogChecksumTable.decode(bytes, 0, LOG_FILE_SIZE)!;
    for (let block = 2; block < table.blockCount; block++) {
      const start = block * CHECKSUM_BLOCK_SIZE;
      const size = table.coveredSize(block);
      table.set(block, size, zlib.crc32(log.subarray(start, start + size)), table.coveredAt(block) + 200);
    }
  });
  const found = (await verify(store)).findings.filter(({ kind }) => kind === "log-block");
  t.deepEqual(
    found.map(({ physicalOffset }) => physicalOffset),
    [CHECKSUM_BLOCK_SIZE],
  );
});
