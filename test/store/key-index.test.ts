import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { nativeFreeDrive } from "../../native-free/drive.ts";
import { VirtualClock } from "../../src/base/clock.ts";
import {
  END_PHYSICAL_OFFSET_OFFSET,
  type IndexShape,
  indexFileSize,
  keyHashOf,
  USED_SLOTS_OFFSET,
} from "../../src/format/files/index-file.ts";
import { decodeMessages, encodeMessage, readInt64, writeInt64 } from "../../src/format/record/message.ts";
import type { Drive, StoreFile } from "../../src/os/api.ts";
import { ffiDrive } from "../../src/os/ffi.ts";
import { KeyIndex, type KeyIndexOptions, listIndexFiles } from "../../src/store/index/key-index.ts";
import { KeyIndexBuilder } from "../../src/store/index/key-index-builder.ts";
import { KeyIndexReader } from "../../src/store/index/key-index-reader.ts";

/**
 * A log and the index files that Apache 5.5.0 made of it with maxHashSlotNum=13, maxIndexNum=23: messages with
 * no, one and many keys, blanks between them, tags, non-ASCII, doubled names, a commit, a rollback, a delay, a batch.
 */
const GOLDEN = path.join(import.meta.dirname, "golden", "index-apache-5.5");
const GOLDEN_SHAPE: IndexShape = { slotCount: 13, entryCount: 23 };
const goldenLog = fs.readFileSync(path.join(GOLDEN, "commitlog"));
const goldenFiles = fs
  .readdirSync(GOLDEN)
  .filter((name) => name !== "commitlog")
  .sort();
const goldenBytes = goldenFiles.map((name) => fs.readFileSync(path.join(GOLDEN, name)));
const goldenMessages = decodeMessages(goldenLog);

const DRIVES: Drive[] = process.platform === "linux" ? [ffiDrive, nativeFreeDrive] : [nativeFreeDrive];
const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-key-index-"));
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));
let directories = 0;
const newDirectory = (): string => path.join(root, String(++directories));

function openIndex(drive: Drive, directory: string, more: Partial<KeyIndexOptions> = {}): KeyIndex {
  const index = new KeyIndex({
    drive,
    directory,
    shape: GOLDEN_SHAPE,
    clock: new VirtualClock(1_795_103_125_571),
    logEnd: Number.MAX_SAFE_INTEGER,
    ...more,
  });
  index.check();
  return index;
}

/** Adds the records of `log` that begin in [from, to). */
function addRecords(index: KeyIndex, log: Buffer, from = 0, to: number = log.length): void {
  const builder = new KeyIndexBuilder(index);
  for (let at = 0; at < to; at += log.readUInt32BE(at)) if (at >= from) builder.addRecord(log, at);
}

function contents(directory: string): Buffer[] {
  return listIndexFiles(directory).map((file) => fs.readFileSync(file));
}

for (const drive of DRIVES) {
  test(`${drive.name}: lets go of memory in between, and loses nothing by it`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory);
    const middle = goldenLog.length / 2;
    addRecords(index, goldenLog, 0, middle);
    index.rest();
    addRecords(index, goldenLog, middle);
    index.rest();
    index.close();
    t.deepEqual(contents(directory), goldenBytes);
  });

  test(`${drive.name}: makes the same files as Apache, byte for byte`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory);
    addRecords(index, goldenLog);
    t.is(index.endPhysicalOffset, readInt64(goldenBytes.at(-1)!, 24));
    index.close();
    const made = contents(directory);
    t.is(made.length, 4);
    for (const [i, bytes] of made.entries()) t.deepEqual(bytes, goldenBytes[i], goldenFiles[i]);
  });

  test(`${drive.name}: stopped and started anywhere, with any overlap, it makes the same files`, (t) => {
    const starts = goldenMessages.map((message) => message.physicalOffset);
    const property = fc.property(fc.array(fc.constantFrom(...starts), { maxLength: 6 }), fc.nat(3), (stops, overlap) => {
      const directory = newDirectory();
      for (const stop of [...stops.sort((a, b) => a - b), goldenLog.length]) {
        const index = openIndex(drive, directory);
        const resume = starts.indexOf(index.endPhysicalOffset);
        addRecords(index, goldenLog, starts[Math.max(0, resume - overlap)], stop);
        index.close();
      }
      const made = contents(directory);
      fs.rmSync(directory, { recursive: true });
      return made.length === goldenBytes.length && made.every((bytes, i) => bytes.equals(goldenBytes[i]!));
    });
    t.notThrows(() => fc.assert(property, { numRuns: 40 }));
  });

  test(`${drive.name}: of a log whose clock was put back it makes files that the next start finds sound`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory);
    const early = 1_700_000_000_000;
    let physicalOffset = 0;
    const put = (storeTimestamp: number): void => index.put(7, (physicalOffset += 100), storeTimestamp);
    for (const late of [50_000, 0, 90_000, 0, 1000]) put(early + late);
    index.putRun((physicalOffset += 100), 100, early + 2000, Int32Array.of(7, 8, 9), 0, 1, 3);
    physicalOffset += 200;
    index.close();
    const again = openIndex(drive, directory);
    t.is(again.endPhysicalOffset, physicalOffset);
    again.close();
  });

  test(`${drive.name}: runs of records make the files that their keys make one by one, wherever it was stopped`, (t) => {
    const runs = fc.array(
      fc.record({
        count: fc.integer({ min: 1, max: 30 }),
        keyCount: fc.nat(4),
        size: fc.integer({ min: 100, max: 3000 }),
        seed: fc.nat(),
        isStop: fc.boolean(),
        overlap: fc.nat(5),
      }),
      { minLength: 1, maxLength: 12 },
    );
    const property = fc.property(runs, (all) => {
      const directories = [newDirectory(), newDirectory()];
      const single = openIndex(nativeFreeDrive, directories[0]!);
      let index = openIndex(drive, directories[1]!);
      // Beyond 2^32 in the middle.
      let physicalOffset = 4_294_960_000;
      let timestamp = 1_795_103_000_000;
      for (const { count, keyCount, size, seed, isStop, overlap } of all) {
        const hashes = Int32Array.from({ length: 1 + count * keyCount }, (_, i) => (seed + i * 7919) % 31);
        for (let i = 0; i < count * keyCount; i++)
          single.put(hashes[1 + i]!, physicalOffset + Math.floor(i / keyCount) * size, timestamp);
        const builder = new KeyIndexBuilder(index);
        builder.addRun(physicalOffset, size, count, timestamp, hashes, 1, keyCount);
        if (isStop) {
          index.close();
          index = openIndex(drive, directories[1]!);
          // What is in the index already is passed over.
          const from = Math.max(0, count - overlap);
          const again = new KeyIndexBuilder(index);
          again.addRun(physicalOffset + from * size, size, count - from, timestamp, hashes, 1 + from * keyCount, keyCount);
        }
        physicalOffset += count * size;
        timestamp += 700;
      }
      single.close();
      index.close();
      const [expected, made] = directories.map(contents);
      for (const directory of directories) fs.rmSync(directory, { recursive: true });
      t.deepEqual(made, expected);
    });
    t.notThrows(() => fc.assert(property, { numRuns: 60 }));
  });

  test(`${drive.name}: finds in Apache's files what the log says`, (t) => {
    const directory = newDirectory();
    fs.mkdirSync(directory);
    for (const [i, name] of goldenFiles.entries()) fs.writeFileSync(path.join(directory, name), goldenBytes[i]!);
    const reader = new KeyIndexReader(drive, directory, GOLDEN_SHAPE);
    const words = (keys: string | undefined): string[] => (keys ?? "").split(" ").filter((word) => word !== "");
    const isIndexed = goldenMessages.filter((message) => (message.sysFlag & 0xc) !== 0xc);
    let asked = 0;
    for (const message of isIndexed) {
      const { topic, properties } = message;
      const kinds: ["U" | "K" | "T", string][] = words(properties.get("KEYS")).map((key) => ["K", key]);
      if (properties.has("UNIQ_KEY")) kinds.push(["U", properties.get("UNIQ_KEY")!]);
      if (properties.has("TAGS")) kinds.push(["T", properties.get("TAGS")!]);
      for (const [type, key] of kinds) {
        const expected = isIndexed
          .filter((other) => other.topic === topic)
          .filter(({ properties: p }) =>
            type === "T" ? p.get("TAGS") === key : p.get("UNIQ_KEY") === key || words(p.get("KEYS")).includes(key),
          )
          .map((other) => other.physicalOffset)
          .reverse();
        const answer = reader.query(topic, key, 64, 0, Number.MAX_SAFE_INTEGER, type);
        t.deepEqual(answer.physicalOffsets, expected, `${topic} ${type} ${key}`);
        t.deepEqual(reader.query(topic, key, 2, 0, Number.MAX_SAFE_INTEGER, type).physicalOffsets, expected.slice(0, 2));
        t.is(answer.lastUpdatePhysicalOffset, goldenMessages.at(-1)!.physicalOffset);
        t.is(answer.lastUpdateTimestampMs, goldenMessages.at(-1)!.storeTimestamp);
        asked++;
      }
    }
    t.true(asked > 50);
    t.deepEqual(reader.query("TopicA", "TagA", 64, 0, Number.MAX_SAFE_INTEGER, "K").physicalOffsets, [], "tags are no keys");
    t.deepEqual(reader.query("TopicX", "k1", 64, 0, Number.MAX_SAFE_INTEGER).physicalOffsets, []);
    reader.close();
  });

  test(`${drive.name}: keeps to the time span, in whole seconds`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory, { shape: { slotCount: 3, entryCount: 6 } });
    const begin = 1_795_103_000_000;
    for (let i = 0; i < 17; i++) index.put(keyHashOf("T", "k"), 100 * (i + 1), begin + 1000 * i);
    index.publish();
    const reader = new KeyIndexReader(drive, directory, { slotCount: 3, entryCount: 6 });
    const seconds = (from: number, to: number): number[] =>
      reader.query("T", "k", 64, begin + 1000 * from, begin + 1000 * to).physicalOffsets.map((offset) => offset / 100 - 1);
    t.deepEqual(seconds(-10, 100), [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    t.deepEqual(seconds(3, 12), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    t.deepEqual(seconds(7, 7), [7]);
    t.deepEqual(seconds(17, 99), []);
    t.deepEqual(seconds(-9, -1), []);
    reader.close();
    index.close();
  });

  test(`${drive.name}: a reader sees what is published, new files and removed ones`, (t) => {
    const directory = newDirectory();
    const shape: IndexShape = { slotCount: 13, entryCount: 25 };
    const reader = new KeyIndexReader(drive, directory, shape);
    const query = (): number[] => reader.query("T", "k", 1000, 0, Number.MAX_SAFE_INTEGER).physicalOffsets;
    t.deepEqual(query(), []);
    const index = openIndex(drive, directory, { shape });
    const now = Date.now();
    const all: number[] = [];
    for (let i = 1; i <= 100; i++) {
      index.put(keyHashOf("T", "k"), i, now);
      all.unshift(i);
      index.publish();
      if (i % 7 === 0 || i % 24 < 2) t.deepEqual(query(), all);
    }
    t.is(index.deleteBelow(49), 2);
    t.is(index.deleteBelow(49), 0);
    t.deepEqual(
      query(),
      all.filter((offset) => offset > 48),
    );
    t.is(index.deleteBelow(1000), 2, "never the last");
    t.deepEqual(query(), [100, 99, 98, 97]);
    reader.close();
    index.close();
  });

  test(`${drive.name}: forgets what lies behind the end of the log`, (t) => {
    for (const { physicalOffset } of goldenMessages) {
      const directory = newDirectory();
      fs.mkdirSync(directory);
      for (const [i, name] of goldenFiles.entries()) fs.writeFileSync(path.join(directory, name), goldenBytes[i]!);
      const cut = openIndex(drive, directory, { logEnd: physicalOffset });
      t.true(cut.endPhysicalOffset < physicalOffset || cut.isEmpty);
      addRecords(cut, goldenLog); // As if other records had come; here the same ones, so that the bytes can be compared.
      cut.close();
      t.deepEqual(contents(directory), goldenBytes);
    }
  });

  test(`${drive.name}: after a power failure trusts only what the checkpoint vouches for`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory);
    t.is(index.durableTimestamp, 0);
    addRecords(index, goldenLog);
    const sealedEnd = readInt64(goldenBytes[2]!, 8);
    t.is(index.durableTimestamp, sealedEnd);
    index.publish();
    index.close();
    t.is(index.durableTimestamp, goldenMessages.at(-1)!.storeTimestamp);
    openIndex(drive, directory, { trustedTimestamp: index.durableTimestamp }).close();
    t.is(listIndexFiles(directory).length, 4);
    openIndex(drive, directory, { trustedTimestamp: sealedEnd }).close();
    t.is(listIndexFiles(directory).length, 3);
    const again = openIndex(drive, directory, { trustedTimestamp: sealedEnd });
    addRecords(again, goldenLog, again.endPhysicalOffset);
    again.close();
    t.deepEqual(contents(directory), goldenBytes);
    openIndex(drive, directory, { trustedTimestamp: 0 }).close();
    t.is(listIndexFiles(directory).length, 0);
  });

  test(`${drive.name}: refuses files of another shape and says what to do`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory);
    addRecords(index, goldenLog);
    index.close();
    const error = t.throws(() => openIndex(drive, directory, { shape: { slotCount: 12, entryCount: 23 } }), {
      code: "MILLRACE_STORE_CORRUPT",
    });
    t.regex(error.message, /maxHashSlotNum and maxIndexNum/);
    const reader = new KeyIndexReader(drive, directory, { slotCount: 12, entryCount: 23 });
    t.throws(() => reader.query("T", "k", 1, 0, 1), { code: "MILLRACE_STORE_CORRUPT" });
    // Too small for what is configured now: as if it had been cut.
    openIndex(drive, directory, { shape: { slotCount: 14, entryCount: 23 } }).close();
    t.is(listIndexFiles(directory).length, 0);
  });

  test(`${drive.name}: no damaged file leads a query astray for ever`, (t) => {
    const property = fc.property(fc.array(fc.tuple(fc.nat(591), fc.nat(255)), { maxLength: 200 }), (damage) => {
      const directory = newDirectory();
      fs.mkdirSync(directory);
      const bytes = Buffer.from(goldenBytes[1]!);
      for (const [at, byte] of damage) bytes[at] = byte;
      fs.writeFileSync(path.join(directory, goldenFiles[1]!), bytes);
      const reader = new KeyIndexReader(drive, directory, GOLDEN_SHAPE);
      for (const { topic } of goldenMessages.slice(0, 5)) reader.query(topic, "k1", 64, 0, Number.MAX_SAFE_INTEGER);
      reader.close();
      const index = openIndex(drive, directory);
      addRecords(index, goldenLog);
      index.close();
      fs.rmSync(directory, { recursive: true });
    });
    t.notThrows(() => fc.assert(property, { numRuns: 40 }));
  });
}

for (const drive of DRIVES) {
  test(`${drive.name}: a ring of entries ends a query`, (t) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory, { shape: { slotCount: 1, entryCount: 5 } });
    for (let i = 1; i <= 4; i++) index.put(keyHashOf("T", `k${i}`), i, 1_795_103_125_571);
    index.close();
    const [file] = listIndexFiles(directory);
    const bytes = fs.readFileSync(file!);
    bytes.writeInt32BE(4, 44 + 20 * 3 + 16); // Entry 3 points back up at entry 4.
    fs.writeFileSync(file!, bytes);
    const reader = new KeyIndexReader(drive, directory, { slotCount: 1, entryCount: 5 });
    t.deepEqual(reader.query("T", "k1", 64, 0, Number.MAX_SAFE_INTEGER).physicalOffsets, []);
    t.deepEqual(reader.query("T", "k3", 64, 0, Number.MAX_SAFE_INTEGER).physicalOffsets, [3]);
    reader.close();
  });
}

test("a name never comes before the last, even when the clock is set back", (t) => {
  const directory = newDirectory();
  const clock = new VirtualClock(1_795_103_125_571);
  const index = new KeyIndex({
    drive: nativeFreeDrive,
    directory,
    shape: { slotCount: 3, entryCount: 3 },
    clock,
    logEnd: Number.MAX_SAFE_INTEGER,
  });
  for (let i = 1; i <= 20; i++) index.put(i, i, 1_795_103_125_571);
  index.close();
  t.is(listIndexFiles(directory).length, 10);
  const ends = contents(directory).map((bytes) => readInt64(bytes, 24));
  t.deepEqual(
    ends,
    ends.toSorted((a, b) => a - b),
  );
  const reopened = new KeyIndex({
    drive: nativeFreeDrive,
    directory,
    shape: { slotCount: 3, entryCount: 3 },
    clock: new VirtualClock(0),
    logEnd: Number.MAX_SAFE_INTEGER,
  });
  reopened.put(21, 21, 1_795_103_125_571);
  reopened.close();
  t.is(readInt64(contents(directory).at(-1)!, 24), 21);
});

/** Keys enough for many pages, so that the paged region has to give pages up. */
function bigLog(count: number): Buffer {
  const records = Array.from({ length: count }, (_, i) =>
    encodeMessage({
      topic: `Topic${i % 3}`,
      queueId: 0,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: 1,
      bornHost: "127.0.0.1:1",
      storeHost: "127.0.0.1:2",
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
      properties: `KEYS\u0001order${i} all${i % 10}\u0002UNIQ_KEY\u0001U${i}\u0002TAGS\u0001Tag${i % 4}\u0002`,
      body: Buffer.alloc(0),
      bodyCrc: 0,
    }),
  ); // prettier-ignore
  let physicalOffset = 0;
  for (const [i, record] of records.entries()) {
    writeInt64(record, physicalOffset, 28);
    writeInt64(record, 1_795_103_125_571 + i, 56);
    physicalOffset += record.length;
  }
  return Buffer.concat(records);
}

test("both drives make the same big files, within few pages of memory", (t) => {
  const shape: IndexShape = { slotCount: 4_000_000, entryCount: 12_000 };
  const log = bigLog(5000);
  const made = DRIVES.map((drive) => {
    const directory = newDirectory();
    const index = openIndex(drive, directory, { shape });
    addRecords(index, log);
    const before = process.memoryUsage().arrayBuffers;
    t.true(before < 200_000_000);
    index.close();
    const files = contents(directory);
    t.is(files.length, 2);
    t.is(files[0]!.length, indexFileSize(shape));
    fs.rmSync(directory, { recursive: true });
    return files;
  });
  for (const files of made) t.true(files.every((bytes, i) => bytes.equals(made[0]![i]!)));
});

/** A drive that writes like native-free until `writesLeft` runs out, and then fails as a dying process would: in between. */
function dyingDrive(writesLeft: number): Drive {
  let left = writesLeft;
  return {
    ...nativeFreeDrive,
    openFile: (file, options) => {
      const inner = nativeFreeDrive.openFile(file, options);
      return new Proxy(inner, {
        get: (target, name: keyof StoreFile) => {
          if (name === "write" && left-- <= 0) throw new Error("died");
          const value = target[name];
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  };
}

test("a process that dies between any two writes leaves an index that goes on as if nothing had been", (t) => {
  const shape: IndexShape = { slotCount: 3000, entryCount: 900 };
  const log = bigLog(500);
  const undisturbed = newDirectory();
  const index = openIndex(nativeFreeDrive, undisturbed, { shape });
  addRecords(index, log);
  index.close();
  const expected = contents(undisturbed);
  t.is(expected.length, 3);
  const property = fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 80 }), (writesLeft, publishEvery) => {
    const directory = newDirectory();
    const dying = openIndex(dyingDrive(writesLeft), directory, { shape });
    const builder = new KeyIndexBuilder(dying);
    let isDead = false;
    try {
      for (let at = 0, i = 1; at < log.length; at += log.readUInt32BE(at), i++) {
        builder.addRecord(log, at);
        if (i % publishEvery === 0) dying.publish();
      }
    } catch {
      isDead = true;
    }
    const reader = new KeyIndexReader(nativeFreeDrive, directory, shape);
    reader.query("Topic1", "all1", 1000, 0, Number.MAX_SAFE_INTEGER);
    reader.close();
    const next = openIndex(nativeFreeDrive, directory, { shape });
    addRecords(next, log, next.endPhysicalOffset);
    next.close();
    const made = contents(directory);
    fs.rmSync(directory, { recursive: true });
    if (!made.every((bytes, i) => bytes.equals(expected[i]!))) throw new Error(`differs, died: ${isDead}`);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 60 }));
});

// In mapped memory every single store may be the last one that a dying process made.
for (const part of ["no header", "a header that counts it, but does not end with it"]) {
  test(`goes on after a death between the stores of one entry: with ${part}`, (t) => dieBetweenStores(t, part === "no header"));
}

function dieBetweenStores(t: ExecutionContext, isWithoutHeader: boolean): void {
  let cases = 0;
  for (const drive of DRIVES) {
    for (const stop of goldenMessages.slice(1).map((message) => message.physicalOffset)) {
      const directory = newDirectory();
      const index = openIndex(drive, directory);
      addRecords(index, goldenLog, 0, stop);
      index.publish();
      const file = listIndexFiles(directory).at(-1)!;
      const header = fs.readFileSync(file).subarray(0, 40);
      const fileCount = listIndexFiles(directory).length;
      addRecords(index, goldenLog, stop, stop + 1); // One record more: entries and slots are written ...
      index.close();
      if (listIndexFiles(directory).length !== fileCount) continue;
      // Else the next file begins with a time that nobody has noted.
      if (!isWithoutHeader && readInt64(goldenBytes[fileCount - 1]!, END_PHYSICAL_OFFSET_OFFSET) === stop) continue;
      cases++;
      const fd = fs.openSync(file, "r+");
      fs.writeSync(fd, header, 0, isWithoutHeader ? 40 : USED_SLOTS_OFFSET, 0); // ... but not the header, or not all of it.
      fs.closeSync(fd);
      const next = openIndex(drive, directory);
      addRecords(next, goldenLog, next.endPhysicalOffset);
      next.close();
      t.deepEqual(contents(directory), goldenBytes, `${drive.name} at ${stop}`);
    }
  }
  t.true(cases > 10, `${cases} cases`);
}
