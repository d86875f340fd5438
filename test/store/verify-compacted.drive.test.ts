// Goal: no byte of a compacted topic's file can change unnoticed: `verify` names message, byte and bit; readers pass a damaged
// message over; the next compaction neither takes it for good nor throws its file away.
// Method: a broker compacts two queues; each byte of a file of the stopped store is flipped once, and cut, and moved.
import fs from "node:fs";
import { basename, join } from "node:path";
import test from "ava";
import { COMPACTED_ENTRY_SIZE, COMPACTED_HEADER_SIZE, decodeCompactedHeader } from "../../src/format/files/compacted-queue.ts";
import { decodeMessages } from "../../src/format/record/message.ts";
import type { Drive } from "../../src/os/api.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { CompactedQueue } from "../../src/store/queue/compacted-queue.ts";
import { type CompactedFile, verifyCompacted } from "../../src/store/verify/verify-compacted.ts";
import { type Finding, Findings } from "../../src/store/verify/verify-findings.ts";
import type { VerifyReport } from "../../src/store/verify/verify-report.ts";
import { Lab, NATIVE_FREE } from "../broker-e2e/lab.ts";
import * as ask from "../broker-e2e/requests.ts";
import { runCommand } from "../cli/command.ts";
import { until } from "../until.ts";

const TOPIC = "Prices";
const GROUP = "readers";
const KEYS = ["a", "b", "c", "d", "e"];
const NEVER = { compactionScheduleInternal: 3_600_000 };
const SOON = { compactionScheduleInternal: 100 };
const indexShape = { slotCount: 1000, entryCount: 4000 };

const directoryOf = (store: string): string => join(store, "compaction", TOPIC, "0");
const verify = (storePath: string): Promise<VerifyReport> => verifyStore({ storePath, nativeFree: NATIVE_FREE, indexShape });

async function put(lab: Lab, key: string, value: string): Promise<void> {
  const client = await lab.raw();
  const { code, remark } = await client.ask(
    ask.SEND_V2,
    ask.sendHeaderV2({ topic: TOPIC, queueId: 0, properties: { KEYS: key } }),
    Buffer.from(value),
  );
  if (code !== 0) throw new Error(remark);
}

async function bodiesFrom(lab: Lab, offset: number): Promise<string[]> {
  const client = await lab.raw();
  const { body } = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: TOPIC, queueId: 0, offset, count: 32 }));
  return decodeMessages(body).map((message) => message.body.toString());
}

const newestOf = (store: string): string | undefined =>
  fs.existsSync(directoryOf(store))
    ? fs
        .readdirSync(directoryOf(store))
        .filter((name) => /^\d{20}$/.test(name))
        .toSorted()
        .at(-1)
    : undefined;

/** A stopped store whose queue 0 is compacted up to `upTo`, the five keys twice each by then. */
async function fill(lab: Lab): Promise<{ store: string; file: string }> {
  const store = lab.directory();
  await lab.start({ store, config: NEVER });
  const client = await lab.raw();
  const made = await client.ask(ask.CREATE_TOPIC, { ...ask.topicHeader(TOPIC, 1), attributes: "+cleanup.policy=COMPACTION" });
  if (made.code !== 0) throw new Error(made.remark);
  await client.ask(ask.CREATE_GROUP, {}, Buffer.from(JSON.stringify({ groupName: GROUP, consumeEnable: true })));
  for (const round of [1, 2]) for (const key of KEYS) await put(lab, key, `${key}${round}`);
  await lab.broker.close();
  await compactTo(lab, store, 10);
  return { store, file: join(directoryOf(store), newestOf(store)!) };
}

/** Compacts all that the stopped store has at once: a few messages more or less decide whether it is worth it. */
async function compactTo(lab: Lab, store: string, upTo: number): Promise<void> {
  await lab.start({ store, config: SOON });
  await until(() => Number(newestOf(store)) === upTo);
  await lab.broker.close();
}

function flip(file: string, position: number, mask: number): void {
  const bytes = fs.readFileSync(file);
  bytes[position]! ^= mask;
  fs.writeFileSync(file, bytes);
}

/** As readers do. */
function readAll(drive: Drive, file: string): { isWhole: boolean; bodies: string[] } {
  const queue = CompactedQueue.open(drive, file)!;
  const isWhole = queue.checkTable();
  const bodies: string[] = [];
  for (let i = queue.find(0); i < queue.header.count; i++) {
    const record = queue.record(queue.entry(i));
    if (record !== undefined) bodies.push(decodeMessages(record)[0]!.body.toString());
  }
  queue.close();
  return { isWhole, bodies };
}

test("each flipped bit of a compacted file is found, and named by message, byte and bit", async (t) => {
  const lab = new Lab(t);
  const { store, file } = await fill(lab);
  const whole = await verify(store);
  t.deepEqual(whole.findings, []);
  t.deepEqual([whole.compactedFileCount, whole.compactedMessageCount], [1, 5]);

  const { drive } = await chooseDrive(NATIVE_FREE);
  const good = fs.readFileSync(file);
  const { dataSize } = decodeCompactedHeader(good)!;
  const tableAt = COMPACTED_HEADER_SIZE + dataSize;
  t.is(good.length, tableAt + 5 * COMPACTED_ENTRY_SIZE);
  const check = (): Finding[] => {
    const found = new Findings();
    const here: CompactedFile = { topic: TOPIC, queueId: 0, path: file, size: fs.statSync(file).size };
    verifyCompacted(drive, here, found, () => {});
    return found.list;
  };
  for (let position = 0; position < good.length; position++) {
    const mask = 1 << (position % 8);
    flip(file, position, mask);
    const found = check();
    if (position < COMPACTED_HEADER_SIZE)
      t.deepEqual(
        found.map(({ kind }) => kind),
        ["compacted-file"],
        String(position),
      );
    else
      t.like(
        found[0],
        { kind: position < tableAt ? "compacted-record" : "compacted-table", byteOffset: position, bit: mask },
        `${position}: ${JSON.stringify(found)}`,
      );
    if (position >= COMPACTED_HEADER_SIZE) {
      const isTable = position >= tableAt;
      const { isWhole, bodies } = readAll(drive, file);
      t.is(isWhole, !isTable, String(position));
      // Records say themselves what they are: without the table none is lost.
      t.is(bodies.length, isTable ? 5 : 4, String(position));
      t.deepEqual(bodies, bodies.toSorted(), String(position));
    }
    flip(file, position, mask);
  }
  t.deepEqual(check(), []);

  const kinds = (change: (bytes: Buffer) => Buffer): string[] => {
    fs.writeFileSync(file, change(Buffer.from(good)));
    const found = check().map(({ kind }) => kind);
    fs.writeFileSync(file, good);
    return found;
  };
  t.deepEqual(
    kinds((bytes) => bytes.subarray(0, -1)),
    ["compacted-file"],
  );
  t.deepEqual(
    kinds((bytes) => bytes.fill(0, COMPACTED_HEADER_SIZE + 60, COMPACTED_HEADER_SIZE + 80)),
    ["compacted-record"],
  );
  t.deepEqual(
    kinds((bytes) => bytes.fill(255, tableAt, tableAt + 2 * COMPACTED_ENTRY_SIZE)),
    ["compacted-table"],
  );

  flip(file, COMPACTED_HEADER_SIZE + 20, 4);
  const { code, stdout } = await runCommand([
    "verify",
    store,
    "--set",
    "maxHashSlotNum=1000",
    "--set",
    "maxIndexNum=4000",
    ...(NATIVE_FREE ? ["--native-free"] : []),
  ]);
  t.is(code, 1);
  t.regex(stdout, /5 compacted messages in 1 files\nwrong: 1 compacted-record\n/);
  t.regex(stdout, /queueOffset 5: one bit of byte 20 \(queueOffset\) of its record, byte 60 of the file, was flipped/);
});

test("a damaged message is passed over, its file set aside by the next compaction", async (t) => {
  const lab = new Lab(t);
  const { store, file } = await fill(lab);
  const good = fs.readFileSync(file);
  const at = good.indexOf("b2");
  flip(file, at, 1);
  await lab.start({ store, config: NEVER });
  t.deepEqual(await bodiesFrom(lab, 0), ["a2", "c2", "d2", "e2"]);
  for (const key of ["x", "y", "z"]) await put(lab, key, `${key}1`);
  await lab.broker.close();
  await compactTo(lab, store, 13);

  await lab.start({ store, config: NEVER });
  t.deepEqual(await bodiesFrom(lab, 0), ["a2", "c2", "d2", "e2", "x1", "y1", "z1"]);
  await put(lab, "b", "b3");
  await put(lab, "a", "a3");
  await lab.broker.close();
  await compactTo(lab, store, 15);

  await lab.start({ store, config: NEVER });
  t.deepEqual(await bodiesFrom(lab, 0), ["c2", "d2", "e2", "x1", "y1", "z1", "b3", "a3"]);
  await lab.broker.close();
  t.deepEqual(fs.readdirSync(directoryOf(store)).toSorted(), [basename(file) + ".damaged", "15".padStart(20, "0")]);
  const aside = `${file}.damaged`;
  const kept = fs.readFileSync(aside);
  kept[at]! ^= 1;
  t.deepEqual(kept, good);
  const { findings } = await verify(store);
  t.like(findings, [{ kind: "compacted-record", file: aside, byteOffset: at, bit: 1, queueOffset: 6 }]);
  t.is(findings.length, 1);
});

test("a file whose header is damaged is not read, and not thrown away", async (t) => {
  const lab = new Lab(t);
  const { store, file } = await fill(lab);
  flip(file, 9, 1);
  const errors: string[] = [];
  await lab.start({
    store,
    config: SOON,
    log: { error: (_fields, text) => errors.push(text), warn: () => {}, info: () => {}, debug: () => {} },
  });
  // What the log still has is compacted anew.
  await until(async () => (await bodiesFrom(lab, 0)).join() === "a2,b2,c2,d2,e2");
  await until(() => fs.existsSync(`${file}.damaged`));
  t.true(
    errors.some((text) => text.includes("is damaged, and not read")),
    errors.join(),
  );
  await lab.broker.close();
  t.deepEqual((await verify(store)).findingCounts, { "compacted-file": 1 });
});
