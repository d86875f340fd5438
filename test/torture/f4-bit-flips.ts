import { bodySizeOffset } from "../../src/format/record/message.ts";
import { fill } from "./f5-truncation.ts";
import { ModelDisk } from "./model-disk.ts";
import { LOG_DIRECTORY, LOG_FILE_SIZE, ModelStore, QUEUE_COUNT, type Stored } from "./model-store.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const NOW_MS = 1_700_000_000_000;
const ROUNDS = 20_000;
const ROUNDS_SHORT = 400;

/** Where each field lies in the test's records, and whether RocketMQ's layout lets a start notice a flipped bit of it. */
function fieldsOf(body: Buffer, size: number): { name: string; start: number; end: number; isProtected: boolean }[] {
  const bodySizeAt = bodySizeOffset(0);
  const topicAt = bodySizeAt + 4 + body.length;
  const ends: [name: string, end: number, isProtected: boolean][] = [
    ["total size", 4, true],
    ["magic", 8, true],
    ["body CRC", 12, true],
    ["queueId", 16, true],
    ["flag", 20, false],
    ["queueOffset", 28, true],
    ["physicalOffset", 36, true],
    ["sysFlag", 40, false],
    ["bornTimestamp", 48, false],
    ["bornHost", 56, false],
    ["storeTimestamp", 64, false],
    ["storeHost", 72, false],
    ["reconsumeTimes", 76, false],
    ["preparedTransactionOffset", 84, false],
    ["body size", bodySizeAt + 4, true],
    ["body", topicAt, true],
    ["topic size", topicAt + 1, true],
    ["topic", topicAt + 2, true],
    ["properties size", topicAt + 4, true],
    ["properties", size, false],
  ];
  return ends.map(([name, end, isProtected], i) => ({ name, start: i === 0 ? 0 : ends[i - 1]![1], end, isProtected }));
}

/**
 * Flips one bit of one record of a killed store whose queues are gone, so that all is made from the log. Of the fields that
 * a checksum, or the order of things, covers each flip is noticed; whatever the field, no other message is lost.
 */
async function run({ random, drive, isShort, hasNext }: Torture): Promise<Record<string, number>> {
  const disk = new ModelDisk(drive === "ffi", random.fork());
  const stored = fill(disk, random, 200);
  disk.names.removeTree("/store/consumequeue");
  disk.names.remove("/store/queuebounds");
  let flips = 0;
  let noticed = 0;
  let unprotected = 0;
  for (; hasNext(flips, isShort ? ROUNDS_SHORT : ROUNDS); flips++) {
    const victim = stored[random.between(20, stored.length - 1)]!;
    const field = random.pick(fieldsOf(victim.body, victim.size));
    const at = random.between(field.start, field.end - 1);
    const bit = 1 << random.below(8);
    const damaged = disk.copy(random.fork());
    const base = victim.physicalOffset - (victim.physicalOffset % LOG_FILE_SIZE);
    const bytes = damaged.bytesOf(`${LOG_DIRECTORY}/${String(base).padStart(20, "0")}`);
    const position = victim.physicalOffset - base + at;
    bytes[position] = bytes[position]! ^ bit;
    // The number of a topic that was removed and made again: 0 is no damage.
    if (field.name === "queueOffset" && bytes.subarray(position - at + 20, position - at + 28).every((byte) => byte === 0))
      continue;
    const store = new ModelStore(damaged, true, NOW_MS);
    const what = `bit ${bit} of byte ${at} (${field.name}) of the record at ${victim.physicalOffset}`;
    const isLost = check(store, stored, victim, what);
    store.end();
    if (isLost) noticed++;
    else if (field.isProtected) must(false, `${what} was not noticed`);
    else unprotected++;
    if ((flips & 127) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { flips, "noticed and left out": noticed, "in fields without a checksum": unprotected, "other messages lost": 0 };
}

/** @returns whether the victim is left out */
function check(store: ModelStore, stored: readonly Stored[], victim: Stored, what: string): boolean {
  const queues = Array.from({ length: QUEUE_COUNT }, (_, queueId) => store.read(queueId, 0));
  for (const { queueId, queueOffset, body } of stored) {
    if (queueId === victim.queueId && queueOffset === victim.queueOffset) continue;
    must(queues[queueId]!.get(queueOffset)?.body.equals(body) === true, `${what}: ${queueId}/${queueOffset} is lost with it`);
  }
  const found = queues[victim.queueId]!.get(victim.queueOffset);
  must(found === undefined || found.body.equals(victim.body), `${what}: its message is another`);
  return found === undefined;
}

export const scenario: Scenario = {
  id: "F4",
  title: "one bit of one record flipped, in every field: it is noticed where a checksum covers it, and costs no other message",
  run,
};
