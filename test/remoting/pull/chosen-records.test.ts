// Goal: an answer whose records are on the disk alone waits until they are in memory, without holding up anybody; one whose
// records are in memory, or gone, leaves at once; one to a client that is gone is dropped.
// Method: made-up records, a file that knows what is in memory, and reads that end when they are told to.
import test from "ava";
import type { StoreFile } from "../../../src/os/api.ts";
import type { IoConnection } from "../../../src/remoting/io-connection.ts";
import { ChosenRecords } from "../../../src/remoting/pull/chosen-records.ts";
import { ColdReads, GRANULE_SIZE } from "../../../src/remoting/pull/cold-reads.ts";

const SIZE = 1000;

function lab() {
  const resident = new Set<number>();
  const loads: (() => void)[] = [];
  const file = {
    size: 1024 * GRANULE_SIZE,
    isResident: (position: number) => resident.has(position / GRANULE_SIZE),
    load: (position: number, size: number, done: () => void) =>
      loads.push(() => {
        for (let at = position; at < position + size; at += GRANULE_SIZE) resident.add(at / GRANULE_SIZE);
        done();
      }),
  } as unknown as StoreFile;
  const reader = {
    files: [file, file],
    positions: new Float64Array(2),
    sizes: new Float64Array(2),
    partCount: 0,
    isGone: false,
    take(records: Float64Array): boolean {
      reader.partCount = records.length / 2;
      for (let i = 0; i < reader.partCount; i++) {
        reader.positions[i] = records[2 * i]!;
        reader.sizes[i] = records[2 * i + 1]!;
      }
      return !reader.isGone;
    },
  };
  const connection = { isClosed: false };
  const answered: number[] = [];
  const turns = { count: 0 };
  const clock = { ms: 1_000_000 };
  const chosen = new ChosenRecords({
    reader,
    cold: new ColdReads(() => clock.ms),
    isHot: (physicalOffset) => physicalOffset >= 900 * GRANULE_SIZE,
    connection: (id) => (id === 1 ? (connection as IoConnection) : undefined),
    answer: (_connection, { records }) => answered.push(records[0]!),
    onServed: () => turns.count++,
  });
  const serve = (...offsets: number[]): void =>
    chosen.serve({
      kind: "records",
      connection: 1,
      frame: new Uint8Array(8),
      records: new Float64Array(offsets.flatMap((at) => [at, SIZE])),
    });
  return { resident, loads, reader, connection, answered, turns, clock, chosen, serve };
}

test("records on the disk are read first; others do not wait for them", (t) => {
  const { resident, loads, answered, turns, serve } = lab();
  serve(10 * GRANULE_SIZE, 50 * GRANULE_SIZE);
  t.deepEqual(answered, []);
  resident.add(200);
  serve(200 * GRANULE_SIZE);
  serve(950 * GRANULE_SIZE);
  t.deepEqual(answered, [200 * GRANULE_SIZE, 950 * GRANULE_SIZE]);
  t.is(loads.length, 2);
  loads.shift()!();
  t.is(answered.length, 2);
  loads.shift()!();
  t.deepEqual(answered.slice(2), [10 * GRANULE_SIZE]);
  t.is(turns.count, 1);
});

test("what is gone is answered at once: the answer tells", (t) => {
  const { reader, loads, answered, serve } = lab();
  reader.isGone = true;
  serve(10 * GRANULE_SIZE);
  t.is(answered.length, 1);
  t.is(loads.length, 0);
});

test("a client that has left meanwhile is not answered", (t) => {
  const { loads, connection, answered, serve } = lab();
  serve(10 * GRANULE_SIZE);
  connection.isClosed = true;
  for (const finish of loads) finish();
  t.deepEqual(answered, []);
});

test("where what was read is gone again each time, the answer leaves after all", (t) => {
  const { resident, loads, answered, clock, serve } = lab();
  serve(10 * GRANULE_SIZE, 50 * GRANULE_SIZE);
  let reads = 0;
  while (loads.length > 0 && reads < 100) {
    t.is(answered.length, 0);
    resident.clear();
    clock.ms += 2000;
    reads++;
    loads.shift()!();
  }
  t.is(answered.length, 1);
  t.is(reads, 4);
});
