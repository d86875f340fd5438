// Records from a lane to the end of the CommitLog, on both drives: offsets patched in, runs of records written at once.
import path from "node:path";
import { SystemClock } from "../../src/base/clock.ts";
import * as shared from "../../src/format/shared/shared-words.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { makeDirectory, removeFile } from "../../src/os/files.ts";
import { createLaneMemory, LaneConsumer, LaneProducer, RESERVE_FULL } from "../../src/ring/lane.ts";
import { CommitLog } from "../../src/store/log/commit-log.ts";
import { basePath } from "../../src/store/log/log-files.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../src/store/queue/queue-slots.ts";
import { SharedLog } from "../../src/store/shared-log.ts";
import { runBench, type Task } from "./harness.ts";
import { laneRecord, scratchDirectory } from "./samples.ts";

/** Small, since files that are full are removed: the bench must not fill the disk. */
const FILE_SIZE = 64 * 1_048_576;
const QUEUES = 8;
/** Least records inside one timed call. */
const COUNT_MIN = 64;
const scratch = scratchDirectory();
const tasks: Record<string, Task> = {};
const closers: (() => void)[] = [];
let work = 0;

for (const isNativeFree of [false, true]) {
  const { drive } = await chooseDrive(isNativeFree);
  const directory = path.join(scratch, `log-${isNativeFree}`);
  makeDirectory(directory);
  const memory = createLaneMemory({ entryCount: 1024, dataSize: 4 * 1_048_576 });
  const producer = new LaneProducer(memory);
  const consumer = new LaneConsumer(memory);
  const log = new SharedLog();
  const slots = new QueueSlots(createQueueSlotsMemory());
  const clock = new SystemClock();
  const commitLog = new CommitLog({ drive, directory, fileSize: FILE_SIZE, log, slots, clock, dedupWindow: undefined }, 0);
  closers.push(() => commitLog.close());
  let oldest = 0;
  for (const [size, batch] of [
    [128, 64],
    [1024, 1],
    [1024, 64],
    [1024, 256],
    [4096, 64],
  ] as const) {
    const record = laneRecord(size);
    const append = (): void => {
      for (let i = 0; i < batch; i++) {
        const at = producer.reserve(record.length);
        if (at === RESERVE_FULL) throw new Error("no room in an empty lane");
        record.copy(producer.data, at);
        producer.commit(record.length, i, i % QUEUES, 1, 0);
      }
      producer.publish();
      while (commitLog.appendFrom(consumer) > 0);
      for (let ready = producer.acksReady(); ready > 0; ready--) {
        producer.takeAck();
        if (producer.ackStatus !== 0) throw new Error(`append refused with ${producer.ackStatus}`);
        work += producer.ackQueueOffset;
      }
      producer.releaseAcks();
      for (; oldest < log.offset(shared.CURRENT_FILE_BASE); oldest += FILE_SIZE) removeFile(basePath(directory, oldest));
    };
    tasks[`${drive.name}: append ${size} B, batches of ${batch}`] = {
      count: Math.max(COUNT_MIN, batch),
      run: () => {
        for (let done = 0; done < COUNT_MIN || done < batch; done += batch) append();
      },
    };
  }
}
await runBench("CommitLog", tasks, () => work);
for (const close of closers) close();
