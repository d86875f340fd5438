import test from "ava";
import fc from "fast-check";
import {
  createIndexFeedMemory,
  IndexFeedConsumer,
  IndexFeedProducer,
  QUEUE_FEED_PHYSICAL_OFFSET,
  QUEUE_FEED_SIZE,
  QUEUE_FEED_WORDS,
} from "../../src/ring/index-feed.ts";

// Goal: an index feed is a bounded FIFO that shows what is published, loses only what it refused or what was taken back,
// and skips what the consumer has passed; across its wrap.
// Method: random operations on a small feed and on an array (the model).
const CAPACITY = 8;
const operations = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant("add" as const) },
    { weight: 2, arbitrary: fc.constant("undo" as const) },
    { weight: 3, arbitrary: fc.constant("publish" as const) },
    { weight: 3, arbitrary: fc.constant("take" as const) },
    { weight: 1, arbitrary: fc.constant("pass" as const) },
  ),
  { minLength: 50, maxLength: 300 },
);

test("an index feed is a bounded FIFO of what was published", (t) => {
  const property = fc.property(operations, (all) => {
    const memory = createIndexFeedMemory(QUEUE_FEED_WORDS, CAPACITY);
    const producer = new IndexFeedProducer(memory);
    const consumer = new IndexFeedConsumer(memory);
    let waiting: number[] = [];
    let unpublished: number[] = [];
    let settled = producer.tail;
    let next = 2 ** 40;
    for (const operation of all) {
      if (operation === "add") {
        const at = producer.add();
        if (at < 0) {
          t.is(waiting.length + unpublished.length, CAPACITY);
          continue;
        }
        t.true(waiting.length + unpublished.length < CAPACITY);
        producer.cells[(at >> 1) + QUEUE_FEED_PHYSICAL_OFFSET] = next;
        producer.words[at + QUEUE_FEED_SIZE] = next % 1000;
        unpublished.push(next++);
      } else if (operation === "undo") {
        producer.rewind(settled);
        unpublished = [];
      } else if (operation === "publish") {
        producer.publish();
        settled = producer.tail;
        waiting.push(...unpublished);
        unpublished = [];
        t.is(producer.isBusy, waiting.length > CAPACITY / 2);
      } else {
        if (operation === "pass" && waiting.length > 1) waiting = waiting.slice(1);
        consumer.refresh();
        const at = consumer.seek(waiting[0] ?? 0);
        t.is(at < 0, waiting.length === 0);
        if (at >= 0) {
          const expected = waiting.shift()!;
          t.is(consumer.cells[(at >> 1) + QUEUE_FEED_PHYSICAL_OFFSET], expected);
          t.is(consumer.words[at + QUEUE_FEED_SIZE], expected % 1000);
          consumer.seek(expected + 1);
        }
        consumer.release();
      }
    }
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});
