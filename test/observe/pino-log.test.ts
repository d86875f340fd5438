// Goal: lines are whole, structured or readable, carry the handed-in clock's time, and repeats are bounded.
import test from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { createLog, type PinoLogOptions } from "../../src/observe/pino-log.ts";

const START = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

function logTo(options: PinoLogOptions = {}) {
  const lines: string[] = [];
  const clock = new VirtualClock(START);
  return { lines, clock, log: createLog({ clock, write: (line) => lines.push(line), ...options }) };
}

test("writes one JSON object a line with level, time, text and fields", (t) => {
  const { log, lines } = logTo();
  log.info({ topic: "T", queueId: 3 }, "topic created");
  t.is(lines.length, 1);
  t.true(lines[0]!.endsWith("}\n"));
  t.deepEqual(JSON.parse(lines[0]!), {
    level: "info",
    time: "2026-01-02T03:04:05.006Z",
    topic: "T",
    queueId: 3,
    text: "topic created",
  });
});

test("leaves out what is below the level", (t) => {
  const { log, lines } = logTo({ level: "warn" });
  log.debug({}, "a");
  log.info({}, "b");
  log.warn({}, "c");
  log.error({}, "d");
  t.deepEqual(
    lines.map((line) => JSON.parse(line).text),
    ["c", "d"],
  );
});

test("text format is one line, quotes what has blanks, and puts an error's stack below", (t) => {
  const { log, lines } = logTo({ format: "text" });
  log.warn({ path: "/a b", size: 7, name: "x" }, "odd file");
  t.is(lines[0], '2026-01-02T03:04:05.006Z WARN  odd file path="/a b" size=7 name=x\n');
  log.error({ error: new Error("no luck") }, "failed");
  t.regex(lines[1]!, /^2026-01-02T03:04:05.006Z ERROR failed\n {2}Error: no luck\n {6}at /);
  log.error({ error: "two\nlines" }, "failed");
  t.is(lines[2], "2026-01-02T03:04:05.006Z ERROR failed\n  two\n  lines\n");
});

test("holds repeats of one text back and tells how many, without touching other texts", (t) => {
  const { log, lines, clock } = logTo();
  for (let i = 0; i < 100; i++) log.warn({ i }, "peer is gone");
  log.warn({}, "something else");
  t.is(lines.filter((line) => line.includes("peer is gone")).length, 10);
  t.is(lines.filter((line) => line.includes("something else")).length, 1);
  clock.advance(10_000);
  log.warn({ i: 100 }, "peer is gone");
  const last = JSON.parse(lines.at(-1)!);
  t.is(last.i, 100);
  t.is(last.repeatsHeldBack, 90);
  log.warn({ i: 101 }, "peer is gone");
  t.is(JSON.parse(lines.at(-1)!).repeatsHeldBack, undefined);
});

test("close tells what was still held back", (t) => {
  const { log, lines } = logTo();
  for (let i = 0; i < 15; i++) log.error({}, "disk is slow");
  t.is(lines.length, 10);
  log.close();
  t.is(lines.length, 11);
  t.like(JSON.parse(lines[10]!), { text: "disk is slow", repeatsHeldBack: 5 });
  log.close();
  t.is(lines.length, 11);
});

test("survives fields that JSON cannot hold", (t) => {
  const { log, lines } = logTo();
  const circular: Record<string, unknown> = { big: 2n ** 60n };
  circular["self"] = circular;
  t.notThrows(() => log.info({ circular }, "odd"));
  t.is(JSON.parse(lines[0]!).text, "odd");
});
