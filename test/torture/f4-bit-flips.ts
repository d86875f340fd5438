import { bodySizeOffset } from "../../src/format/record/message.ts";
import { RECORD_CRC_SIZE } from "../../src/format/record/record-crc.ts";
import { fill } from "./f5-truncation.ts";
import { ModelDisk } from "./model-disk.ts";
import { LOG_DIRECTORY, LOG_FILE_SIZE, ModelStore, QUEUE_COUNT, type Stored, verifyModelBlocks } from "./model-store.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const NOW_MS = 1_700_000_000_000;
const ROUNDS = 20_000;
const ROUNDS_SHORT = 300;
/** Flips of which one is followed by more in the same block. */
const SEVERAL_EVERY = 8;

/** Where each field lies in the test's records, and whether a start can notice a flipped bit of it without the option. */
function fieldsOf(
  body: Buffer,
  size: number,
  hasRecordCrc: boolean,
): { name: string; start: number; end: number; isProtected: boolean }[] {
  const bodySizeAt = bodySizeOffset(0);
  const topicAt = bodySizeAt + 4 + body.length;
  const propertiesEnd = hasRecordCrc ? size - RECORD_CRC_SIZE : size;
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
    ["properties", propertiesEnd, false],
  ];
  if (hasRecordCrc) ends.push(["checksum", size, true]);
  return ends.map(([name, end, isProtected], i) => {
    return { name, start: i === 0 ? 0 : ends[i - 1]![1], end, isProtected: isProtected || hasRecordCrc };
  });
}

async function run(torture: Torture): Promise<Record<string, number>> {
  const whole = await flipAll(torture, true);
  const plain = await flipAll(torture, false);
  return {
    "flips in the default configuration": plain.flips,
    "found by verify, byte and record named": plain.named,
    "left out by a start already": plain.leftOut,
    "flips of records with a checksum of their own": whole.flips,
    "left out by a start": whole.leftOut,
    "found by verify": whole.named,
    "several flips in a block": plain.several + whole.several,
    "found too": plain.severalFound + whole.severalFound,
    "other messages lost": 0,
  };
}

/**
 * Flips one bit of one record of a killed store. Verify finds each, by the checksums of the log's blocks, and names the very
 * bit. A start, all queues of which are gone, notices each with a checksum of the whole record; without one, each flip of
 * the fields that the body's checksum, or the order of things, covers. Whatever the field, no other message is lost.
 */
async function flipAll({ random, drive, isShort, hasNext }: Torture, hasRecordCrc: boolean) {
  const disk = new ModelDisk(drive === "ffi", random.fork());
  const stored = fill(disk, random, 200, hasRecordCrc);
  const before = verifyModelBlocks(disk);
  must(
    before.list.length === 0 && before.uncheckedBytes === 0,
    () => `not all of the log has a checksum: ${JSON.stringify(before)}`,
  );
  disk.names.removeTree("/store/consumequeue");
  disk.names.remove("/store/queuebounds");
  const totals = { flips: 0, named: 0, leftOut: 0, several: 0, severalFound: 0 };
  for (; hasNext(totals.flips, isShort ? ROUNDS_SHORT : ROUNDS); totals.flips++) {
    const victim = stored[random.between(20, stored.length - 1)]!;
    const field = random.pick(fieldsOf(victim.body, victim.size, hasRecordCrc));
    const at = random.between(field.start, field.end - 1);
    const bit = 1 << random.below(8);
    const damaged = disk.copy(random.fork());
    const base = victim.physicalOffset - (victim.physicalOffset % LOG_FILE_SIZE);
    const bytes = damaged.bytesOf(`${LOG_DIRECTORY}/${String(base).padStart(20, "0")}`);
    const position = victim.physicalOffset - base + at;
    bytes[position] = bytes[position]! ^ bit;
    const what = `bit ${bit} of byte ${at} (${field.name}) of the record at ${victim.physicalOffset}`;
    mustName(damaged, victim, victim.physicalOffset + at, bit, what);
    totals.named++;
    // Without a checksum, the number of a topic that was removed and made again: 0 is no damage.
    const isFirst = bytes.subarray(position - at + 20, position - at + 28).every((byte) => byte === 0);
    if (totals.flips % SEVERAL_EVERY === 0) {
      totals.several++;
      if (flipMore(damaged.copy(random.fork()), base, position, random)) totals.severalFound++;
    }
    const store = new ModelStore(damaged, true, NOW_MS, hasRecordCrc);
    const isLost = check(store, stored, victim, what);
    store.end();
    if (isLost) totals.leftOut++;
    else if (field.isProtected && (hasRecordCrc || field.name !== "queueOffset" || !isFirst))
      must(false, `${what} was not noticed by the start`);
    if ((totals.flips & 127) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  must(
    totals.severalFound === totals.several,
    `of ${totals.several} blocks with several flips ${totals.severalFound} were found`,
  );
  return totals;
}

function mustName(disk: ModelDisk, victim: Stored, byteOffset: number, bit: number, what: string): void {
  const { list } = verifyModelBlocks(disk);
  const [found] = list;
  must(list.length === 1 && found!.kind === "log-block", `${what} was not found by verify`);
  const { physicalOffset, queueId, queueOffset } = victim;
  const isRight = found!.byteOffset === byteOffset && found!.bit === bit && found!.physicalOffset === physicalOffset;
  must(isRight && found!.queueId === queueId && found!.queueOffset === queueOffset, () => `${what} was misnamed: ${found!.text}`);
}

/** Flips further bits of the same file. @returns whether verify finds them */
function flipMore(disk: ModelDisk, base: number, position: number, random: Torture["random"]): boolean {
  const bytes = disk.bytesOf(`${LOG_DIRECTORY}/${String(base).padStart(20, "0")}`);
  const place = (): number => Math.max(0, Math.min(LOG_FILE_SIZE - 9000, position + random.between(1, 3000)));
  for (let count = random.between(1, 20); count > 0; count--) {
    const at = place();
    if (at !== position) bytes[at] = bytes[at]! ^ (1 << random.below(8));
  }
  return verifyModelBlocks(disk).list.some(({ kind }) => kind === "log-block");
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
  title:
    "one bit of one record flipped, in every field, in the default configuration: verify names each; it costs no other message",
  run,
};
