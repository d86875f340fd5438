// The log writer's end of lane.bench.ts: takes what comes, acks it, parks when there is nothing.
import { parentPort, workerData } from "node:worker_threads";
import * as shared from "../../src/format/shared/shared-words.ts";
import { LaneConsumer, type LaneMemory } from "../../src/ring/lane.ts";
import { runDuty } from "../../src/runtime/duty.ts";
import { SharedLog } from "../../src/store/shared-log.ts";

/** As CommitLog has it. */
const BATCH_MAX = 512;
const { memory, words } = workerData as { memory: LaneMemory; words: SharedArrayBuffer };
const log = new SharedLog(words);
const consumer = new LaneConsumer(memory);
const producer = log.doorbell(shared.DOORBELL_LANES);

function work(): boolean {
  let taken = 0;
  for (; taken < BATCH_MAX && consumer.next(); taken++) consumer.ack(consumer.ticket, 0, 1, 2, 3);
  if (taken === 0) return false;
  consumer.publish();
  producer.ring();
  return true;
}

parentPort!.postMessage("ready");
runDuty({ work, close: () => {} }, log.doorbell(shared.DOORBELL_WRITER), log, 1, 1000);
