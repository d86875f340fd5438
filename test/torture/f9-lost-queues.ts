import { fill } from "./f5-truncation.ts";
import { ModelDisk } from "./model-disk.ts";
import { ModelStore } from "./model-store.ts";
import type { Random } from "./random.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const QUEUES = "/store/consumequeue";
const NOW_MS = 1_700_000_000_000;
const ROUNDS = 5000;
const ROUNDS_SHORT = 150;

/** Deletes, shortens and overwrites files of queues, of stores that were stopped and of killed ones, and starts. */
async function run({ random, drive, isShort, hasNext }: Torture): Promise<Record<string, number>> {
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

export const scenario: Scenario = {
  id: "F9",
  title: "files of queues deleted, short or garbage: they are made from the log as they were",
  run,
};
