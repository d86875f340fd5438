import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ConfigFile } from "../../../src/broker/config-file.ts";
import { Offsets } from "../../../src/broker/offsets/offsets.ts";
import { OFFSET_PENDING_RESET, OffsetCells } from "../../../src/format/shared/offset-cells.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { FakeTables } from "../fake-store.ts";

const directory = mkdtempSync(join(tmpdir(), "millrace-offsets-"));
test.after.always(() => rmSync(directory, { recursive: true }));

// One for all tests: a cell is set to "none" before it is used.
const cells = new OffsetCells();
let files = 0;

function makeOffsets(file: string = join(directory, `${files++}.json`)): {
  offsets: Offsets;
  tables: FakeTables;
  clock: VirtualClock;
  file: string;
} {
  const tables = new FakeTables();
  const clock = new VirtualClock(5000);
  const offsets = new Offsets({ clock, log: silentLog, cells, tables, file: new ConfigFile(file), saveIntervalMs: 5000 });
  return { offsets, tables, clock, file };
}

test.serial("a commit makes a cell, and what an I/O worker writes there is the offset", (t) => {
  const { offsets, tables } = makeOffsets();
  t.is(offsets.get("g", "T", 0), -1);
  offsets.commit("g", "T", 0, 5);
  t.is(offsets.get("g", "T", 0), 5);
  const cell = tables.cells.get("g@T@0")!;
  cells.setOffset(cell, 9);
  t.is(offsets.get("g", "T", 0), 9);
  offsets.commit("g", "T", 0, 3);
  t.is(cells.offset(cell), 3, "smaller values are stored too");
  t.is(offsets.get("g", "T", 1), -1);
});

test.serial("cells are told again, by group and by topic", (t) => {
  const { offsets, tables } = makeOffsets();
  offsets.commit("g", "T", 0, 5);
  offsets.commit("g", "U", 1, 5);
  offsets.commit("h", "T", 0, 5);
  tables.cells.clear();
  offsets.republish("g");
  t.deepEqual([...tables.cells.keys()], ["g@T@0", "g@U@1"]);
  tables.cells.clear();
  offsets.republishTopic("T");
  t.deepEqual([...tables.cells.keys()], ["g@T@0", "h@T@0"]);
  t.is(new Set(tables.cells.values()).size, 2);
});

test.serial("a reset holds against commits, also one that was under way, until a pull takes it", (t) => {
  const { offsets, tables } = makeOffsets();
  offsets.commit("g", "T", 0, 50);
  offsets.reset("g", "T", 0, 10);
  const cell = tables.cells.get("g@T@0")!;
  t.is(cells.flags(cell), OFFSET_PENDING_RESET);
  offsets.commit("g", "T", 0, 51);
  cells.setOffset(cell, 52); // A worker that looked at the mark just before the reset.
  t.is(offsets.get("g", "T", 0), 10);
  t.is(offsets.pendingReset("g", "T", 0), 10);
  t.is(offsets.takeReset("g", "T", 0), 10);
  t.deepEqual([offsets.takeReset("g", "T", 0), offsets.pendingReset("g", "T", 0)], [-1, -1]);
  t.deepEqual([cells.flags(cell), cells.offset(cell)], [0, 10]);
  offsets.commit("g", "T", 0, 12);
  t.is(offsets.get("g", "T", 0), 12);
});

test.serial("who has offsets of what, and what is left when topics and groups go", (t) => {
  const { offsets } = makeOffsets();
  for (const [group, topic] of [
    ["g", "T"],
    ["g", "U"],
    ["h", "T"],
  ] as const)
    offsets.commit(group, topic, 0, 1);
  offsets.reset("g", "T", 1, 7);
  t.deepEqual(
    [offsets.groupsOf("T"), offsets.topicsOf("g")],
    [
      ["g", "h"],
      ["T", "U"],
    ],
  );
  t.deepEqual(
    offsets.queuesOf("g", "T"),
    new Map([
      [0, 1],
      [1, 7],
    ]),
  );
  offsets.removeTopic("T");
  t.deepEqual([offsets.groupsOf("T"), offsets.topicsOf("g"), offsets.topicsOf("h")], [[], ["U"], []]);
  t.is(offsets.pendingReset("g", "T", 1), -1);
  offsets.removeGroup("g");
  t.deepEqual(offsets.topicsOf("g"), []);
});

test.serial("reads the file of Apache's broker, as it writes it", (t) => {
  const { offsets, file, tables } = makeOffsets();
  writeFileSync(
    file,
    '{\n\t"dataVersion":{"counter":4,"stateVersion":0,"timestamp":1700000000000},\n\t"groupTopicMap":{},\n\t"offsetTable":{\n' +
      '\t\t"%RETRY%g@g":{0:2},\n\t\t"T@g":{0:5,1:6\n\t\t},"T@h":{3:9}},\n\t"pullOffsetTable":{}\n}',
  );
  offsets.load();
  t.deepEqual(
    offsets.queuesOf("g", "T"),
    new Map([
      [0, 5],
      [1, 6],
    ]),
  );
  t.deepEqual([offsets.get("g", "%RETRY%g", 0), offsets.get("h", "T", 3)], [2, 9]);
  t.is(tables.cells.size, 4);
  t.is(
    offsets.encode(),
    '{"dataVersion":{"counter":4,"stateVersion":0,"timestamp":1700000000000},' +
      '"groupTopicMap":{"g":["%RETRY%g","T"],"h":["T"]},' +
      '"offsetTable":{"%RETRY%g@g":{0:2},"T@g":{0:5,1:6},"T@h":{3:9}},"pullOffsetTable":{}}',
  );
});

test.serial("entries that are none are left out, a file that is none is refused", (t) => {
  const { offsets, file } = makeOffsets();
  writeFileSync(file, '{"offsetTable":{"no-at":{0:1},"@g":{0:1},"T@":{0:1},"T@g":{"x":1,"-1":1,"0":"a","1":-1,"2":8}}}');
  offsets.load();
  t.deepEqual([offsets.topicsOf("g"), offsets.queuesOf("g", "T")], [["T"], new Map([[2, 8]])]);
  writeFileSync(file, "{");
  t.throws(() => makeOffsets(file).offsets.load(), { code: "MILLRACE_STORE_CORRUPT" });
});

test.serial("saves at the interval what workers wrote, and only when something changed", async (t) => {
  const { offsets, tables, clock, file } = makeOffsets();
  const counter = (): number => JSON.parse(readFileSync(file, "utf8").replaceAll(/\b(\d+):/g, '"$1":')).dataVersion.counter;
  offsets.commit("g", "T", 0, 5);
  clock.advance(5000);
  await offsets.save();
  t.is(counter(), 1);
  clock.advance(5000);
  await offsets.save();
  t.is(counter(), 1, "nothing changed");
  cells.setOffset(tables.cells.get("g@T@0")!, 6);
  clock.advance(5000);
  await offsets.save();
  t.is(counter(), 2);
  offsets.removeTopic("T");
  await offsets.close();
  t.is(counter(), 3);
  t.false(readFileSync(file, "utf8").includes("T@g"));
});

// Goal: what was committed when the broker closed is there when it starts again.
// Method: random commits, resets, takes and removals on Offsets and on a plain map; then close, load into another one, compare.
test.serial("a restart keeps every offset", async (t) => {
  const place = fc.record({ group: fc.constantFrom("g", "h"), topic: fc.constantFrom("T", "%RETRY%g"), queueId: fc.nat(2) });
  const operation = fc.record({
    place,
    kind: fc.constantFrom("commit", "commit", "commit", "reset", "take", "removeTopic", "removeGroup"),
    offset: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
      const { offsets, file } = makeOffsets();
      const model = new Map<string, number>();
      const pending = new Set<string>();
      for (const {
        place: { group, topic, queueId },
        kind,
        offset,
      } of operations) {
        const key = `${group} ${topic} ${queueId}`;
        const drop = (isGone: (group: string, topic: string) => boolean): void => {
          for (const other of [...model.keys()]) {
            const [otherGroup, otherTopic] = other.split(" ") as [string, string];
            if (!isGone(otherGroup, otherTopic)) continue;
            model.delete(other);
            pending.delete(other);
          }
        };
        if (kind === "commit") {
          offsets.commit(group, topic, queueId, offset);
          if (!pending.has(key)) model.set(key, offset);
        } else if (kind === "reset") {
          offsets.reset(group, topic, queueId, offset);
          model.set(key, offset);
          pending.add(key);
        } else if (kind === "take") {
          t.is(offsets.takeReset(group, topic, queueId), pending.has(key) ? model.get(key)! : -1);
          pending.delete(key);
        } else if (kind === "removeTopic") {
          offsets.removeTopic(topic);
          drop((_, otherTopic) => otherTopic === topic);
        } else {
          offsets.removeGroup(group);
          drop((otherGroup) => otherGroup === group);
        }
      }
      await offsets.close();
      const again = makeOffsets(file).offsets;
      again.load();
      for (const group of ["g", "h"]) {
        for (const topic of ["T", "%RETRY%g"]) {
          for (const queueId of [0, 1, 2])
            t.is(again.get(group, topic, queueId), model.get(`${group} ${topic} ${queueId}`) ?? -1);
        }
      }
    }),
    { numRuns: 30 },
  );
});
