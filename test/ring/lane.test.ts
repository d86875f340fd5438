import test from "ava";
import fc from "fast-check";
import { ACK_OK, createLaneMemory, LaneConsumer, LaneProducer, RESERVE_FULL } from "../../src/ring/lane.ts";

// Goal: a lane is a bounded FIFO of records and of acks, whatever the order of operations, across the wrap of both rings.
// Method: random reserve/commit, publish, consume, ack on a small lane and on plain arrays (the model).
const ENTRY_COUNT = 8;
const DATA_SIZE = 1024;
const operations = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("send" as const), size: fc.integer({ min: 1, max: 500 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("write" as const), size: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("acks" as const), size: fc.constant(0) }) },
  ),
  { minLength: 50, maxLength: 400 },
);

test("a lane is a bounded FIFO of records and acks", (t) => {
  const property = fc.property(operations, (ops) => {
    const memory = createLaneMemory({ entryCount: ENTRY_COUNT, dataSize: DATA_SIZE });
    const producer = new LaneProducer(memory);
    const consumer = new LaneConsumer(memory);
    const sent: { ticket: number; size: number }[] = [];
    const acked: number[] = [];
    let ticket = 0;
    for (const op of ops) {
      if (op.kind === "send") {
        const at = producer.reserve(op.size);
        const inFlight = sent.reduce((sum, one) => sum + one.size, 0);
        if (at === RESERVE_FULL) {
          if (sent.length === 0 && acked.length === 0) return false; // An empty lane takes anything that fits the ring.
          continue;
        }
        if (inFlight + op.size > DATA_SIZE || sent.length >= ENTRY_COUNT) return false;
        producer.data.fill(ticket & 0xff, at, at + op.size);
        producer.commit(op.size, ticket, ticket * 3, 1, 0);
        producer.publish();
        sent.push({ ticket: ticket++, size: op.size });
      } else if (op.kind === "write") {
        for (let i = 0; i < op.size && consumer.next(); i++) {
          const expected = sent.shift();
          if (expected === undefined || consumer.ticket !== expected.ticket || consumer.size !== expected.size) return false;
          if (consumer.slot !== expected.ticket * 3) return false;
          const bytes = consumer.data.subarray(consumer.dataStart, consumer.dataStart + consumer.size);
          if (!bytes.every((byte) => byte === (expected.ticket & 0xff))) return false;
          consumer.ack(consumer.ticket, ACK_OK, expected.ticket + 0.5, 2 ** 40 + expected.ticket, 7);
          acked.push(expected.ticket);
        }
        consumer.publish();
      } else {
        const ready = producer.acksReady();
        if (ready !== acked.length || ready > ENTRY_COUNT) return false;
        for (let i = 0; i < ready; i++) {
          const expected = acked.shift()!;
          if (producer.takeAck() !== expected || producer.ackQueueOffset !== expected + 0.5) return false;
          if (producer.ackPhysicalOffset !== 2 ** 40 + expected || producer.ackStatus !== ACK_OK) return false;
        }
        producer.releaseAcks();
      }
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});
