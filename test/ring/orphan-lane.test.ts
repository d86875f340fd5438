// Goal: a producer that takes over the lane of one that died finds it empty, and gets its own acks only.
// Method: the dead one has published some records, acknowledged or not, and committed one that it never published.
import test from "ava";
import { ACK_OK, createLaneMemory, LaneConsumer, LaneProducer, settleOrphan } from "../../src/ring/lane.ts";

test("a lane is handed on once all that was published is acknowledged", (t) => {
  const memory = createLaneMemory({ entryCount: 8, dataSize: 1024 });
  const consumer = new LaneConsumer(memory);
  const acknowledge = (count: number): void => {
    for (let i = 0; i < count; i++) {
      t.true(consumer.next());
      consumer.ack(consumer.ticket, ACK_OK, 0, 0, 0);
    }
    consumer.publish();
  };
  for (let round = 0; round < 50; round++) {
    const dead = new LaneProducer(memory);
    for (let ticket = 0; ticket < 5; ticket++) {
      t.true(dead.reserve(50) >= 0);
      dead.commit(50, ticket, 0, 1, 0);
    }
    dead.publish();
    t.true(dead.reserve(50) >= 0);
    dead.commit(50, 99, 0, 1, 0);
    t.false(settleOrphan(memory));
    acknowledge(3);
    t.false(settleOrphan(memory));
    acknowledge(2);
    t.true(settleOrphan(memory));

    const next = new LaneProducer(memory);
    t.is(next.acksReady(), 0);
    const at = next.reserve(300);
    t.true(at >= 0);
    next.data.fill(round, at, at + 300);
    next.commit(300, 7, 0, 1, 0);
    next.publish();
    t.true(consumer.next());
    t.is(consumer.ticket, 7);
    t.true(consumer.data.subarray(consumer.dataStart, consumer.dataStart + consumer.size).every((byte) => byte === round));
    consumer.ack(7, ACK_OK, 0, 0, 0);
    consumer.publish();
    t.is(next.acksReady(), 1);
    t.is(next.takeAck(), 7);
    next.releaseAcks();
  }
});
