// Goal: nothing that may be on the disk alone is said to be in memory, whoever waits goes on when all of it was read, and a
// reader that goes on in order soon finds everything there.
// Method: a made-up file that knows what is in memory, and reads when it is told to.
import test from "ava";
import type { StoreFile } from "../../../src/os/api.ts";
import { ColdReads, GRANULE_SIZE } from "../../../src/remoting/pull/cold-reads.ts";

const GRANULES = 1024;

class ColdFile {
  readonly size = GRANULES * GRANULE_SIZE;
  readonly resident = new Set<number>();
  readonly loads: { first: number; end: number; done: () => void }[] = [];

  isResident(position: number, size: number): boolean {
    for (let at = position; at < position + size; at += GRANULE_SIZE)
      if (!this.resident.has(Math.floor(at / GRANULE_SIZE))) return false;
    return true;
  }

  load(position: number, size: number, done: () => void): void {
    this.loads.push({ first: position / GRANULE_SIZE, end: (position + size) / GRANULE_SIZE, done });
  }

  /** The disk has answered the oldest read. */
  finish(): void {
    const { first, end, done } = this.loads.shift()!;
    for (let granule = first; granule < end; granule++) this.resident.add(granule);
    done();
  }
}

function lab(): { file: ColdFile; cold: ColdReads; has: (position: number, size: number) => boolean; clock: { ms: number } } {
  const file = new ColdFile();
  const clock = { ms: 1_000_000 };
  const cold = new ColdReads(() => clock.ms);
  const has = (position: number, size: number): boolean => cold.has(file as unknown as StoreFile, position, size);
  cold.begin();
  return { file, cold, clock, has };
}

test("what is in memory is there at once, and believed to be for a second", (t) => {
  const { file, cold, has, clock } = lab();
  file.resident.add(3).add(4);
  t.true(has(3 * GRANULE_SIZE + 5, GRANULE_SIZE));
  file.resident.clear();
  t.true(has(4 * GRANULE_SIZE, 10));
  clock.ms += 1000;
  cold.begin();
  t.false(has(4 * GRANULE_SIZE, 10));
  t.is(file.loads[0]!.first, 4);
});

test("a record over several granules waits for all of them, two that want the same for one read", (t) => {
  const { file, cold, has } = lab();
  let resumed = 0;
  t.false(has(10 * GRANULE_SIZE - 1, 2));
  cold.whenLoaded(() => resumed++);
  t.false(has(9 * GRANULE_SIZE, 1));
  t.false(has(20 * GRANULE_SIZE, 1));
  cold.whenLoaded(() => resumed++);
  t.is(file.loads.length, 2);
  file.finish();
  t.is(resumed, 1);
  file.finish();
  t.is(resumed, 2);
  t.true(has(10 * GRANULE_SIZE - 1, 2) && has(20 * GRANULE_SIZE, 1));
});

test("what was missed and is not waited for holds nobody up", (t) => {
  const { file, cold, has } = lab();
  let resumed = false;
  t.false(has(100 * GRANULE_SIZE, 1));
  cold.begin();
  t.false(has(200 * GRANULE_SIZE, 1));
  cold.whenLoaded(() => (resumed = true));
  file.loads.reverse();
  file.finish();
  t.true(resumed);
});

test("who reads on in order finds it read ahead, to the end of the file", (t) => {
  const { file, cold, has } = lab();
  let waits = 0;
  for (let at = 0; at < file.size; at += 50_000) {
    while (!has(at, Math.min(50_000, file.size - at))) {
      waits++;
      let isThere = false;
      cold.whenLoaded(() => (isThere = true));
      while (!isThere) file.finish();
    }
    cold.begin();
    if (file.loads.length > 0) file.finish(); // Meanwhile the disk has answered.
  }
  t.true(waits <= 4, String(waits));
  t.is(file.resident.size, GRANULES);
});

test("of what is read ahead in order the first part is there before the others", (t) => {
  const { file, cold, has } = lab();
  file.resident.add(0);
  t.true(has(0, 1));
  t.false(has(GRANULE_SIZE, 1));
  let resumed = false;
  cold.whenLoaded(() => (resumed = true));
  t.true(file.loads.length > 1);
  file.finish();
  t.true(resumed);
  t.false(has(60 * GRANULE_SIZE, 1));
});
