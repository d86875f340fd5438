import fs from "node:fs";
import type { Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { crc32 } from "../../src/base/crc32.ts";
import { encodeMessage, PHYSICAL_OFFSET_OFFSET, QUEUE_OFFSET_OFFSET, writeInt64 } from "../../src/format/record/message.ts";
import { decodeCommand, encodeCommand } from "../../src/format/remoting/remoting-command.ts";
import { HEADER_OFFSET, SERIALIZE_ROCKETMQ } from "../../src/format/remoting/remoting-frame.ts";
import type { GatherWriter } from "../../src/os/api.ts";
import { IoConnection } from "../../src/remoting/io-connection.ts";
import { StreamReads } from "../../src/remoting/transport/stream-reads.ts";

export const TOPIC = "TopicTest";
export const STORE_HOST = "10.1.2.3:10911";

/** Header of a SEND_MESSAGE_V2 request as the Java client writes it. */
export const SEND_HEADER: string =
  '{"code":310,"extFields":{"a":"please_rename_unique_group_name","b":"TopicTest","c":"TBW102","d":"4","e":"3","f":"0",' +
  '"g":"1795103125571","h":"0","i":"KEYS\\u0001order-000001234567\\u0002' +
  "UNIQ_KEY\\u0001FD0000000000000000000000000000019C2D4E0E2F2A67B00000\\u0002" +
  'WAIT\\u0001true\\u0002TAGS\\u0001TagA\\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":123456,' +
  '"serializeTypeCurrentRPC":"JSON","version":513}';
/** The same properties as they stand in a record. */
export const PROPERTIES: string =
  "KEYS\u0001order-000001234567\u0002UNIQ_KEY\u0001FD0000000000000000000000000000019C2D4E0E2F2A67B00000" +
  "\u0002WAIT\u0001true\u0002TAGS\u0001TagA\u0002";

/** A send request with a body of `bodySize` bytes. */
export function sendFrame(bodySize: number): { json: Buffer; binary: Buffer } {
  const json = Buffer.alloc(HEADER_OFFSET + SEND_HEADER.length + bodySize, "x");
  json.writeUInt32BE(json.length - 4, 0);
  json.writeUInt32BE(SEND_HEADER.length, 4);
  json.write(SEND_HEADER, HEADER_OFFSET);
  return { json, binary: encodeCommand(decodeCommand(json), SERIALIZE_ROCKETMQ) };
}

/** A request that brings `count` messages in one batch. */
export function batchFrame(count: number, bodySize: number): Buffer {
  const properties = Buffer.from(PROPERTIES);
  const message = Buffer.alloc(22 + bodySize + properties.length, "x");
  message.fill(0, 0, 16);
  message.writeUInt32BE(message.length, 0);
  message.writeUInt32BE(bodySize, 16);
  message.writeUInt16BE(properties.length, 20 + bodySize);
  properties.copy(message, 22 + bodySize);
  const header = SEND_HEADER.replace('"code":310', '"code":320').replace('"m":"false"', '"m":"true"');
  const frame = Buffer.concat([Buffer.alloc(HEADER_OFFSET), Buffer.from(header), ...new Array<Buffer>(count).fill(message)]);
  frame.writeUInt32BE(frame.length - 4, 0);
  frame.writeUInt32BE(header.length, 4);
  return frame;
}

/** A record as the log writer finds it in a lane: offsets and storeTimestamp open. */
export function laneRecord(bodySize: number, queueId = 0): Buffer {
  const body = Buffer.alloc(bodySize, "a body of a message ");
  return encodeMessage({
    topic: TOPIC,
    queueId,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_795_103_125_571,
    bornHost: "10.1.2.4:50000",
    storeHost: STORE_HOST,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    properties: PROPERTIES,
    body,
    bodyCrc: crc32(body, 0, bodySize),
  });
}

/** A stretch of log from physicalOffset 0 on: `count` records, over `queueCount` queues in turn. */
export function logRecords(count: number, bodySize: number, queueCount: number): Buffer {
  const records: Buffer[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const record = laneRecord(bodySize, i % queueCount);
    writeInt64(record, Math.floor(i / queueCount), QUEUE_OFFSET_OFFSET);
    writeInt64(record, at, PHYSICAL_OFFSET_OFFSET);
    records.push(record);
    at += record.length;
  }
  return Buffer.concat(records);
}

/** An empty directory that goes with the process. */
export function scratchDirectory(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-bench-"));
  process.once("exit", () => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A connection whose answers go nowhere: what the system does with them is not measured. */
export function sinkConnection(gather: GatherWriter | undefined): IoConnection {
  const socket = {
    remoteAddress: "10.1.2.4",
    remotePort: 50_000,
    writableLength: 0,
    destroyed: false,
    _handle: { fd: fs.openSync("/dev/null", "w") },
    write: (_chunk: Buffer, taken?: () => void) => {
      taken?.();
      return true;
    },
  };
  const nothing = (): void => {};
  return new IoConnection(0, socket as unknown as Socket, () => 0, nothing, gather, new StreamReads(1, 0, () => {}), []);
}
