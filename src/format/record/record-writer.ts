import { copyBytes } from "../../base/copy-bytes.ts";
import { crc32 } from "../../base/crc32.ts";
import {
  BODY_CRC_OFFSET,
  BORN_HOST_OFFSET,
  BORN_TIMESTAMP_OFFSET,
  FLAG_OFFSET,
  MAGIC_OFFSET,
  MAGIC_V1,
  MAGIC_V2,
  QUEUE_ID_OFFSET,
  SYS_FLAG_BORN_HOST_V6,
  SYS_FLAG_OFFSET,
  SYS_FLAG_STORE_HOST_V6,
  TOPIC_SIZE_MAX_V1,
  writeInt64,
} from "./message.ts";

/**
 * Writes a record up to its topic, in place and without allocating; layout in message.ts. queueOffset,
 * physicalOffset and storeTimestamp stay open for the log writer; total size and properties for the caller.
 *
 * @param bornHost  8 or 20 bytes, as encodeHost makes them; so is storeHost
 * @returns where the two bytes of the properties' size go
 */
export function writeRecordHead(
  data: Buffer,
  at: number,
  queueId: number,
  flag: number,
  sysFlag: number,
  bornTimestamp: number,
  bornHost: Buffer,
  storeHost: Buffer,
  reconsumeTimes: number,
  body: Buffer,
  bodyStart: number,
  bodySize: number,
  topic: Buffer,
): number {
  let hosts = bornHost.length > 8 ? SYS_FLAG_BORN_HOST_V6 : 0;
  if (storeHost.length > 8) hosts |= SYS_FLAG_STORE_HOST_V6;
  const isV2 = topic.length > TOPIC_SIZE_MAX_V1;
  data.writeUInt32BE(isV2 ? MAGIC_V2 : MAGIC_V1, at + MAGIC_OFFSET);
  data.writeUInt32BE(crc32(body, bodyStart, bodyStart + bodySize) & 0x7fff_ffff, at + BODY_CRC_OFFSET);
  data.writeInt32BE(queueId, at + QUEUE_ID_OFFSET);
  data.writeInt32BE(flag | 0, at + FLAG_OFFSET);
  data.writeInt32BE(sysFlag | hosts, at + SYS_FLAG_OFFSET);
  writeInt64(data, bornTimestamp, at + BORN_TIMESTAMP_OFFSET);
  let to = copyShort(bornHost, data, at + BORN_HOST_OFFSET);
  to = copyShort(storeHost, data, to + 8);
  data.writeInt32BE(reconsumeTimes | 0, to);
  data.writeInt32BE(0, to + 4); // preparedTransactionOffset
  data.writeInt32BE(0, to + 8);
  data.writeUInt32BE(bodySize, to + 12);
  to += 16;
  copyBytes(body, bodyStart, bodyStart + bodySize, data, to);
  to += bodySize;
  if (isV2) data[to++] = topic.length >>> 8;
  data[to++] = topic.length & 0xff;
  return copyShort(topic, data, to);
}

/** Closes the record that began at `at`: properties end at `end`. */
export function finishRecord(data: Buffer, at: number, propertiesAt: number, end: number): void {
  data.writeUInt16BE(end - propertiesAt, propertiesAt - 2);
  data.writeUInt32BE(end - at, at);
}

/** Bytes that the size of a topic takes. */
export function topicSizeSize(topic: Buffer): number {
  return topic.length > TOPIC_SIZE_MAX_V1 ? 2 : 1;
}

/** For a few bytes a loop beats the call into Buffer.copy. */
function copyShort(source: Buffer, target: Buffer, at: number): number {
  for (let i = 0; i < source.length; i++) target[at++] = source[i]!;
  return at;
}
