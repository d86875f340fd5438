import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { parkDelayed } from "../../../src/broker/later/delay-levels.ts";
import { ScheduleService } from "../../../src/broker/later/schedule.ts";
import type { OutgoingMessage, QueueEntry } from "../../../src/broker/message-store.ts";
import { SCHEDULE_TOPIC } from "../../../src/format/names.ts";
import { parseJson } from "../../../src/format/text/fastjson.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeStore } from "../fake-store.ts";

const LEVELS_MS = [1000, 5000, 10_000];
const SAVE_MS = 10_000;
/** One for all rigs, so that also a run that is broken off leaves no more than this. */
const ROOT = mkdtempSync(join(tmpdir(), "schedule-"));
test.after.always(() => rmSync(ROOT, { recursive: true, force: true }));

/** Enters delivery times as tags codes, as the dispatcher does for this one topic. */
class DelayStore extends FakeStore {
  /** Physical offsets that cannot be read. */
  readonly unreadable = new Set<number>();

  override queueEntry(topic: string, queueId: number, queueOffset: number): QueueEntry | undefined {
    const entry = super.queueEntry(topic, queueId, queueOffset);
    if (entry === undefined || topic !== SCHEDULE_TOPIC) return entry;
    return { ...entry, tagsCode: this.storeTimestamp(topic, queueId, queueOffset) + LEVELS_MS[queueId]! };
  }

  override readRecord(physicalOffset: number): Buffer | undefined {
    return this.unreadable.has(physicalOffset) ? undefined : super.readRecord(physicalOffset);
  }

  /** What has come to topics that consumers read. */
  get delivered(): OutgoingMessage[] {
    return this.appended.filter(({ topic }) => topic !== SCHEDULE_TOPIC);
  }
}

function message(text: string, level: number): OutgoingMessage {
  return {
    topic: "T",
    queueId: 1,
    flag: 3,
    sysFlag: 0,
    bornTimestamp: 5,
    bornHost: "10.0.0.1:1000",
    reconsumeTimes: 2,
    preparedTransactionOffset: 0,
    properties: new Map([
      ["DELAY", String(level)],
      ["TAGS", "a"],
    ]),
    body: Buffer.from(text),
  };
}

function rig() {
  const directory = mkdtempSync(join(ROOT, "rig-"));
  let clock = new VirtualClock(1_000_000);
  const store = new DelayStore();
  let path = join(directory, "delayOffset.json");
  let starts = 0;
  for (const [topic, count] of [
    [SCHEDULE_TOPIC, 3],
    ["T", 2],
  ] as const) {
    store.ensureQueues(topic, count);
  }
  // A clock and a file of its own for each: what is left behind by a crash does nothing any more.
  const start = (): ScheduleService => {
    clock = new VirtualClock(clock.now());
    const before = path;
    path = join(directory, `delayOffset.${starts++}.json`);
    if (existsSync(before)) copyFileSync(before, path);
    const file = new ConfigFile(path);
    const service = new ScheduleService({
      store,
      file,
      delayLevelsMs: LEVELS_MS,
      saveIntervalMs: SAVE_MS,
      clock,
      log: silentLog,
    });
    service.load();
    service.start();
    return service;
  };
  return {
    now: () => clock.now(),
    /** Moves time at once. */
    jump: (ms: number) => clock.advance(ms),
    store,
    path: () => path,
    start,
    async send(text: string, level: number): Promise<void> {
      store.nowMs = clock.now();
      await store.append(parkDelayed(message(text, level), LEVELS_MS.length));
    },
    /** Moves time in steps of the service's period, so that what each starts can end. */
    async advance(ms: number): Promise<void> {
      for (let passed = 0; passed < ms; passed += 100) {
        clock.advance(100);
        store.nowMs = clock.now();
        await settled();
      }
    },
  };
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function bodies(messages: readonly OutgoingMessage[]): string[] {
  return messages.map(({ body }) => body.toString());
}

test("a delayed message is parked, and comes to its topic when its level's time is over", async (t) => {
  const { store, send, advance, start } = rig();
  const service = start();
  await send("m", 2);
  t.like(store.appended[0], { topic: SCHEDULE_TOPIC, queueId: 1 });
  await advance(4900);
  t.deepEqual(store.delivered, []);
  await advance(200);
  const [delivered] = store.delivered;
  t.like(delivered, { topic: "T", queueId: 1, flag: 3, bornTimestamp: 5, bornHost: "10.0.0.1:1000", reconsumeTimes: 2 });
  t.is(delivered?.body.toString(), "m");
  // Consumers of Apache's broker see where a message has been.
  t.deepEqual(Object.fromEntries(delivered!.properties), { DELAY: "2", TAGS: "a", REAL_TOPIC: "T", REAL_QID: "1" });
  t.deepEqual([...service.progress()], [[2, "1,1"]]);
  await service.close();
});

test("a level beyond the last is the last", async (t) => {
  const { store, send, start, advance } = rig();
  const service = start();
  await send("m", 99);
  t.is(store.appended[0]?.properties.get("DELAY"), "3");
  await advance(10_200);
  t.deepEqual(bodies(store.delivered), ["m"]);
  await service.close();
});

test("the file has Apache's shape, and a new start goes on where the last one ended", async (t) => {
  const { store, send, advance, start, path } = rig();
  const first = start();
  for (const text of ["a", "b"]) await send(text, 1);
  await advance(1200);
  await send("c", 1);
  await first.close();
  const { dataVersion, offsetTable } = parseJson(readFileSync(path())) as Record<string, unknown>;
  t.deepEqual(offsetTable, { "1": 2 });
  t.like(dataVersion, { counter: 1, stateVersion: 0 });
  t.regex(readFileSync(path(), "utf8"), /"offsetTable":\{1:2\}/, "level numbers stand without quotes");
  const second = start();
  await advance(2000);
  t.deepEqual(bodies(store.delivered), ["a", "b", "c"]);
  await second.close();
});

test("places are saved in the background, too", async (t) => {
  const { send, advance, start, path } = rig();
  const service = start();
  await send("a", 1);
  await advance(SAVE_MS + 100);
  for (let tries = 0; !existsSync(path()) && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
  t.regex(readFileSync(path(), "utf8"), /\{1:1\}/);
  await service.close();
});

test("what cannot be stored now is tried again, and nothing overtakes it", async (t) => {
  const { store, send, advance, start } = rig();
  const service = start();
  for (const text of ["a", "b"]) await send(text, 1);
  store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
  await advance(1500);
  t.deepEqual(store.delivered, []);
  t.deepEqual([...service.progress()], [[1, "0,2"]]);
  store.failure = undefined;
  await advance(100);
  t.deepEqual(bodies(store.delivered), ["a", "b"]);
  await service.close();
});

test("what cannot be read is passed over", async (t) => {
  const { store, send, advance, start } = rig();
  const service = start();
  for (const text of ["a", "b"]) await send(text, 1);
  store.unreadable.add(store.queueEntry(SCHEDULE_TOPIC, 0, 0)!.physicalOffset);
  const wild = { ...message("wild", 1), topic: SCHEDULE_TOPIC, queueId: 0 };
  for (const [topic, queueId] of [
    ["../x", "0"],
    ["T", "99999999"],
    ["T", "-1"],
  ] as const) {
    const properties = new Map([...wild.properties, ["REAL_TOPIC", topic], ["REAL_QID", queueId]] as [string, string][]);
    await store.append({ ...wild, properties });
  }
  await send("c", 1);
  await advance(1200);
  t.deepEqual(bodies(store.delivered), ["b", "c"]);
  await service.close();
});

test("a place beyond the queue, as after a crash, is set back: what comes next is delivered", async (t) => {
  const { store, send, advance, start, path } = rig();
  writeFileSync(path(), '{"dataVersion":{},"offsetTable":{1:7,9:3}}');
  const service = start();
  await send("a", 1);
  await advance(1200);
  t.deepEqual(bodies(store.delivered), ["a"]);
  await service.close();
});

test("places that are none stop the start", (t) => {
  const { start, path } = rig();
  for (const place of ['"x"', "-1", "1.5"]) {
    writeFileSync(path(), `{"offsetTable":{1:${place}}}`);
    t.throws(start, { code: "MILLRACE_STORE_CORRUPT" }, place);
  }
});

test("a clock that was set back does not hold messages for longer than their level", async (t) => {
  const { store, send, advance, start, now } = rig();
  const service = start();
  store.nowMs = now() + 3_600_000;
  await store.append(parkDelayed(message("a", 1), LEVELS_MS.length));
  await send("b", 1);
  await advance(1200);
  t.deepEqual(bodies(store.delivered), ["a", "b"]);
  await service.close();
});

test("closing waits for what is under way, so that it is not delivered again", async (t) => {
  const { store, send, start, jump, advance } = rig();
  const service = start();
  await send("a", 1);
  let go: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  const append = store.append.bind(store);
  store.append = async (outgoing) => {
    await held;
    return append(outgoing);
  };
  await advance(900);
  jump(100);
  const closing = service.close();
  await settled();
  go();
  await closing;
  const again = start();
  await advance(2000);
  t.deepEqual(bodies(store.delivered), ["a"]);
  await again.close();
});

// Goal: no message is lost, comes early or, as long as the service is closed properly, comes twice; those of a level
// keep their order. Method: sends, passing time, failures, closes and crashes in any order; at the end time for all.
const operations = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), level: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 40 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("close", "crash", "fail", "heal") }) },
  ),
  { minLength: 10, maxLength: 60 },
);

test("nothing is lost, early or out of order, whatever happens", async (t) => {
  const property = fc.asyncProperty(operations, async (steps) => {
    const { store, send, advance, start, now } = rig();
    let service = start();
    const sent: { text: string; level: number; dueMs: number }[] = [];
    const arrivals = new Map<string, number>();
    let crashes = 0;
    const look = (): void => {
      for (const text of bodies(store.delivered)) if (!arrivals.has(text)) arrivals.set(text, now());
    };
    for (const step of steps) {
      if (step.do === "send" && "level" in step && store.failure === undefined) {
        const text = `${step.level}-${sent.length}`;
        sent.push({ text, level: step.level, dueMs: now() + LEVELS_MS[step.level - 1]! });
        await send(text, step.level);
      } else if (step.do === "pass" && "ms" in step) {
        for (let i = 0; i < step.ms; i++) {
          await advance(100);
          look();
        }
      } else if (step.do === "fail") store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
      else if (step.do === "heal") store.failure = undefined;
      else if (step.do === "close") {
        await service.close();
        service = start();
      } else if (step.do === "crash") {
        crashes++;
        service = start();
      }
    }
    store.failure = undefined;
    await advance(11_000);
    look();
    await service.close();
    const texts = bodies(store.delivered);
    for (const { text, dueMs } of sent) {
      if (!arrivals.has(text)) return false;
      if (arrivals.get(text)! < dueMs) return false;
    }
    if (crashes === 0 && texts.length !== sent.length) return false;
    const firsts = [...new Set(texts)];
    return [1, 2, 3].every((level) => {
      const wanted = sent.filter((one) => one.level === level).map(({ text }) => text);
      return firsts.filter((text) => text.startsWith(`${level}-`)).join() === wanted.join();
    });
  });
  await t.notThrowsAsync(fc.assert(property, { numRuns: 25 }));
});
