import type { Clock } from "../../base/clock.ts";
import { encodeHost } from "../../format/record/message.ts";
import { RECORD_CRC_SIZE } from "../../format/record/record-crc.ts";
import { type LaneProducer, laneScratch } from "../../ring/lane.ts";
import type { SharedLog } from "../../store/shared-log.ts";
import type { IoTables } from "../io-tables.ts";
import type { IoWorkerInit } from "../io-worker-init.ts";
import { BATCH_KERNEL_SIZE, BatchKernel } from "./batch-kernel.ts";
import { SendAnswers } from "./send-answers.ts";
import { SendKernel } from "./send-kernel.ts";
import { SendPath } from "./send-path.ts";
import { SendTickets } from "./send-tickets.ts";
import { uniqueKeys } from "./unique-keys.ts";

/** All that an I/O worker has for sends. */
export interface SendSide {
  path: SendPath;
  answers: SendAnswers;
  /** What sockets are to be read into, where that matters. */
  input: Buffer | undefined;
}

export function sendSide(init: IoWorkerInit, lane: LaneProducer, tables: IoTables, log: SharedLog, clock: Clock): SendSide {
  const { engine, worker, regionId, traceOn } = init;
  const memory = engine.lanes[worker]!;
  const scratch = laneScratch(memory);
  const sendKernel = SendKernel.over(scratch, BATCH_KERNEL_SIZE);
  const tickets = new SendTickets(memory.entryCount, sendKernel?.tickets);
  const storeHost = encodeHost(init.storeHost);
  const added = `MSG_REGION\u0001${regionId}\u0002TRACE_ON\u0001${traceOn}\u0002CLUSTER\u0001${init.clusterName}\u0002`;
  const path = new SendPath({
    kernel: BatchKernel.over(scratch),
    sendKernel,
    lane,
    tickets,
    tables,
    storeHost,
    addedProperties: Buffer.from(added),
    maxMessageSize: init.maxMessageSize,
    batchSizeMax: engine.logFileSize - 8,
    tailSize: engine.hasRecordCrc === true ? RECORD_CRC_SIZE : 0,
    newUniqueKey: uniqueKeys(init.storeHost, clock),
  });
  const { isSyncFlush } = engine;
  const { syncFlushTimeoutMs } = init;
  const kernel = sendKernel;
  const options = { lane, tickets, log, storeHost, regionId, traceOn, isSyncFlush, syncFlushTimeoutMs, clock, kernel };
  return { path, answers: new SendAnswers(options), input: sendKernel?.input };
}
