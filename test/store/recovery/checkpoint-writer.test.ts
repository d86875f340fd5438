// Goal: what `queuebounds` vouches for is never more than a start would find: not of a topic that was deleted, nor of its namesake.
// Method: the control thread's looks, one after the other, on a broker that otherwise does nothing.
import test from "ava";
import { decodeKnownQueues, type KnownQueues } from "../../../src/format/files/queue-bounds.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../../src/store/queue/queue-slots.ts";
import { CheckpointWriter, type CheckpointWriterOptions } from "../../../src/store/recovery/checkpoint-writer.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";

test("a topic that was deleted is not vouched for any longer, nor is one of the same name", (t) => {
  const log = new SharedLog();
  const slots = new QueueSlots(createQueueSlotsMemory());
  const topics = new Map<string, number[]>([["T", [0]]]);
  let now = 1000;
  let written: KnownQueues | undefined;
  const writer = new CheckpointWriter({
    drive: { names: { replaceSmall: (_path: string, bytes: Buffer) => (written = decodeKnownQueues(bytes)) } },
    paths: { queueBounds: "queuebounds" },
    queueFileSize: 6000,
    log,
    slots,
    clock: { now: () => now },
    topics: () => topics,
    checkpoint: {},
  } as unknown as CheckpointWriterOptions);
  const bounds = (): [string, number][] => {
    now += 200;
    writer.noteQueues();
    return written!.queues.map(({ topic, maxOffset }) => [topic, maxOffset]);
  };
  const change = (): void => void Atomics.add(log.words, shared.TOPICS_VERSION, 1);
  const send = (slot: number, count: number, end: number): void => {
    slots.setMaxOffset(slot, count);
    log.setOffset(shared.DISPATCHED_OFFSET, end);
  };
  const toFiles = (slot: number, count: number, end: number): void => {
    slots.setWrittenOffset(slot, count);
    log.setOffset(shared.QUEUES_WRITTEN_OFFSET, end);
  };

  send(0, 100, 50_000);
  toFiles(0, 100, 50_000);
  for (let i = 0; i < 3; i++) bounds();
  t.deepEqual(bounds(), [["T", 100]]);
  topics.delete("T");
  change();
  t.deepEqual(bounds(), []);
  topics.set("T", [1]);
  change();
  t.deepEqual(bounds(), []);
  send(1, 5, 52_500);
  t.deepEqual(bounds(), []);
  toFiles(1, 5, 52_500);
  bounds();
  t.deepEqual(bounds(), [["T", 5]]);
});
