// Goal: no message is stored with a time before the one at which it was handed over, whatever batch it joins: delay levels count
// from that time, and would deliver early. And files that the flusher makes ready are taken, each time.
// Method: a message comes while the log writer takes the batch of the one before it, and time passes in between; and rolls from
// file to file, at each of which the flusher looks while the log writer changes over.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { nativeFreeDrive } from "../../../native-free/drive.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { decodeMessage, encodeMessage } from "../../../src/format/record/message.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import { makeDirectory } from "../../../src/os/files.ts";
import { createLaneMemory, LaneConsumer, LaneProducer } from "../../../src/ring/lane.ts";
import { CommitLog } from "../../../src/store/log/commit-log.ts";
import { Flusher } from "../../../src/store/log/flusher.ts";
import { createQueueSlotsMemory, QueueSlots } from "../../../src/store/queue/queue-slots.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";

const START_MS = 1_700_000_000_000;
const RECORD = encodeMessage({
  topic: "T",
  queueId: 0,
  flag: 0,
  sysFlag: 0,
  bornTimestamp: 1,
  bornHost: "127.0.0.1:1",
  storeHost: "127.0.0.1:2",
  reconsumeTimes: 0,
  preparedTransactionOffset: 0,
  properties: "",
  body: Buffer.from("body"),
  bodyCrc: 0,
});

/** Hands over `arrivals` messages, one before each further look for more, each 7 ms after the one before. */
class SlowConsumer extends LaneConsumer {
  arrivals = 3;
  readonly arrive: () => void;
  #isFirst = true;

  constructor(memory: ConstructorParameters<typeof LaneConsumer>[0], arrive: () => void) {
    super(memory);
    this.arrive = arrive;
  }

  override next(): boolean {
    if (!this.#isFirst && this.arrivals-- > 0) this.arrive();
    this.#isFirst = false;
    return super.next();
  }
}

test("a message that joins a batch late has its own store time", (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-log-"));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  makeDirectory(directory);
  const clock = new VirtualClock(START_MS);
  const memory = createLaneMemory({ entryCount: 16, dataSize: 65_536 });
  const producer = new LaneProducer(memory);
  const sentMs: number[] = [];
  const send = (): void => {
    const at = producer.reserve(RECORD.length);
    RECORD.copy(producer.data, at);
    producer.commit(RECORD.length, sentMs.length, 0, 1, 0);
    producer.publish();
    sentMs.push(clock.now());
  };
  const consumer = new SlowConsumer(memory, () => {
    clock.advance(7);
    send();
  });
  const log = new SharedLog();
  const slots = new QueueSlots(createQueueSlotsMemory());
  const options = { drive: nativeFreeDrive, directory, fileSize: 65_536, log, slots, clock, dedupWindow: undefined };
  const commitLog = new CommitLog(options, 0);
  t.teardown(() => commitLog.close());
  send();
  t.is(commitLog.appendFrom(consumer), 4, "one batch");
  t.is(producer.acksReady(), 4);
  const stored = fs.readFileSync(path.join(directory, "00000000000000000000"));
  for (const [i, ms] of sentMs.entries()) {
    producer.takeAck();
    const message = decodeMessage(stored.subarray(producer.ackPhysicalOffset, producer.ackPhysicalOffset + RECORD.length));
    t.is(message.storeTimestamp, ms, `message ${i}`);
    t.is(producer.ackStoreTimestamp, ms);
  }
});

test("a flusher that looks while the log goes on to its next file makes neither that file again nor stops making others", (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-log-"));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  makeDirectory(directory);
  const clock = new VirtualClock(START_MS);
  const fileSize = 4 * RECORD.length;
  const memory = createLaneMemory({ entryCount: 64, dataSize: 65_536 });
  const producer = new LaneProducer(memory);
  const consumer = new LaneConsumer(memory);
  const log = new SharedLog();
  const made: string[] = [];
  const drive = { ...nativeFreeDrive };
  const flusherDrive = { ...nativeFreeDrive };
  const flusher = new Flusher({
    drive: flusherDrive,
    directory,
    fileSize,
    log,
    clock,
    isSync: false,
    flushIntervalMs: 1e9,
    flushLeastPages: 4,
    flushThoroughIntervalMs: 1e9,
  });
  flusherDrive.openFile = (name, options) => {
    made.push(path.basename(name));
    return nativeFreeDrive.openFile(name, options);
  };
  drive.adoptFile = (name, size, fd) => {
    const file = nativeFreeDrive.adoptFile(name, size, fd);
    flusher.work();
    return file;
  };
  const slots = new QueueSlots(createQueueSlotsMemory());
  const commitLog = new CommitLog({ drive, directory, fileSize, log, slots, clock, dedupWindow: undefined }, 0);
  t.teardown(() => commitLog.close());
  const append = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const at = producer.reserve(RECORD.length);
      RECORD.copy(producer.data, at);
      producer.commit(RECORD.length, i, 0, 1, 0);
      producer.publish();
      t.is(commitLog.appendFrom(consumer), 1);
      flusher.work();
    }
  };
  append(15);
  const names = fs.readdirSync(directory).sort();
  t.is(names.length, 6);
  t.deepEqual(made, names.slice(1), "each file but the first, once");
  t.is(log.offset(shared.CURRENT_FILE_BASE), 4 * fileSize);

  // As a process before has left it: a file that is not the next one.
  log.setOffset(shared.PREPARED_BASE, 0);
  append(3);
  t.is(log.offset(shared.CURRENT_FILE_BASE), 5 * fileSize);
  t.deepEqual(made.slice(5), [path.basename(fs.readdirSync(directory).sort()[6]!)], "and goes on with the one after that");
});
