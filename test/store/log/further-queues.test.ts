// Goal: whatever writes fail in between, every further queue has one entry for each acknowledged message that names it, in
// the order of the log and without a gap; the record says the same offsets; and no entry comes of offsets that a client claims.
// Method: random messages through a lane and the log writer's end, whose file refuses some writes; then a dispatch.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { nativeFreeDrive } from "../../../native-free/drive.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../../src/format/files/consume-queue.ts";
import { decodeMessage, encodeMessage } from "../../../src/format/record/message.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import { makeDirectory } from "../../../src/os/files.ts";
import { ACK_OK, APPEND_MULTI, createLaneMemory, LaneConsumer, LaneProducer } from "../../../src/ring/lane.ts";
import { CommitLog } from "../../../src/store/log/commit-log.ts";
import { FurtherQueues } from "../../../src/store/log/further-queues.ts";
import { LogReader } from "../../../src/store/log/log-reader.ts";
import { QueueDispatcher } from "../../../src/store/queue/queue-dispatcher.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../../src/store/queue/queue-slots.ts";
import { QueueTails } from "../../../src/store/queue/queue-tails.ts";
import { TopicSlotsTable } from "../../../src/store/queue/topic-slots.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";
import { failingDrive } from "../failing-drive.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-further-"));
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));
let directories = 0;

const TOPIC = "T";
const LOG_FILE_SIZE = 16_384;
const QUEUES = ["%LMQ%a", "%LMQ%b", "%LMQ%c"];
const SLOTS = new Map(QUEUES.map((name, i) => [name, i + 1]));
const messages = fc.array(
  fc.record({
    names: fc.array(fc.constantFrom(...QUEUES), { maxLength: 4 }),
    claims: fc.constantFrom(undefined, "0", "1,2", "7"),
    hasEnd: fc.boolean(),
    bodySize: fc.integer({ min: 1, max: 2000 }),
    fails: fc.nat(5),
    publishes: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);
type Message = (typeof messages extends fc.Arbitrary<infer M> ? M : never)[number];

function encode({ names, claims, hasEnd, bodySize }: Message, i: number): Buffer {
  const parts = [["N", String(i)]];
  if (claims !== undefined) parts.push(["INNER_MULTI_QUEUE_OFFSET", claims]);
  if (names.length > 0) parts.push(["INNER_MULTI_DISPATCH", names.join(",")]);
  const properties = parts.map((pair) => pair.join("\u0001")).join("\u0002") + (hasEnd ? "\u0002" : "");
  const hosts = { bornHost: "10.0.0.1:9", storeHost: "[::2]:9" };
  const numbers = { flag: 0, sysFlag: 0, bornTimestamp: 1, reconsumeTimes: 0, preparedTransactionOffset: 0, bodyCrc: 0 };
  return encodeMessage({ topic: TOPIC, queueId: 0, ...hosts, ...numbers, properties, body: Buffer.alloc(bodySize, 7) });
}

function check(t: ExecutionContext, all: readonly Message[]): void {
  const base = path.join(root, String(++directories));
  makeDirectory(path.join(base, "log"));
  const { drive, failNext } = failingDrive();
  const lanes = createLaneMemory({ entryCount: 128, dataSize: 1_048_576 });
  const [producer, consumer] = [new LaneProducer(lanes), new LaneConsumer(lanes)];
  const log = new SharedLog();
  const slots = new QueueSlots(createQueueSlotsMemory(64));
  const shape = { drive, directory: path.join(base, "log"), fileSize: LOG_FILE_SIZE };
  const commitLog = new CommitLog(
    { ...shape, log, slots, clock: new VirtualClock(1_795_103_125_571), dedupWindow: undefined },
    0,
  );
  const further = new FurtherQueues((name) => SLOTS.get(name));
  const stored: { i: number; physicalOffset: number }[] = [];
  for (const [i, message] of all.entries()) {
    const record = encode(message, i);
    const laidOut = further.layOut(record);
    t.is(laidOut === undefined, message.names.length === 0);
    const bytes = laidOut ?? record;
    bytes.copy(producer.data, producer.reserve(bytes.length));
    producer.commit(bytes.length, i, 0, 1, laidOut === undefined ? 0 : APPEND_MULTI);
    if (!message.publishes && i < all.length - 1) continue;
    producer.publish();
    if (message.fails === 0) failNext();
    while (commitLog.appendFrom(consumer) > 0);
    for (let ready = producer.acksReady(); ready > 0; ready--) {
      const ticket = producer.takeAck();
      if (producer.ackStatus === ACK_OK) stored.push({ i: ticket, physicalOffset: producer.ackPhysicalOffset });
    }
    producer.releaseAcks();
  }
  commitLog.close();
  const logEnd = log.offset(shared.APPENDED_OFFSET);
  const reader = new LogReader(nativeFreeDrive, path.join(base, "log"), LOG_FILE_SIZE);
  const topics = new TopicSlotsTable(nativeFreeDrive, path.join(base, "queues"), 20_000, true);
  for (const [topic, slot] of [[TOPIC, 0] as const, ...SLOTS]) topics.update({ topic, slots: [slot] });
  const tails = new QueueTails(slots, topics);
  const options = { reader, topics, slots, tails, isMultiDispatch: true, delayLevelsMs: [], refreshTopics: () => false };
  const dispatcher = new QueueDispatcher(options);
  for (let offset = 0; offset < logEnd; ) {
    const done = dispatcher.dispatch(offset, logEnd);
    if (done === offset) throw new Error(`no record at ${offset} of ${logEnd}`);
    offset = done;
  }
  tails.writeOld(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  for (const [name, slot] of SLOTS) {
    const wanted = stored.filter(({ i }) => all[i]!.names.includes(name));
    t.is(slots.maxOffset(slot), wanted.length, name);
    t.is(slots.appendedOffset(slot), wanted.length, name);
    const entry = Buffer.alloc(ENTRY_SIZE);
    for (const [offset, { i, physicalOffset }] of wanted.entries()) {
      t.is(topics.queueOfSlot(slot)!.read(offset, 1, entry), 1);
      t.is(entryPhysicalOffset(entry, 0), physicalOffset);
      const record = reader.record(physicalOffset, logEnd)!;
      t.is(record.length, entrySize(entry, 0));
      const { properties, body } = decodeMessage(record);
      t.is(properties.get("N"), String(i));
      t.is(body.length, all[i]!.bodySize);
      const named = properties.get("INNER_MULTI_DISPATCH")!.split(",").indexOf(name);
      t.is(Number(properties.get("INNER_MULTI_QUEUE_OFFSET")!.split(",")[named]), offset);
    }
  }
  t.is(slots.maxOffset(0), stored.length);
  topics.close();
  reader.close();
}

test("further queues hold what was acknowledged, whatever writes fail", (t) => {
  fc.assert(
    fc.property(messages, (all) => check(t, all)),
    { numRuns: 150 },
  );
});
