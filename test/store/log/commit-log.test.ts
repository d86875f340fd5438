// Goal: no message is stored with a time before the one at which it was handed over, whatever batch it joins: delay levels count
// from that time, and would deliver early.
// Method: a message comes while the log writer takes the batch of the one before it, and time passes in between.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { nativeFreeDrive } from "../../../native-free/drive.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { decodeMessage, encodeMessage } from "../../../src/format/record/message.ts";
import { makeDirectory } from "../../../src/os/files.ts";
import { createLaneMemory, LaneConsumer, LaneProducer } from "../../../src/ring/lane.ts";
import { CommitLog } from "../../../src/store/log/commit-log.ts";
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
