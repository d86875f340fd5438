import { ModelDisk } from "./model-disk.ts";
import { LOG_DIRECTORY, LOG_FILE_SIZE, ModelStore, QUEUE_COUNT, recoverModel, type Stored } from "./model-store.ts";
import { Random } from "./random.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const TAIL_SIZE = 65_536;
const STEP_SHORT = 347;
const MESSAGE_COUNT = 320;
const NOW_MS = 1_700_000_000_000;

/** Records at the end of which the short round, too, tries every offset. */
const LAST_RECORDS = 3;

/**
 * Cuts the log at every offset of its tail, the file short or zeros in it, and starts each time. What consumers get is read
 * once a record: between, the ends of log and queues say it all.
 */
async function run({ random, drive, isShort, hasNext, say }: Torture): Promise<Record<string, number>> {
  const disk = new ModelDisk(drive === "ffi", random.fork());
  const stored = fill(disk, random);
  const ends = stored.map(({ physicalOffset, size }) => physicalOffset + size);
  const logEnd = ends.at(-1)!;
  const everyFrom = isShort ? ends.at(-1 - LAST_RECORDS)! : 0;
  const counts = new Array<number>(QUEUE_COUNT).fill(0);
  let whole = 0;
  let wholeRead = -1;
  let starts = 0;
  for (let cut = logEnd - TAIL_SIZE; cut < logEnd && hasNext(starts, TAIL_SIZE); cut += cut < everyFrom ? STEP_SHORT : 1) {
    for (; ends[whole]! <= cut; whole++) counts[stored[whole]!.queueId]!++;
    const cutDisk = disk.copy(random.fork());
    cutLog(cutDisk, cut, random.chance(2));
    const expected = ends[whole - 1]!;
    const isRead = whole !== wholeRead;
    if (isRead) {
      wholeRead = whole;
      readAll(cutDisk, cut, expected, whole);
    } else {
      const { recovered, slots } = recoverModel(cutDisk, true);
      checkEnd(recovered.appendedOffset, cut, expected);
      for (const [queueId, count] of counts.entries())
        must(
          slots.maxOffset(queueId) === count,
          `cut at ${cut}: queue ${queueId} ends at ${slots.maxOffset(queueId)}, not ${count}`,
        );
    }
    if ((++starts & 127) === 0) await new Promise((resolve) => setImmediate(resolve));
    if (starts % 16_384 === 0) say(`${starts} starts`);
  }
  return { starts, "messages at most": stored.length };
}

function readAll(disk: ModelDisk, cut: number, expected: number, whole: number): void {
  const store = new ModelStore(disk, true, NOW_MS);
  checkEnd(store.recovered.appendedOffset, cut, expected);
  const found = new Set<number>();
  for (let queueId = 0; queueId < QUEUE_COUNT; queueId++) for (const { flag } of store.read(queueId, 0).values()) found.add(flag);
  must(found.size === whole, `cut at ${cut}: ${found.size} messages are there, not ${whole}`);
  store.end();
}

function checkEnd(found: number, cut: number, expected: number): void {
  must(found === expected, `cut at ${cut}: ends at ${found}, not ${expected}`);
}

/** A store of which the process was killed. */
export function fill(
  disk: ModelDisk,
  random: Random,
  messageCount: number = MESSAGE_COUNT,
  hasRecordCrc = false,
): (Stored & { size: number })[] {
  const store = new ModelStore(disk, true, NOW_MS, hasRecordCrc);
  for (let id = 1; id <= messageCount; id++) {
    store.send(id, random.below(QUEUE_COUNT), Buffer.alloc(random.between(1, 400), id & 0xff));
    if (id % 8 === 0) {
      store.write();
      store.flush();
      store.index();
      store.clock.advance(100);
      store.note();
    }
  }
  store.write();
  store.flush();
  store.index();
  store.clock.advance(1000);
  store.flush(); // By now all of it has its checksums.
  store.end();
  return store.appended.map((one) => ({ ...one, size: store.sizeAt(one.physicalOffset) }));
}

function cutLog(disk: ModelDisk, cut: number, isShort: boolean): void {
  for (const file of disk.filesUnder(LOG_DIRECTORY)) {
    const base = Number(file.slice(-20));
    if (base >= cut) disk.names.remove(file);
    else if (base + LOG_FILE_SIZE > cut) {
      disk.names.resize(file, cut - base);
      if (!isShort) disk.names.resize(file, LOG_FILE_SIZE);
    }
  }
}

export const scenario: Scenario = {
  id: "F5",
  title: "the log cut at every offset of its last 64 KiB: it ends at the last whole record, and all before it is there",
  run,
};
