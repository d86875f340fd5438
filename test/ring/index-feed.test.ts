import test from "ava";
import fc from "fast-check";
import {
  createIndexFeedMemory,
  FEED_COUNT_SHIFT,
  FEED_PHYSICAL_OFFSET,
  FEED_SIZE,
  IndexFeedConsumer,
  IndexFeedProducer,
  QUEUE_FEED_SLOT,
} from "../../src/ring/index-feed.ts";

// Goal: an index feed is a bounded FIFO that shows what is published, loses only what it refused or what was taken back,
// and skips what the consumer has passed; across its wrap, with entries of all sizes, which may grow.
// Method: random operations on a small feed and on an array (the model).
const CAPACITY = 128;
const LENGTH_MAX = 20;
const RECORD_SIZE = 100;
const operations = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("add" as const),
        length: even(8, LENGTH_MAX),
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("grow" as const), by: even(2, 6) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("undo" as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("publish" as const) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("take" as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("take part" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("pass" as const) }) },
  ),
  { minLength: 50, maxLength: 300 },
);

function even(min: number, max: number): fc.Arbitrary<number> {
  return fc.integer({ min: min / 2, max: max / 2 }).map((half) => 2 * half);
}

interface Entry {
  at: number;
  length: number;
  count: number;
  offset: number;
}

class Model {
  readonly producer: IndexFeedProducer;
  readonly consumer: IndexFeedConsumer;
  waiting: Entry[] = [];
  unpublished: Entry[] = [];
  settled: number;
  next = 2 ** 40;
  grown = 0;

  constructor() {
    const memory = createIndexFeedMemory(CAPACITY);
    this.producer = new IndexFeedProducer(memory);
    this.consumer = new IndexFeedConsumer(memory);
    this.settled = this.producer.tail;
  }

  get used(): number {
    return [...this.waiting, ...this.unpublished].reduce((sum, { length }) => sum + length, 0);
  }

  add(length: number, count: number): boolean {
    const { producer } = this;
    const at = producer.add(length);
    if (at < 0) return false;
    producer.words[at] = length + (count << FEED_COUNT_SHIFT);
    producer.words[at + FEED_SIZE] = RECORD_SIZE;
    producer.words[at + QUEUE_FEED_SLOT] = this.next % 1000;
    producer.words.fill(0, at + 8, at + length); // What a reader who lost its way would take for the ring's end.
    producer.cells[(at >> 1) + FEED_PHYSICAL_OFFSET] = this.next;
    this.unpublished.push({ at, length, count, offset: this.next });
    this.next += count * RECORD_SIZE;
    return true;
  }

  grow(by: number): void {
    const last = this.unpublished.at(-1);
    if (last === undefined || !this.producer.grow(by)) return;
    this.grown++;
    last.length += by;
    this.producer.words[last.at] = last.length + (last.count << FEED_COUNT_SHIFT);
  }

  publish(): void {
    this.producer.publish();
    this.settled = this.producer.tail;
    this.waiting.push(...this.unpublished);
    this.unpublished = [];
  }
}

test("an index feed is a bounded FIFO of what was published", (t) => {
  let refused = 0;
  let grown = 0;
  const property = fc.property(operations, (all) => {
    const model = new Model();
    const { producer, consumer } = model;
    for (const operation of all) {
      if (operation.kind === "add") {
        if (model.add(operation.length, operation.count)) continue;
        refused++;
        // Less than an entry may be lost at the ring's end.
        t.true(model.used + 2 * LENGTH_MAX + operation.length > CAPACITY);
      } else if (operation.kind === "grow") {
        model.grow(operation.by);
      } else if (operation.kind === "undo") {
        producer.rewind(model.settled);
        model.unpublished = [];
      } else if (operation.kind === "publish") {
        model.publish();
      } else {
        if (operation.kind === "pass" && model.waiting.length > 1) model.waiting.shift();
        const expected = model.waiting[0];
        consumer.refresh();
        const skipped = operation.kind === "take part" ? (expected?.count ?? 1) - 1 : 0;
        const offset = (expected?.offset ?? 0) + skipped * RECORD_SIZE;
        const at = consumer.seek(offset);
        t.is(at, expected?.at ?? -1);
        if (expected === undefined) continue;
        t.is(consumer.cells[(at >> 1) + FEED_PHYSICAL_OFFSET], expected.offset);
        t.is(consumer.words[at + QUEUE_FEED_SLOT], expected.offset % 1000);
        const left = expected.count - skipped;
        t.is(consumer.skippedAt(at, offset), skipped);
        t.is(consumer.countFrom(at, offset, Number.MAX_SAFE_INTEGER), left);
        t.is(consumer.countFrom(at, offset, offset + left * RECORD_SIZE - 1), left - 1);
        t.is(consumer.countFrom(at, offset + 1, Number.MAX_SAFE_INTEGER), 0);
        t.is(consumer.countFrom(at, expected.offset - RECORD_SIZE, Number.MAX_SAFE_INTEGER), 0);
        consumer.seek(expected.offset + expected.count * RECORD_SIZE);
        consumer.release();
        model.waiting.shift();
      }
    }
    grown += model.grown;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
  t.true(refused > 0);
  t.true(grown > 0);
});
