// Records of the log become ConsumeQueue entries, on both drives, over one queue and over many.
import path from "node:path";
import { chooseDrive } from "../../src/os/choose.ts";
import { makeDirectory } from "../../src/os/files.ts";
import {
  createIndexFeedMemory,
  FEED_COUNT_SHIFT,
  FEED_PHYSICAL_OFFSET,
  FEED_SIZE,
  IndexFeedConsumer,
  IndexFeedProducer,
  QUEUE_FEED_QUEUE_OFFSET,
  QUEUE_FEED_SLOT,
  QUEUE_FEED_TAGS_CODE,
  QUEUE_FEED_WORDS,
} from "../../src/ring/index-feed.ts";
import { basePath } from "../../src/store/log/log-files.ts";
import { LogReader } from "../../src/store/log/log-reader.ts";
import { QueueDispatcher } from "../../src/store/queue/queue-dispatcher.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../src/store/queue/queue-slots.ts";
import { QueueTails } from "../../src/store/queue/queue-tails.ts";
import { TopicSlotsTable } from "../../src/store/queue/topic-slots.ts";
import { runBench, type Task } from "./harness.ts";
import { logRecords, scratchDirectory, TOPIC } from "./samples.ts";

const COUNT = 1024; // One pass.
const BODY_SIZE = 1024;
const FILE_SIZE = 2 * 1_048_576;
const QUEUE_FILE_SIZE = 6_000_000;
const scratch = scratchDirectory();
const tasks: Record<string, Task> = {};
const closers: (() => void)[] = [];
let work = 0;

for (const isNativeFree of [false, true]) {
  const { drive } = await chooseDrive(isNativeFree);
  for (const queueCount of [1, 8, 256]) {
    const root = path.join(scratch, `${isNativeFree}-${queueCount}`);
    const logDirectory = path.join(root, "commitlog");
    makeDirectory(logDirectory);
    const records = logRecords(COUNT, BODY_SIZE, queueCount);
    const recordSize = records.length / COUNT;
    const file = drive.openFile(basePath(logDirectory, 0), { size: FILE_SIZE, writable: true, mapped: false });
    file.write(0, records, 0, records.length);
    file.close();
    const reader = new LogReader(drive, logDirectory, FILE_SIZE);
    const topics = new TopicSlotsTable(drive, path.join(root, "consumequeue"), QUEUE_FILE_SIZE, true);
    topics.update({ topic: TOPIC, slots: Array.from({ length: queueCount }, (_, i) => i) });
    const slots = new QueueSlots(createQueueSlotsMemory());
    const tails = new QueueTails(slots, topics);
    const dispatcher = new QueueDispatcher({ reader, topics, slots, tails, delayLevelsMs: [], refreshTopics: () => false });
    // So that all entries are new each time.
    const startOver = (): void => {
      for (let slot = 0; slot < queueCount; slot++) {
        slots.setWrittenOffset(slot, 0);
        slots.setMaxOffset(slot, 0);
      }
    };
    tasks[`${drive.name}: ${queueCount} queue${queueCount > 1 ? "s" : ""}, passes of ${COUNT}`] = {
      count: COUNT,
      run: () => {
        reader.invalidate();
        startOver();
        const end = dispatcher.dispatch(0, records.length);
        if (end !== records.length) throw new Error(`dispatch ended at ${end} of ${records.length}`);
        work += slots.maxOffset(0) + dispatcher.grown.length;
      },
    };
    const memory = createIndexFeedMemory(2 * COUNT * QUEUE_FEED_WORDS);
    const producer = new IndexFeedProducer(memory);
    const consumer = new IndexFeedConsumer(memory);
    const fed = new QueueDispatcher({
      reader,
      topics,
      slots,
      tails,
      feed: consumer,
      delayLevelsMs: [],
      refreshTopics: () => false,
    });
    tasks[`${drive.name}: ${queueCount} queue${queueCount > 1 ? "s" : ""}, told by the log writer`] = {
      count: COUNT,
      run: () => {
        for (let i = 0, at = 0; i < COUNT; i++, at += recordSize) {
          const entry = producer.add(QUEUE_FEED_WORDS);
          producer.words[entry] = QUEUE_FEED_WORDS + (1 << FEED_COUNT_SHIFT);
          producer.cells[(entry >> 1) + FEED_PHYSICAL_OFFSET] = at;
          producer.cells[(entry >> 1) + QUEUE_FEED_QUEUE_OFFSET] = Math.floor(i / queueCount);
          producer.words[entry + FEED_SIZE] = recordSize;
          producer.words[entry + QUEUE_FEED_SLOT] = i % queueCount;
          producer.words[entry + QUEUE_FEED_TAGS_CODE] = i;
        }
        producer.publish();
        startOver();
        const end = fed.dispatch(0, records.length);
        if (end !== records.length) throw new Error(`dispatch ended at ${end} of ${records.length}`);
        work += slots.maxOffset(0) + fed.grown.length;
        consumer.seek(end); // The same offsets come again.
      },
    };
    closers.push(() => {
      topics.close();
      reader.close();
    });
  }
}
await runBench(`ConsumeQueue append, ${BODY_SIZE} B bodies`, tasks, () => work);
for (const close of closers) close();
