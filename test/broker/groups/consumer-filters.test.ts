// Goal: which expression a group filters by, through changes, mistakes, its end and a restart.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { ConsumerFilters } from "../../../src/broker/groups/consumer-filters.ts";
import type { HeartbeatSubscription } from "../../../src/format/remoting/heartbeat.ts";
import { silentLog } from "../../../src/observe/log.ts";

const directory = mkdtempSync(join(tmpdir(), "millrace-filters-"));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

const DAY_MS = 86_400_000;
const SETTINGS = { maxErrorRateOfBloomFilter: 20, expectConsumerNumUseFilter: 32, filterDataCleanTimeSpan: DAY_MS };
let files = 0;

function rig(path = join(directory, `${files++}.json`)) {
  const clock = new VirtualClock(1_700_000_000_000);
  const filters = new ConsumerFilters({ file: new ConfigFile(path), settings: SETTINGS, clock, log: silentLog });
  return { clock, filters, path };
}

function of(topic: string, subString: string, subVersion: number, expressionType = "SQL92"): HeartbeatSubscription {
  return { topic, subString, subVersion, expressionType, tagsSet: [], codeSet: [], classFilterMode: false };
}

test("a newer version changes the expression, an older one does not", (t) => {
  const { filters } = rig();
  t.true(filters.register("g", [of("T", "a > 1", 5), of("U", "A", 5, "TAG")]));
  t.false(filters.register("g", [of("T", "a > 1", 5)]));
  t.false(filters.register("g", [of("T", "a > 2", 5)]));
  t.false(filters.register("g", [of("T", "a > 2", 4)]));
  t.like(filters.get("T", "g"), { expression: "a > 1", clientVersion: 5 });
  t.true(filters.register("g", [of("T", "a > 2", 6)]));
  t.like(filters.get("T", "g"), { expression: "a > 2", clientVersion: 6 });
  t.is(filters.get("U", "g"), undefined);
});

test("a wrong expression takes the place of the right one, and is not there", (t) => {
  const { filters } = rig();
  t.false(filters.register("g", [of("T", "a >", 1)]));
  t.is(filters.get("T", "g"), undefined);
  filters.register("g", [of("T", "a > 1", 2)]);
  t.true(filters.register("g", [of("T", "a >", 3)]));
  t.is(filters.get("T", "g"), undefined);
  t.false(filters.register("g", [of("T", "a > 1", 3, "OTHER")]));
});

test("a topic that is left, and a group that goes, is dead until it comes back", (t) => {
  const { filters, clock } = rig();
  filters.register("g", [of("T", "a > 1", 1), of("U", "a > 1", 1)]);
  clock.advance(1000);
  t.true(filters.register("g", [of("T", "a > 1", 1)]));
  t.not(filters.get("U", "g")?.deadTime, 0);
  filters.unregister("g");
  t.not(filters.get("T", "g")?.deadTime, 0);
  t.true(filters.register("g", [of("T", "a > 1", 1)]));
  t.is(filters.get("T", "g")?.deadTime, 0);
});

test("is written as by Apache's broker, read again, and forgotten when dead for a day", async (t) => {
  const { filters, path } = rig();
  filters.register("fi-g", [of("fi-T", "b IS NULL", 9)]);
  await filters.close();
  const filter = {
    bloomFilterData: { bitNum: 112, bitPos: [54, 51, 98] },
    bornTime: 1_700_000_000_000,
    clientVersion: 9,
    consumerGroup: "fi-g",
    dead: false,
    deadTime: 0,
    expression: "b IS NULL",
    expressionType: "SQL92",
    topic: "fi-T",
  };
  const written = { filterDataByTopic: { "fi-T": { groupFilterData: { "fi-g": filter }, topic: "fi-T" } } };
  t.deepEqual(JSON.parse(readFileSync(path, "utf8")), written);

  const next = rig(path);
  next.filters.load();
  t.like(next.filters.get("fi-T", "fi-g"), { expression: "b IS NULL", deadTime: 1_700_000_000_000 });
  next.clock.advance(DAY_MS);
  await next.filters.close();
  t.is(next.filters.get("fi-T", "fi-g"), undefined);
  t.deepEqual(JSON.parse(readFileSync(path, "utf8")), { filterDataByTopic: {} });
});

test("what cannot be used is left out at the start", (t) => {
  const { filters, path } = rig();
  const good = {
    bloomFilterData: { bitNum: 112, bitPos: [1, 2, 3] },
    consumerGroup: "g",
    expression: "a > 1",
    expressionType: "SQL92",
  };
  const groupFilterData = {
    g: { ...good, topic: "T" },
    wrong: { ...good, consumerGroup: "wrong", topic: "T", expression: "a >" },
    shape: { ...good, consumerGroup: "shape", topic: "T", bloomFilterData: { bitNum: 216, bitPos: [1, 2, 3] } },
    none: { ...good, consumerGroup: "none" },
  };
  writeFileSync(path, JSON.stringify({ filterDataByTopic: { T: { groupFilterData } } }));
  filters.load();
  t.deepEqual(
    ["g", "wrong", "shape", "none"].filter((group) => filters.get("T", group) !== undefined),
    ["g"],
  );
});
