// Goal: units are laid out as Apache's broker lays them out, are found again by their entries over the ends of files, and one
// that an entry may still point at never gets another's place.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { nativeFreeDrive } from "../../../native-free/drive.ts";
import { BloomFilter } from "../../../src/filter/bloom-filter.ts";
import { ENTRY_SIZE, entryTagsCode, isExtAddress, writeEntry } from "../../../src/format/files/consume-queue.ts";
import { entryExtPosition, UNIT_SIZE_MIN, writeExtAddress, writeUnit } from "../../../src/format/files/queue-ext.ts";
import { ConsumeQueue } from "../../../src/store/queue/consume-queue.ts";
import { QueueExtReader, QueueExtWriter } from "../../../src/store/queue/queue-ext.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-ext-"));
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));

/** Of Apache's broker 5.5.0: messages with the tags t5 and t70, to topic X; a group `low` wanted the first, `big` the second. */
const APACHE = [
  { hex: "00220000000000000e41000001a1fde6b7ed000e0008000000000000080000000020", tagsCode: 3649, storeTime: 0x1a1_fde6_b7ed, group: "low" },
  { hex: "0022000000000001ba4d000001a1fde6ba4d000e0000000080000050000000000000", tagsCode: 113_229, storeTime: 0x1a1_fde6_ba4d, group: "big" },
]; // biome-ignore format: one row a unit.

test("units have the bytes of Apache's", (t) => {
  const bloom = new BloomFilter(20, 32);
  for (const { hex, tagsCode, storeTime, group } of APACHE) {
    const bitMap = new Uint8Array(bloom.bitCount / 8);
    for (const bit of bloom.dataOf(`${group}#X`).bitPos) bitMap[bit >> 3]! |= 1 << (bit & 7);
    const bytes = Buffer.alloc(UNIT_SIZE_MIN + bitMap.length);
    t.is(writeUnit(bytes, 0, tagsCode, storeTime, bitMap), bytes.length);
    t.is(bytes.toString("hex"), hex);
  }
});

test("an address in an entry is exact", (t) => {
  const entry = Buffer.alloc(ENTRY_SIZE);
  for (const position of [0, 1, 2047, 4_294_967_295, 4_294_967_296, 2 ** 52 + 1]) {
    writeEntry(entry, 0, 7, 100, 0);
    writeExtAddress(entry, 0, position);
    t.true(isExtAddress(entryTagsCode(entry, 0)));
    t.is(entryExtPosition(entry, 0), position);
  }
  for (const tagsCode of [0, 1, -1, 2_147_483_647, -2_147_483_648]) t.false(isExtAddress(tagsCode));
});

test("units are found over the ends of files; what was undone leaves nothing; each writer begins a file", (t) => {
  const [files, queueFiles] = [path.join(root, "ext"), path.join(root, "queue")];
  const fileSize = 256;
  const queue = new ConsumeQueue(nativeFreeDrive, queueFiles, 20_000, true);
  const entry = Buffer.alloc(ENTRY_SIZE);
  const enter = (offset: number, position: number): void => {
    writeEntry(entry, 0, offset * 100, 100, 0);
    writeExtAddress(entry, 0, position);
    queue.write(offset, entry, 0, ENTRY_SIZE);
  };
  const bitMap = (i: number): Uint8Array | undefined => (i % 3 === 0 ? undefined : new Uint8Array([i, 1 << (i % 8)]));
  let count = 0;
  for (let round = 0; round < 3; round++) {
    const writer = new QueueExtWriter(nativeFreeDrive, files, fileSize, queue, 0, count);
    const first = writer.add(-1, 5, undefined);
    t.is(first % fileSize, 0);
    writer.undo();
    for (let i = 0; i < 50; i++, count++) {
      const position = writer.add(count, 1000 + count, bitMap(count));
      t.true(position >= first);
      enter(count, position);
      if (i % 7 === 6) writer.flush();
    }
    writer.flush();
    writer.close();
    // The files are lost, the entries are not: their places stay theirs.
    if (round === 1) fs.rmSync(files, { recursive: true });
  }
  const reader = new QueueExtReader(nativeFreeDrive, files, fileSize);
  const positions = new Set<number>();
  for (let i = 0; i < count; i++) {
    queue.read(i, 1, entry);
    positions.add(entryExtPosition(entry, 0));
    t.is(reader.load(entry, 0), i >= 100, `unit ${i}`);
    if (i < 100) continue;
    t.is(reader.tagsCode, i);
    const bloom = { bitPos: [8 + (i % 8)], bitNum: 16, bornTime: 1000 + i - 1 };
    t.true(reader.mayPass(bloom));
    t.is(reader.mayPass({ ...bloom, bitPos: [8 + ((i + 1) % 8)] }), i % 3 === 0, "without a map nothing is known");
    t.true(reader.mayPass({ ...bloom, bitPos: [8 + ((i + 1) % 8)], bornTime: 1000 + i }), "stored when the group was not there");
    t.true(reader.mayPass({ ...bloom, bitPos: [8 + ((i + 1) % 8)], bitNum: 24 }), "of a map of another size");
  }
  t.is(positions.size, count);
  reader.close();
  queue.close();
});
