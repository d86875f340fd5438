import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { type EmbeddedEngine, type OpenEngineOptions, openEngine } from "../../src/runtime/embedded-engine.ts";
import { until } from "../until.ts";

const nativeFree = process.env["MILLRACE_DRIVE"] === "native-free";

function options(storePath: string, more: Partial<OpenEngineOptions> = {}): OpenEngineOptions {
  return { storePath, nativeFree, mappedFileSizeCommitLog: 1_048_576, maxMessageSize: 200_000, ...more };
}

function directory(t: { teardown(task: () => void): void }): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-engine-"));
  t.teardown(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

test("what was appended is read back in order, over several log files, also after a restart", async (t) => {
  const storePath = directory(t);
  const count = 6000;
  {
    await using engine = await openEngine(options(storePath));
    t.is(engine.drive, nativeFree ? "native-free" : "ffi");
    engine.createTopic("T", 3);
    const results = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        engine.append("T", `body ${i} ${"x".repeat(i % 400)}`, { queueId: i % 3, tags: `tag${i % 5}`, keys: `k${i}` }),
      ),
    );
    results.forEach((result, i) => {
      if (result.queueOffset !== Math.floor(i / 3)) t.fail(`message ${i} got queueOffset ${result.queueOffset}`);
    });
  }
  t.true(fs.readdirSync(path.join(storePath, "commitlog")).length > 2);
  t.false(fs.existsSync(path.join(storePath, "abort")));
  await using again = await openEngine(options(storePath));
  for (let queueId = 0; queueId < 3; queueId++) {
    t.is(again.maxOffset("T", queueId), count / 3);
    let next = 0;
    for await (const message of again.read("T", { queueId })) {
      const i = next * 3 + queueId;
      if (message.queueOffset !== next++) t.fail(`gap at ${next}`);
      if (message.body.toString() !== `body ${i} ${"x".repeat(i % 400)}`) t.fail(`body of ${i}`);
      if (message.properties.get("TAGS") !== `tag${i % 5}`) t.fail(`tags of ${i}`);
    }
    t.is(next, count / 3);
  }
  const more = await again.append("T", "one more", { queueId: 1 });
  t.is(more.queueOffset, count / 3);
});

test("where the clock was put back between two runs, messages get its time, from which their delays are counted", async (t) => {
  const storePath = directory(t);
  const startMs = 1_700_000_000_000;
  for (const now of [startMs + 86_400_000, startMs]) {
    await using engine = await openEngine(options(storePath, { clock: new VirtualClock(now) }));
    engine.createTopic("T");
    t.is((await engine.append("T", "x", { keys: "k" })).storeTimestamp, now);
  }
});

test("SYNC_FLUSH acks, batches, callbacks, and a reader that follows", async (t) => {
  await using engine = await openEngine(options(directory(t), { flushDiskType: "SYNC_FLUSH" }));
  engine.createTopic("T");
  const first = await engine.appendBatch(
    "T",
    0,
    Array.from({ length: 100 }, (_, i) => Buffer.from(`b${i}`)),
  );
  t.is(first.queueOffset, 0);
  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const message of engine.read("T", { follow: true, signal: stop.signal })) {
      seen.push(message.body.toString());
      if (seen.length === 201) stop.abort();
    }
  })();
  await new Promise<void>((resolve, reject) => {
    let done = 0;
    for (let i = 0; i < 100; i++) {
      const taken = engine.tryAppend("T", 0, Buffer.from(`c${i}`), (error) => {
        if (error !== undefined) reject(error);
        else if (++done === 100) resolve();
      });
      if (!taken) reject(new Error("no room for 100 messages"));
    }
  });
  await engine.append("T", "last");
  await reading;
  t.deepEqual(seen, [
    ...Array.from({ length: 100 }, (_, i) => `b${i}`),
    ...Array.from({ length: 100 }, (_, i) => `c${i}`),
    "last",
  ]);
});

test("bad input is refused with its name and limit, and costs nothing stored", async (t) => {
  const storePath = directory(t);
  await using engine = await openEngine(options(storePath));
  engine.createTopic("T");
  await t.throwsAsync(() => engine.append("T", Buffer.alloc(200_001)), {
    code: "MILLRACE_MESSAGE_ILLEGAL",
    message: /200000 bytes, not 200001/,
  });
  await t.throwsAsync(() => engine.append("nosuch", "x"), { code: "MILLRACE_TOPIC_UNKNOWN" });
  await t.throwsAsync(() => engine.append("T", "x", { queueId: 1 }), { code: "MILLRACE_TOPIC_UNKNOWN" });
  t.throws(() => engine.createTopic("../../evil"), { code: "MILLRACE_CONFIG_INVALID" });
  await t.throwsAsync(() => openEngine(options(storePath)), {
    code: "MILLRACE_STORE_LOCKED",
    message: new RegExp(`pid ${process.pid}`),
  });
  t.is((await engine.append("T", "x")).queueOffset, 0);
});

test("a store whose process died keeps every acknowledged message", async (t) => {
  const storePath = directory(t);
  const copy = directory(t);
  const engine = await openEngine(options(storePath));
  engine.createTopic("T");
  for (let i = 0; i < 500; i++) void engine.append("T", `m${i}`);
  await engine.append("T", "m500");
  // What a killed process leaves: the files as they are, abort and lock included.
  fs.cpSync(storePath, copy, { recursive: true });
  fs.writeFileSync(path.join(copy, "lock"), "lock pid=999999999 start=1\n");
  await engine.close();
  await using again = await openEngine(options(copy));
  const bodies: string[] = [];
  for await (const message of again.read("T")) bodies.push(message.body.toString());
  t.deepEqual(
    bodies,
    Array.from({ length: 501 }, (_, i) => `m${i}`),
  );
});

test("a producer that fills the rings and waits for room never waits for ever", async (t) => {
  await using engine = await openEngine(options(directory(t), { mappedFileSizeCommitLog: 16_777_216 }));
  engine.createTopic("T");
  const body = Buffer.alloc(100);
  const count = 100_000;
  let stored = 0;
  for (let i = 0; i < count; i++) {
    const done = (): void => {
      stored++;
    };
    while (!engine.tryAppend("T", 0, body, done)) await engine.room();
  }
  while (stored < count) await engine.room();
  t.is(stored, count);
});

const TERABYTES = 1e15;
const HOUR_MS = 3_600_000;

/** Appends so many messages of 8,000 bytes. */
async function fill(engine: EmbeddedEngine, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await engine.append("T", Buffer.alloc(8000, "r"), { keys: `k${i}` });
}

test("what is old goes as in the broker; readers go on where the queue begins by then", async (t) => {
  const storePath = directory(t);
  const clock = new VirtualClock(Date.now());
  const retention = {
    fileReservedTime: 1,
    deleteWhen: "00;01;02;03;04;05;06;07;08;09;10;11;12;13;14;15;16;17;18;19;20;21;22;23",
  };
  const more = { ...retention, deleteCommitLogFilesInterval: 0, clock, mappedFileSizeCommitLog: 131_072, maxMessageSize: 10_000 };
  await using engine = await openEngine(options(storePath, more));
  engine.createTopic("T");
  await fill(engine, 60);
  await until(() => engine.maxOffset("T") === 60);
  const reader = engine.read("T");
  t.is((await reader.next()).value?.queueOffset, 0);
  clock.advance(60_000); // Full files are noted with the time of their last message.
  clock.advance(2 * HOUR_MS);
  await until(() => {
    clock.advance(10_000);
    return engine.minOffset("T") > 30;
  });
  const min = engine.minOffset("T");
  t.true(min < 60, "the file that is written stays");
  t.is(engine.readBatch("T", 0, 0, 1).length, 0);
  const rest: number[] = [];
  for await (const { queueOffset } of engine.read("T", { from: 0 })) rest.push(queueOffset);
  t.deepEqual(
    rest,
    Array.from({ length: 60 - min }, (_, i) => min + i),
  );
  await reader.return();
  const bases = fs.readdirSync(path.join(storePath, "commitlog")).map(Number);
  t.true(Math.min(...bases) > 0, String(bases));
});

test("appends fail above the watermark, reads go on; keys are checked as the broker's", async (t) => {
  const storePath = directory(t);
  {
    await using engine = await openEngine(options(storePath));
    engine.createTopic("T");
    await engine.append("T", "before");
  }
  const full = { cleanFileForciblyEnable: false, diskSpaceWarningLevelFreeBytes: TERABYTES };
  await using engine = await openEngine(options(storePath, full));
  await t.throwsAsync(() => engine.append("T", "refused"), { code: "MILLRACE_DISK_WATERMARK" });
  t.is(engine.readBatch("T", 0, 0, 1)[0]?.body.toString(), "before");
  await t.throwsAsync(() => openEngine(options(directory(t), { deleteWhen: "25" })), {
    code: "MILLRACE_CONFIG_INVALID",
    message: /deleteWhen=25 is not valid/,
  });
});
