// The answer to a pull: ConsumeQueue entries read, records picked, header written, all of it handed to a sink. What
// the system does to bring it to a socket is not in here. On both drives; neighbours in the log, and scattered ones.
import path from "node:path";
import { ENTRY_SIZE, writeEntry } from "../../src/format/files/consume-queue.ts";
import { createIoCounters } from "../../src/format/shared/io-counters.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { makeDirectory } from "../../src/os/files.ts";
import type { PullRequest } from "../../src/remoting/pull/pull-path.ts";
import { PullResponder } from "../../src/remoting/pull/pull-responder.ts";
import { basePath } from "../../src/store/log/log-files.ts";
import { LogReader } from "../../src/store/log/log-reader.ts";
import { ConsumeQueue, queueDirectory } from "../../src/store/queue/consume-queue.ts";
import { QueueReader, READ_FOUND } from "../../src/store/queue/queue-reader.ts";
import { runBench, type Task } from "./harness.ts";
import { logRecords, scratchDirectory, sinkConnection, TOPIC } from "./samples.ts";

const MESSAGES = 2048;
const PULL = 32;
/** As the broker has them by default, but for the bytes: a pull of larger messages shall be whole as well. */
const LIMITS = {
  countInMemory: PULL,
  sizeInMemory: 1_048_576,
  countOnDisk: PULL,
  sizeOnDisk: 1_048_576,
  inMemoryDistance: 2 ** 40,
};
const ALL = { matchesAll: true, codes: new Set<number>() };
const scratch = scratchDirectory();
const tasks: Record<string, Task> = {};
const closers: (() => void)[] = [];
let work = 0;

for (const isNativeFree of [false, true]) {
  const { drive } = await chooseDrive(isNativeFree);
  for (const [size, stride] of [
    [1024, 1],
    [1024, 4],
    [4096, 1],
  ] as const) {
    const root = path.join(scratch, `${isNativeFree}-${size}-${stride}`);
    const logDirectory = path.join(root, "commitlog");
    makeDirectory(logDirectory);
    const records = logRecords(MESSAGES, size, stride);
    const recordSize = records.length / MESSAGES;
    const log = drive.openFile(basePath(logDirectory, 0), { size: records.length, writable: true, mapped: false });
    log.write(0, records, 0, records.length);
    log.close();
    // Every stride-th record of the log is in this queue.
    const count = MESSAGES / stride;
    const entries = Buffer.alloc(count * ENTRY_SIZE);
    for (let i = 0; i < count; i++) writeEntry(entries, i * ENTRY_SIZE, i * stride * recordSize, recordSize, 0);
    const directory = queueDirectory(path.join(root, "consumequeue"), TOPIC, 0);
    const written = new ConsumeQueue(drive, directory, 6_000_000, true);
    written.write(0, entries, 0, entries.length);
    written.close();
    const queue = new ConsumeQueue(drive, directory, 6_000_000, false);

    const logReader = new LogReader(drive, logDirectory, records.length);
    const reader = new QueueReader(logReader, LIMITS);
    const gather = drive.gatherWriter();
    const responder = new PullResponder(gather, drive.gatherWriter(), createIoCounters(), reader);
    const connection = sinkConnection(gather);
    const request = { connection, opaque: 1, topic: { topicSysFlag: 0 } } as unknown as PullRequest;
    let queueOffset = 0;
    const lie = stride === 1 ? "neighbours" : "scattered";
    tasks[`${drive.name}: pull of ${PULL} x ${size} B, ${lie}`] = () => {
      const status = reader.read(queue, queueOffset, count, PULL, ALL, records.length);
      if (status !== READ_FOUND || reader.messageCount !== PULL) throw new Error(`read ended with ${status}`);
      responder.found(request, reader, 0, count);
      responder.flush();
      work += reader.totalSize + reader.partCount;
      queueOffset = (queueOffset + PULL) % count;
    };
    closers.push(() => {
      queue.close();
      logReader.close();
    });
  }
}
await runBench(`pull assembly, ${PULL} messages an operation`, tasks, () => work);
for (const close of closers) close();
