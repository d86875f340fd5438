import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { KeyStats } from "../../../src/broker/admin/key-stats.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { Offsets } from "../../../src/broker/offsets/offsets.ts";
import { OffsetCells } from "../../../src/format/shared/offset-cells.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeTopics } from "../fake-lookups.ts";
import { FakeStore, FakeTables } from "../fake-store.ts";

test("what topics get and groups take, over a minute, an hour and a day; what was before the start is not counted", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-key-stats-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const clock = new VirtualClock(1_000_000);
  const store = new FakeStore();
  const topics = new FakeTopics();
  topics.add("T", 2);
  store.ensureQueues("T", 2);
  const tables = new FakeTables();
  const cells = new OffsetCells();
  const file = new ConfigFile(join(directory, "offsets.json"));
  const offsets = new Offsets({ clock, log: silentLog, cells, tables, file, saveIntervalMs: 1e9 });
  const put = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await store.append({
        topic: "T",
        queueId: i % 2,
        flag: 0,
        sysFlag: 0,
        bornTimestamp: 0,
        bornHost: "127.0.0.1:1",
        reconsumeTimes: 0,
        preparedTransactionOffset: 0,
        properties: new Map(),
        body: Buffer.from("x"),
      });
    }
  };
  await put(7);
  const stats = new KeyStats({ topics, offsets, store, clock });
  stats.load();
  clock.advance(10_000);
  t.is(stats.view("TOPIC_PUT_NUMS", "T"), undefined);
  await put(30);
  offsets.commit("g", "T", 0, 1000);
  cells.addServed(tables.cells.get("g@T@0")!, 20);
  t.is(stats.consumeTps("g", "T"), 0);
  clock.advance(10_000);
  t.deepEqual(stats.view("TOPIC_PUT_NUMS", "T")?.statsMinute, { sum: 30, tps: 3, avgpt: 1 });
  t.deepEqual(stats.view("GROUP_GET_NUMS", "T@g")?.statsMinute, { sum: 20, tps: 2, avgpt: 1 });
  t.is(stats.consumeTps("g", "T"), 2);
  t.is(stats.view("GROUP_GET_NUMS", "T@h"), undefined);
  clock.advance(50_000);
  t.deepEqual(stats.view("TOPIC_PUT_NUMS", "T")?.statsMinute, { sum: 30, tps: 0.5, avgpt: 1 });
  clock.advance(10_000);
  t.is(stats.view("TOPIC_PUT_NUMS", "T")?.statsMinute.sum, 0, "a minute later");
  t.is(stats.view("TOPIC_PUT_NUMS", "T")?.statsHour.sum, 30);
  clock.advance(2 * 3_600_000);
  t.is(stats.view("TOPIC_PUT_NUMS", "T")?.statsHour.sum, 0);
  t.is(stats.view("TOPIC_PUT_NUMS", "T")?.statsDay.sum, 30);
  clock.advance(25 * 3_600_000);
  t.is(stats.view("TOPIC_PUT_NUMS", "T")?.statsDay.sum, 0);
  stats.close();
  await offsets.close();
});
