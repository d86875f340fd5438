// Writes entries of one queue as the queue indexer does, as fast as it can. See queue-tails.test.ts.
import { workerData } from "node:worker_threads";
import { loadDrive } from "../../../src/os/choose.ts";
import { QueueSlots, type QueueSlotsMemory } from "../../../src/store/queue/queue-slots.ts";
import { QueueTails } from "../../../src/store/queue/queue-tails.ts";
import { TopicSlotsTable } from "../../../src/store/queue/topic-slots.ts";

const { memory, root, fileSize, count, drive } = workerData as {
  memory: QueueSlotsMemory;
  root: string;
  fileSize: number;
  count: number;
  drive: "ffi" | "native-free";
};
const slots = new QueueSlots(memory);
const table = new TopicSlotsTable(await loadDrive(drive), root, fileSize, true);
table.update({ topic: "T", slots: [0] });
const tails = new QueueTails(slots, table);
for (let end = 0; end < count; ) {
  const passEnd = Math.min(count, end + 1 + ((end * 7919) % 90));
  for (; end < passEnd; end++) tails.put(0, end, end * 1000, 1000, end);
  slots.order();
  slots.setMaxOffset(0, passEnd);
  if (end % 5 === 0) tails.write(0);
}
table.close();
