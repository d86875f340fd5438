import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { nativeFreeDrive } from "../../../native-free/drive.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { topicHashOfBytes } from "../../../src/format/files/index-file.ts";
import { encodeMessage, PHYSICAL_OFFSET_OFFSET, RecordParts, readInt64 } from "../../../src/format/record/message.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import { makeDirectory } from "../../../src/os/files.ts";
import { RecordProperties } from "../../../src/remoting/send/record-properties.ts";
import {
  createIndexFeedMemory,
  FEED_COUNT_SHIFT,
  FEED_PHYSICAL_OFFSET,
  FEED_SIZE,
  IndexFeedConsumer,
  type IndexFeedMemory,
  KEY_FEED_COUNT,
  KEY_FEED_HASHES,
} from "../../../src/ring/index-feed.ts";
import { ACK_OK, APPEND_NOTED, createLaneMemory, LaneConsumer, LaneProducer } from "../../../src/ring/lane.ts";
import { RecordKeys } from "../../../src/store/index/record-keys.ts";
import { CommitLog } from "../../../src/store/log/commit-log.ts";
import { LogReader } from "../../../src/store/log/log-reader.ts";
import { RunKernel } from "../../../src/store/log/run-kernel.ts";
import { QueueDispatcher } from "../../../src/store/queue/queue-dispatcher.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../../src/store/queue/queue-slots.ts";
import { QueueTails } from "../../../src/store/queue/queue-tails.ts";
import { TopicSlotsTable } from "../../../src/store/queue/topic-slots.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";
import { failingDrive } from "../failing-drive.ts";

// Goal: what the log writer tells the indexers is what they would have read in the log themselves, whichever records come
// without notes, however small the rings are, and whatever writes fail in between.
// Method: random messages through a lane and the log writer's end; then the same log dispatched with and without the rings.
const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-feeds-"));
test.after.always(() => fs.rmSync(root, { recursive: true, force: true }));
let directories = 0;
/** Entries that speak of more than one record. */
let runs = 0;
/** Entries for the blank end of a file. */
let blanks = 0;

const TOPIC = "T";
const LOG_FILE_SIZE = 65_000;
/** Where the log may begin: the second place is not far from 2^32, and that not at a file's end. */
const STARTS = [0, 66_076 * LOG_FILE_SIZE];
const QUEUE_FILE_SIZE = 20_000;
const QUEUE_COUNT = 3;
const names = fc.constantFrom("KEYS", "TAGS", "UNIQ_KEY", "WAIT", "K", "TAG", "Ü");
const values = fc.constantFrom("", "a", "TagA", "one two", " three  four ", "a b c d e", "Ärger", "AaAa", "BBBB", "x".repeat(40));
const properties = fc.array(fc.tuple(names, values), { maxLength: 5 });
const messages = fc.array(
  fc.record({
    properties,
    queueId: fc.nat(QUEUE_COUNT - 1),
    isNoted: fc.boolean(),
    isV6: fc.boolean(),
    bodySize: fc.integer({ min: 1, max: 3000 }),
    /** A batch of messages that are alike but for their unique keys. */
    batch: fc.constantFrom(1, 1, 2, 40),
    fails: fc.nat(9),
    publishes: fc.boolean(),
  }),
  { minLength: 1, maxLength: 80 },
);
type Message = (typeof messages extends fc.Arbitrary<infer M> ? M : never)[number];

function encodeBatch(message: Message): Buffer[] {
  const first = encode(message);
  const count = Math.min(message.batch, Math.floor(LOG_FILE_SIZE / 4 / first.length));
  if (count < 2) return [first];
  const properties = message.properties.filter(([name]) => name !== "UNIQ_KEY");
  return Array.from({ length: count }, (_, i) => encode({ ...message, properties: [...properties, ["UNIQ_KEY", `k${i + 10}`]] }));
}

function encode(message: Message): Buffer {
  return encodeMessage({
    topic: TOPIC,
    queueId: message.queueId,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: message.isV6 ? "[::2]:9" : "10.0.0.1:9",
    storeHost: "10.0.0.2:9",
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    properties: message.properties.map(([name, value]) => `${name}\u0001${value}\u0002`).join(""),
    body: Buffer.alloc(message.bodySize, 7),
    bodyCrc: 0,
  });
}

/** Sends all messages. @returns end of the log */
/** @param hasKernel the records of batches are filled by WebAssembly */
function append(
  t: ExecutionContext,
  directory: string,
  start: number,
  all: Message[],
  feeds: IndexFeedMemory[],
  hasKernel: boolean,
): number {
  makeDirectory(directory);
  const { drive, failNext } = failingDrive();
  const lanes = createLaneMemory({ entryCount: 128, dataSize: 4_194_304 }, hasKernel ? 1 : 0);
  const producer = new LaneProducer(lanes);
  const consumer = new LaneConsumer(lanes);
  t.is(RunKernel.over(consumer) !== undefined, hasKernel);
  const log = new SharedLog();
  const slots = new QueueSlots(createQueueSlotsMemory(64));
  const options = { drive, directory, fileSize: LOG_FILE_SIZE, log, slots, clock: new VirtualClock(1_795_103_125_571) };
  const commitLog = new CommitLog({ ...options, dedupWindow: undefined, queueFeed: feeds[0]!, keyFeed: feeds[1] }, start);
  if (start > 0) slots.setAppendedOffset(1, 2 ** 32 - 3);
  const noted = new RecordProperties();
  const parts = new RecordParts();
  const seed = topicHashOfBytes(Buffer.from(TOPIC), 0, 1);
  const view = new DataView(producer.data.buffer, producer.data.byteOffset, producer.data.byteLength);
  for (const [i, message] of all.entries()) {
    const records = encodeBatch(message);
    const size = records.reduce((sum, { length }) => sum + length, 0);
    let at = producer.reserve(size);
    for (const record of records) {
      record.copy(producer.data, at);
      parts.locate(record, 0);
      noted.scan(producer.data, at + parts.propertiesStart, at + parts.propertiesEnd);
      if (message.isNoted) noted.writeNotes(producer.data, view, at, parts.sysFlag, seed);
      at += record.length;
    }
    producer.commit(size, i, message.queueId, records.length, message.isNoted ? APPEND_NOTED : 0);
    if (!message.publishes && i < all.length - 1) continue;
    producer.publish();
    if (message.fails === 0) failNext();
    while (commitLog.appendFrom(consumer) > 0);
    for (let ready = producer.acksReady(); ready > 0; ready--) {
      producer.takeAck();
      t.true(message.fails === 0 || producer.ackStatus === ACK_OK);
    }
    producer.releaseAcks();
  }
  commitLog.close();
  return log.offset(shared.APPENDED_OFFSET);
}

/** What the dispatcher makes of the log. */
function dispatch(
  base: string,
  start: number,
  logEnd: number,
  queueFeed: IndexFeedMemory | undefined,
): { bytes: Buffer[]; ends: number[] } {
  const queues = path.join(base, queueFeed === undefined ? "read" : "fed");
  const reader = new LogReader(nativeFreeDrive, path.join(base, "log"), LOG_FILE_SIZE);
  const topics = new TopicSlotsTable(nativeFreeDrive, queues, QUEUE_FILE_SIZE, true);
  topics.update({ topic: TOPIC, slots: Array.from({ length: QUEUE_COUNT }, (_, i) => i) });
  const slots = new QueueSlots(createQueueSlotsMemory(64));
  const tails = new QueueTails(slots, topics);
  const given = queueFeed === undefined ? {} : { feed: new IndexFeedConsumer(queueFeed) };
  const dispatcher = new QueueDispatcher({
    reader,
    topics,
    slots,
    tails,
    delayLevelsMs: [],
    refreshTopics: () => false,
    ...given,
  });
  for (let offset = start; offset < logEnd; ) {
    const done = dispatcher.dispatch(offset, logEnd);
    if (done === offset) throw new Error(`no record at ${offset} of ${logEnd}`);
    offset = done;
  }
  tails.writeOld(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  const ends = Array.from({ length: QUEUE_COUNT }, (_, slot) => slots.maxOffset(slot));
  topics.close();
  reader.close();
  const bytes = ends.map((end, queueId) => {
    const directory = path.join(queues, TOPIC, String(queueId));
    return end === 0
      ? Buffer.alloc(0)
      : Buffer.concat(fs.readdirSync(directory).map((name) => fs.readFileSync(path.join(directory, name))));
  });
  return { bytes, ends };
}

/** Compares what the key indexer is told of each record with what the record itself says. @returns how many */
function checkKeys(t: ExecutionContext, base: string, logEnd: number, keyFeed: IndexFeedMemory): number {
  const reader = new LogReader(nativeFreeDrive, path.join(base, "log"), LOG_FILE_SIZE);
  const consumer = new IndexFeedConsumer(keyFeed);
  consumer.refresh();
  const parts = new RecordParts();
  const keys = new RecordKeys();
  let records = 0;
  for (let from = 0, at = consumer.seek(from); at >= 0; at = consumer.seek(from)) {
    const { words } = consumer;
    const keyCount = words[at + KEY_FEED_COUNT]!;
    const count = words[at]! >>> FEED_COUNT_SHIFT;
    from = consumer.cells[(at >> 1) + FEED_PHYSICAL_OFFSET]!;
    for (let i = 0; i < count; i++, records++, from += words[at + FEED_SIZE]!) {
      const record = reader.record(from, logEnd);
      if (record === undefined) {
        t.is((from + words[at + FEED_SIZE]!) % LOG_FILE_SIZE, 0, "the blank end of a file");
        t.deepEqual([count, keyCount], [1, 0]);
        blanks++;
        continue;
      }
      t.is(readInt64(record, PHYSICAL_OFFSET_OFFSET), from);
      parts.locate(record, 0);
      keys.find(record, parts);
      const hashesAt = at + KEY_FEED_HASHES + i * keyCount;
      t.deepEqual([...words.subarray(hashesAt, hashesAt + keyCount)], keys.hashes);
    }
    runs += count > 1 ? 1 : 0;
  }
  reader.close();
  return records;
}

test("with and without what the log writer says, the indexers make the same of a log", (t) => {
  let keyEntries = 0;
  const property = fc.property(messages, fc.constantFrom(32, 4096), fc.constantFrom(...STARTS), (all, capacity, start) => {
    const base = path.join(root, String(++directories));
    const logs: Buffer[] = [];
    for (const hasKernel of directories % 4 === 1 ? [false, true] : [false]) {
      const within = path.join(base, String(hasKernel));
      const directory = path.join(within, "log");
      const queueFeed = createIndexFeedMemory(capacity);
      const keyFeed = createIndexFeedMemory(capacity);
      const logEnd = append(t, directory, start, all, [queueFeed, keyFeed], hasKernel);
      t.deepEqual(dispatch(within, start, logEnd, queueFeed), dispatch(within, start, logEnd, undefined));
      keyEntries += checkKeys(t, within, logEnd, keyFeed);
      logs.push(Buffer.concat(fs.readdirSync(directory).map((name) => fs.readFileSync(path.join(directory, name)))));
    }
    if (logs[1] !== undefined) t.true(logs[1].equals(logs[0]!));
    fs.rmSync(base, { recursive: true });
  });
  const plain = { properties: [], queueId: 0, isNoted: true, isV6: false, bodySize: 3000, batch: 1, fails: 1, publishes: true };
  const fourFiles = Array.from({ length: 80 }, (): Message => ({ ...plain, batch: 1 }));
  t.notThrows(() => fc.assert(property, { numRuns: 150, examples: [[fourFiles, 4096, 0]] }));
  t.true(keyEntries > 100);
  t.true(runs > 10);
  t.true(blanks > 2);
});
