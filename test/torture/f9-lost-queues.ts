import fs from "node:fs";
import path from "node:path";
import { VirtualClock } from "../../src/base/clock.ts";
import {
  COUNT_OFFSET,
  INDEX_ENTRY_SIZE,
  INDEX_HEADER_SIZE,
  SLOT_SIZE,
  USED_SLOTS_OFFSET,
} from "../../src/format/files/index-file.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { KeyIndex, listIndexFiles } from "../../src/store/index/key-index.ts";
import { KeyIndexBuilder } from "../../src/store/index/key-index-builder.ts";
import { LogReader } from "../../src/store/log/log-reader.ts";
import { fill } from "./f5-truncation.ts";
import { ModelDisk } from "./model-disk.ts";
import { LOG_DIRECTORY, LOG_FILE_SIZE, ModelStore } from "./model-store.ts";
import type { Random } from "./random.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const QUEUES = "/store/consumequeue";
const NOW_MS = 1_700_000_000_000;
const INDEX_SHAPE = { slotCount: 13, entryCount: 23 };
const ROUNDS = 5000;
const ROUNDS_SHORT = 150;
const INDEX_ROUNDS_SHORT = 40;

async function run(torture: Torture): Promise<Record<string, number>> {
  const queues = await damageQueues(torture);
  const index = await damageIndex(torture);
  return { ...queues, "starts with the index": index.starts, "files of it damaged": index.damaged };
}

/** Deletes, shortens and overwrites files of queues, of stores that were stopped and of killed ones, and starts. */
async function damageQueues({ random, drive, isShort, hasNext }: Torture): Promise<Record<string, number>> {
  const killed = new ModelDisk(drive === "ffi", random.fork());
  fill(killed, random, 200);
  const stopped = killed.copy(random.fork());
  new ModelStore(stopped, true, NOW_MS).stop();
  const kinds = { deleted: 0, shortened: 0, garbage: 0 };
  let starts = 0;
  for (; hasNext(starts, isShort ? ROUNDS_SHORT : ROUNDS); starts++) {
    const original = random.chance(2) ? killed : stopped;
    const disk = original.copy(random.fork());
    for (let count = random.between(1, 4); count > 0; count--) damage(disk, random, kinds);
    const store = new ModelStore(disk, true, NOW_MS);
    store.end();
    for (const file of original.filesUnder(QUEUES)) {
      const [, queueId, base] = /\/(\d+)\/(\d{20})$/.exec(file)!;
      const size = 20 * store.slots.maxOffset(Number(queueId)) - Number(base); // What lies behind is written before it is read.
      const isSame =
        disk.names.exists(file) && disk.bytesOf(file).subarray(0, size).equals(original.bytesOf(file).subarray(0, size));
      must(isSame, () => `start ${starts}: ${file} is not what it was; ${JSON.stringify(store.recovered)}`);
    }
    must(
      disk.filesUnder(QUEUES).length === original.filesUnder(QUEUES).length,
      `start ${starts}: there are other files of queues`,
    );
    if ((starts & 127) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { starts, ...kinds, "not as they were": 0 };
}

function damage(disk: ModelDisk, random: Random, kinds: { deleted: number; shortened: number; garbage: number }): void {
  const files = disk.filesUnder(QUEUES);
  if (files.length === 0) return;
  const file = random.pick(files);
  const bytes = disk.bytesOf(file);
  switch (random.below(4)) {
    case 0:
      kinds.deleted++;
      disk.names.remove(file);
      break;
    case 1:
      kinds.deleted++;
      disk.names.removeTree(random.chance(5) ? QUEUES : file.slice(0, -21));
      break;
    case 2:
      kinds.shortened++;
      disk.names.resize(file, random.below(bytes.length));
      break;
    default:
      kinds.garbage++;
      garble(bytes, random);
  }
  disk.touch(file);
}

/** Whole entries become random bytes, one of them at least one that was written. */
function garble(bytes: Buffer, random: Random): void {
  const first = random.below(bytes.length / 20);
  const end = random.chance(2) ? bytes.length : Math.min(bytes.length, (first + random.between(1, 10)) * 20);
  for (let at = first * 20; at < end; at++) bytes[at] = random.below(256);
}

/** Does the same to files of the key index, on the real disk, and indexes the rest of the log. */
async function damageIndex({ random, drive: driveName, directory, isShort, hasNext }: Torture) {
  const { drive } = await chooseDrive(driveName === "native-free", undefined);
  const disk = new ModelDisk(false, random.fork());
  const stored = fill(disk, random, 200);
  const log = new LogReader(disk, LOG_DIRECTORY, LOG_FILE_SIZE);
  const records = stored.map(({ physicalOffset, size }) => log.record(physicalOffset, physicalOffset + size)!);
  const index = path.join(directory, "index");
  const build = (): Buffer[] => {
    const options = { drive, directory: index, shape: INDEX_SHAPE, clock: new VirtualClock(NOW_MS) };
    const keys = new KeyIndex({ ...options, logEnd: Number.MAX_SAFE_INTEGER, gapMax: 2048 });
    keys.check();
    const builder = new KeyIndexBuilder(keys);
    for (const record of records) builder.addRecord(record, 0);
    keys.close();
    return listIndexFiles(index).map(inUse);
  };
  const original = build();
  must(original.length > 5, "so few index files prove nothing");
  let damaged = 0;
  let starts = 0;
  for (; hasNext(starts, isShort ? INDEX_ROUNDS_SHORT : ROUNDS); starts++) {
    for (let count = random.between(1, 3); count > 0; count--, damaged++) damageIndexFile(index, random);
    const made = build();
    const isSame = made.length === original.length && made.every((bytes, i) => bytes.equals(original[i]!));
    must(isSame, () => `start ${starts}: the index is not what it was: ${firstDifference(made, original)}`);
    if ((starts & 127) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { starts, damaged };
}

function firstDifference(made: readonly Buffer[], original: readonly Buffer[]): string {
  const file = original.findIndex((bytes, i) => made[i]?.equals(bytes) !== true);
  const at = original[file]?.findIndex((byte, i) => made[file]?.[i] !== byte);
  return `${made.length} files of ${original.length}, byte ${at} of file ${file}`;
}

/** Nobody looks at entry 0, at what lies behind the last one, nor at the number of slots in use. */
function inUse(file: string): Buffer {
  const bytes = fs.readFileSync(file);
  const entriesAt = INDEX_HEADER_SIZE + SLOT_SIZE * INDEX_SHAPE.slotCount;
  const end = entriesAt + INDEX_ENTRY_SIZE * bytes.readInt32BE(COUNT_OFFSET);
  return bytes
    .fill(0, entriesAt, entriesAt + INDEX_ENTRY_SIZE)
    .fill(0, USED_SLOTS_OFFSET, COUNT_OFFSET)
    .subarray(0, end);
}

function damageIndexFile(directory: string, random: Random): void {
  const files = listIndexFiles(directory);
  if (files.length < 2) return;
  // Without the oldest the index looks as after a deletion of old files.
  const file = random.pick(files.slice(1));
  const bytes = fs.readFileSync(file);
  switch (random.below(4)) {
    case 0:
      return fs.rmSync(file);
    case 1:
      return fs.rmSync(directory, { recursive: true });
    case 2:
      return fs.truncateSync(file, random.below(bytes.length));
    default: {
      const start = random.below(bytes.length / 2);
      for (let at = start; at < Math.min(bytes.length, start + random.between(24, bytes.length)); at++)
        bytes[at] = random.below(256);
      fs.writeFileSync(file, bytes);
    }
  }
}

export const scenario: Scenario = {
  id: "F9",
  title: "files of queues and of the key index deleted, short or garbage: they are made from the log as they were",
  run,
};
