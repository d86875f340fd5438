// All that an I/O worker does for one send between the bytes of its socket and its answer: header scan, record into
// the lane, ticket, ack, answer. The log writer's end of the lane only acks, and the answers go nowhere.
import { SystemClock } from "../../src/base/clock.ts";
import { encodeHost } from "../../src/format/record/message.ts";
import { HeaderScan } from "../../src/format/remoting/header-scan.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { IoTables } from "../../src/remoting/io-tables.ts";
import { BATCH_KERNEL_SIZE, BatchKernel } from "../../src/remoting/send/batch-kernel.ts";
import { SendAnswers } from "../../src/remoting/send/send-answers.ts";
import { SendKernel, sendKernelSize } from "../../src/remoting/send/send-kernel.ts";
import { SEND_TAKEN, SendPath } from "../../src/remoting/send/send-path.ts";
import { SendTickets } from "../../src/remoting/send/send-tickets.ts";
import { uniqueKeys } from "../../src/remoting/send/unique-keys.ts";
import { createLaneMemory, LaneConsumer, LaneProducer, laneScratch } from "../../src/ring/lane.ts";
import { SharedLog } from "../../src/store/shared-log.ts";
import { runBench, type Task } from "./harness.ts";
import { batchFrame, STORE_HOST, sendFrame, sinkConnection, TOPIC } from "./samples.ts";

const BATCH = 64;
const ENTRIES = 1024;
const { drive } = await chooseDrive(false);
const gather = drive.gatherWriter();
const scratchSize = BATCH_KERNEL_SIZE + sendKernelSize(ENTRIES);
const memory = createLaneMemory({ entryCount: ENTRIES, dataSize: 16 * 1_048_576 }, scratchSize);
const kernel = BatchKernel.over(laneScratch(memory));
const sendKernel = SendKernel.over(laneScratch(memory), BATCH_KERNEL_SIZE)!;
const lane = new LaneProducer(memory);
const writer = new LaneConsumer(memory);
const tickets = new SendTickets(ENTRIES, sendKernel.tickets);
const clock = new SystemClock();
const storeHost = encodeHost(STORE_HOST);
const tables = new IoTables();
tables.slotsChanged({ topic: TOPIC, slots: [0, 1, 2, 3] });
tables.topicChanged({
  topic: TOPIC,
  readQueueNums: 4,
  writeQueueNums: 4,
  perm: 6,
  order: false,
  refusesSends: false,
  topicSysFlag: 0,
  topicFilterType: "SINGLE_TAG",
  attributes: {},
});
const path = new SendPath({
  lane,
  tickets,
  tables,
  storeHost,
  addedProperties: Buffer.from("MSG_REGION\u0001DefaultRegion\u0002TRACE_ON\u0001true\u0002CLUSTER\u0001DefaultCluster\u0002"),
  maxMessageSize: 4_194_304,
  batchSizeMax: 4_194_304,
  tailSize: 0,
  newUniqueKey: uniqueKeys(STORE_HOST, clock),
  kernel,
  sendKernel,
});
const answerOptions = {
  lane,
  tickets,
  log: new SharedLog(),
  storeHost,
  regionId: "DefaultRegion",
  traceOn: true,
  isSyncFlush: false,
  syncFlushTimeoutMs: 5000,
  clock,
};
const plainAnswers = new SendAnswers(answerOptions);
const kernelAnswers = new SendAnswers({ ...answerOptions, kernel: sendKernel });
const connection = sinkConnection(gather);
const scan = new HeaderScan();
let work = 0;
let physicalOffset = 0;

function sendAll(frame: Buffer, times = BATCH): void {
  for (let i = 0; i < times; i++) {
    if (!scan.scan(frame, 0)) throw new Error("scan refused the header");
    const outcome = path.take(connection, frame, 0, frame.length, scan);
    if (outcome !== SEND_TAKEN) throw new Error(`send path answered ${outcome}`);
  }
  settle(plainAnswers);
}

function settle(answers: SendAnswers): void {
  lane.publish();
  while (writer.next()) {
    physicalOffset += writer.size;
    writer.ack(writer.ticket, 0, 123_456, physicalOffset, 0);
  }
  writer.publish();
  answers.drain();
  work += connection.staged;
  connection.flushTurn();
}

/** What one read brings: the kernel takes it all, once it has seen the header. */
function readAll(frames: Buffer): void {
  frames.copy(sendKernel.input);
  const stoppedAt = path.takeRun(connection, sendKernel.input, 0, frames.length);
  if (stoppedAt !== frames.length) throw new Error(`the kernel has stopped at ${stoppedAt} of ${frames.length}`);
  settle(kernelAnswers);
}

const tasks: Record<string, Task> = {};
for (const size of [128, 1024, 4096]) {
  const { json, binary } = sendFrame(size);
  for (const [header, frame] of [
    ["JSON", json],
    ["binary", binary],
  ] as const) {
    if (BATCH * frame.length > sendKernel.input.length) continue;
    const frames = Buffer.concat(new Array<Buffer>(BATCH).fill(frame));
    sendAll(frame, 4);
    tasks[`${size} B, ${header} header, ${BATCH} in one read`] = { count: BATCH, run: () => readAll(frames) };
  }
  tasks[`${size} B, JSON header`] = { count: BATCH, run: () => sendAll(json) };
  tasks[`${size} B, binary header`] = { count: BATCH, run: () => sendAll(binary) };
}
const batch = batchFrame(BATCH, 128);
tasks[`128 B in a batch of ${BATCH}`] = { count: BATCH, run: () => sendAll(batch, 1) };
await runBench(`I/O worker's share of a send, ${drive.name}`, tasks, () => work);
