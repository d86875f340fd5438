// Goal: whatever happens to process or machine, each message leaves the timer at least once, none before its time, recalled ones
// not at all; and what waits costs no memory. Method: the timer over real files, with a log in a map; random sends, passing
// time, flushes and ends of both kinds; what a dead machine loses is what was not flushed.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { ENTRY_SIZE } from "../../../src/format/files/consume-queue.ts";
import { decodeMessage, encodeMessage, writeInt64 } from "../../../src/format/record/message.ts";
import { loadDrive } from "../../../src/os/choose.ts";
import type { LogReader } from "../../../src/store/log/log-reader.ts";
import type { LastExit } from "../../../src/store/recovery/abort-file.ts";
import { StorePaths } from "../../../src/store/store-paths.ts";
import { TimerFiles } from "../../../src/store/timer/timer-files.ts";
import { TimerLatency } from "../../../src/store/timer/timer-latency.ts";
import { TimerStore } from "../../../src/store/timer/timer-store.ts";

const STEP_MS = 1000;
const ROOT = mkdtempSync(join(tmpdir(), "timer-store-"));
test.after.always(() => rmSync(ROOT, { recursive: true, force: true }));
const drive = await loadDrive("native-free");

function record(key: string, properties: Record<string, string>): Buffer {
  const text = Object.entries({ UNIQ_KEY: key, REAL_TOPIC: "T", REAL_QID: "0", ...properties })
    .map(([name, value]) => `${name}\u0001${value}\u0002`)
    .join("");
  return encodeMessage({
    topic: "rmq_sys_wheel_timer",
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: "10.0.0.1:1",
    storeHost: "10.0.0.2:2",
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    properties: text,
    body: Buffer.from(key),
    bodyCrc: 0,
  });
}

/** The timer, over a log whose offsets are places in a list. */
class Rig {
  readonly directory: string = mkdtempSync(join(ROOT, "rig-"));
  /** Of the timer topic: the log's entries. */
  queue: Buffer[] = [];
  delivered: { key: string; atMs: number; properties: ReadonlyMap<string, string> }[] = [];
  /** How much of both is on the disk. */
  flushed: { queue: number; delivered: number } = { queue: 0, delivered: 0 };
  nowMs = 1_000_000_000;
  readonly rollWindowSlots: number;
  files!: TimerFiles;
  store!: TimerStore;
  readonly latency: TimerLatency = new TimerLatency();
  #sent = 0;

  constructor(rollWindowSlots: number) {
    this.rollWindowSlots = rollWindowSlots;
    mkdirSync(join(this.directory, "config"));
    this.open("clean");
  }

  open(exit: LastExit): void {
    const paths = new StorePaths(this.directory);
    this.files = new TimerFiles({ drive, paths, logFileSize: 4096, stepMs: STEP_MS, exit, nowMs: this.nowMs });
    this.files.queueOffset = Math.min(this.files.queueOffset, this.queue.length);
    const reader = {
      bytes: Buffer.alloc(0) as Buffer,
      at: 0,
      end: 0,
      invalidate: () => {},
      window: (offset: number): boolean => {
        reader.bytes = this.queue[offset]!;
        reader.end = reader.bytes.length;
        return true;
      },
    };
    this.store = new TimerStore({
      files: this.files,
      queue: {
        min: () => 0,
        max: () => this.queue.length,
        read: (from, count, target) => {
          for (let i = 0; i < count; i++) {
            writeInt64(target, from + i, i * ENTRY_SIZE);
            target.writeInt32BE(this.queue[from + i]!.length, i * ENTRY_SIZE + 8);
          }
          return count;
        },
      },
      reader: reader as unknown as LogReader,
      sink: {
        append: (bytes, size, topic) => {
          const copy = Buffer.from(bytes.subarray(0, size));
          if (topic === undefined) this.queue.push(copy);
          else {
            const { body, properties } = decodeMessage(copy);
            this.delivered.push({ key: body.toString(), atMs: this.nowMs, properties });
          }
          this.#sent++;
          return true;
        },
        settle: () => {
          const sent = this.#sent;
          this.#sent = 0;
          return sent;
        },
      },
      latency: this.latency,
      stepMs: STEP_MS,
      rollWindowSlots: this.rollWindowSlots,
      now: () => this.nowMs,
      appendedOffset: () => this.queue.length + this.delivered.length,
      dispatchedOffset: () => this.queue.length + this.delivered.length,
      onCount: () => {},
      onFault: (text, figures) => {
        throw new Error(`${text} ${JSON.stringify(figures)}`);
      },
    });
  }

  send(key: string, dueMs: number, more: Record<string, string> = {}): void {
    const outMs = (Math.ceil(dueMs / STEP_MS) - 1) * STEP_MS;
    this.queue.push(record(key, { TIMER_OUT_MS: String(outMs), TIMER_DELIVER_MS: String(dueMs), ...more }));
  }

  work(): void {
    while (this.store.work());
    this.store.work();
    this.store.work();
  }

  pass(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs = Math.min(end, this.nowMs + 450);
      this.work();
    }
  }

  flush(): void {
    const appended = this.queue.length + this.delivered.length;
    this.files.flush(this.nowMs, appended, this.flushed.queue + this.flushed.delivered);
    this.flushed = { queue: this.queue.length, delivered: this.delivered.length };
    this.files.flush(this.nowMs, appended, appended);
  }
}

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("send" as const), ms: fc.integer({ min: 1, max: 60_000 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("recall" as const), ms: fc.nat(5) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 9000 }) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom("flush", "kill", "power cut", "close"),
        ms: fc.constantFrom(0, 0, 300, 5000, 40_000), // For so long nobody is there.
      }),
    },
  ),
  { minLength: 10, maxLength: 80 },
);

test("nothing is lost, early, or delivered though recalled, whatever ends", (t) => {
  const property = fc.property(steps, fc.constantFrom(7, 1000), (list, window) => {
    const rig = new Rig(window);
    const due = new Map<string, number>();
    const recalled = new Set<string>();
    let ends = 0;
    for (const { do: what, ms } of list) {
      if (what === "send") {
        const key = `k${due.size}`;
        due.set(key, rig.nowMs + ms);
        rig.send(key, rig.nowMs + ms);
        rig.flushed = { ...rig.flushed, queue: rig.queue.length }; // It was acknowledged: it is on the disk.
      } else if (what === "recall") {
        const key = `k${due.size - 1 - ms}`;
        const dueMs = due.get(key);
        if (dueMs === undefined) continue;
        const slotMs = (Math.ceil(dueMs / STEP_MS) - 1) * STEP_MS;
        if (slotMs < rig.nowMs) continue; // As the broker refuses it.
        recalled.add(key);
        rig.send(`mark of ${key}`, slotMs + 1, { TIMER_DEL_UNIQKEY: key });
        rig.flushed = { ...rig.flushed, queue: rig.queue.length };
      } else if (what === "pass") rig.pass(ms);
      else if (what === "flush") rig.flush();
      else {
        ends++;
        if (what === "close") rig.files.close();
        if (what === "power cut") {
          rig.queue.length = Math.min(rig.queue.length, Math.max(rig.flushed.queue, 0));
          rig.delivered.length = Math.min(rig.delivered.length, rig.flushed.delivered);
        }
        rig.nowMs += ms;
        rig.open(what === "close" ? "clean" : what === "kill" ? "process-died" : "machine-died");
      }
    }
    rig.pass(70_000);
    const seen = new Map<string, number>();
    for (const { key, atMs } of rig.delivered) if (!seen.has(key)) seen.set(key, atMs);
    for (const [key, dueMs] of due) {
      if (recalled.has(key)) {
        if (seen.has(key)) return false;
      } else if (seen.get(key) === undefined || seen.get(key)! < dueMs) return false;
    }
    if (ends === 0 && rig.delivered.length !== due.size - recalled.size) return false;
    return rig.files.waiting === 0 && rig.latency.early === 0;
  });
  t.timeout(120_000);
  t.notThrows(() => fc.assert(property, { numRuns: 25 }));
});

test("messages of one slot come in the order in which they were sent, and a slot may be large", (t) => {
  const rig = new Rig(1000);
  const keys = Array.from({ length: 5000 }, (_, i) => `k${i}`);
  for (const key of keys) rig.send(key, rig.nowMs + 5000);
  rig.work();
  t.is(rig.files.waiting, 5000);
  rig.pass(4000);
  t.is(rig.delivered.length, 0);
  rig.pass(1000);
  t.deepEqual(rig.delivered.map(({ key }) => key), keys); // biome-ignore format: one claim.
  t.is(rig.latency.quantile(0.99), 0);
});
