// Records from an I/O worker's end of a lane to the log writer's end, and the acks back. On one thread: what both
// ends cost together. On two: what a hand-off costs the producer, who sleeps while the lane is full.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import * as shared from "../../src/format/shared/shared-words.ts";
import { createLaneMemory, LaneConsumer, LaneProducer, RESERVE_FULL } from "../../src/ring/lane.ts";
import { SharedLog } from "../../src/store/shared-log.ts";
import { runBench, type Task } from "./harness.ts";
import { laneRecord } from "./samples.ts";

const SIZES = { entryCount: 4096, dataSize: 8 * 1_048_576 };
const PARK_MS = 1000;
/** Least records inside one timed call. */
const COUNT_MIN = 64;
const record = laneRecord(1024);
const tasks: Record<string, Task> = {};
let work = 0;

/** Writes one record into the lane. @returns false when there is no room */
function put(producer: LaneProducer, ticket: number): boolean {
  const at = producer.reserve(record.length);
  if (at === RESERVE_FULL) return false;
  record.copy(producer.data, at);
  producer.commit(record.length, ticket, 0, 1, 0);
  return true;
}

function takeAcks(producer: LaneProducer): number {
  const ready = producer.acksReady();
  for (let i = 0; i < ready; i++) work += producer.takeAck();
  if (ready > 0) producer.releaseAcks();
  return ready;
}

for (const batch of [1, 64, 512]) {
  const memory = createLaneMemory(SIZES);
  const producer = new LaneProducer(memory);
  const consumer = new LaneConsumer(memory);
  tasks[`one thread, ${record.length} B, batches of ${batch}`] = {
    count: Math.max(COUNT_MIN, batch),
    run: () => {
      for (let done = 0; done < COUNT_MIN || done < batch; done += batch) {
        for (let i = 0; i < batch; i++) if (!put(producer, i)) throw new Error("no room in an empty lane");
        producer.publish();
        while (consumer.next()) consumer.ack(consumer.ticket, 0, 1, 2, 3);
        consumer.publish();
        takeAcks(producer);
      }
    },
  };
}

const log = new SharedLog();
const memory = createLaneMemory(SIZES);
const worker = new Worker(new URL("lane-writer-thread.ts", import.meta.url), { workerData: { memory, words: log.memory } });
await once(worker, "message");
const producer = new LaneProducer(memory);
const writer = log.doorbell(shared.DOORBELL_WRITER);
const own = log.doorbell(shared.DOORBELL_LANES);
let inFlight = 0;

/** Takes what acks there are; if `isNeeded`, sleeps until there are some. */
function drain(isNeeded: boolean): void {
  for (;;) {
    const seen = own.seen();
    const taken = takeAcks(producer);
    inFlight -= taken;
    if (taken > 0 || !isNeeded) return;
    own.park(seen, PARK_MS);
  }
}

function handOver(batch: number): void {
  for (let i = 0; i < batch; i++) {
    while (!put(producer, i)) {
      producer.publish();
      writer.ring();
      drain(true);
    }
    inFlight++;
  }
  producer.publish();
  writer.ring();
  drain(false);
}

for (const batch of [1, 64, 512]) {
  tasks[`two threads, ${record.length} B, batches of ${batch}`] = {
    count: Math.max(COUNT_MIN, batch),
    run: () => {
      for (let done = 0; done < COUNT_MIN || done < batch; done += batch) handOver(batch);
    },
  };
}
tasks["two threads, there and back, one at a time"] = {
  count: 1,
  run: () => {
    while (inFlight > 0) drain(true);
    if (!put(producer, 1)) throw new Error("no room in an empty lane");
    inFlight++;
    producer.publish();
    writer.ring();
    while (inFlight > 0) drain(true);
  },
};

await runBench("lane", tasks, () => work);
Atomics.store(log.words, shared.STOPPING, 1);
writer.wake();
await once(worker, "exit");
