import { bodySizeOffset, bornHostShift, MAGIC_OFFSET, MAGIC_V1, RecordParts, recordSizeAt, SYS_FLAG_OFFSET } from "./message.ts";

/** The fields before the body size, with IPv4 hosts, and where each ends. */
const FIELD_ENDS: readonly [name: string, end: number][] = [
  ["size", 4],
  ["magic", 8],
  ["bodyCrc", 12],
  ["queueId", 16],
  ["flag", 20],
  ["queueOffset", 28],
  ["physicalOffset", 36],
  ["sysFlag", 40],
  ["bornTimestamp", 48],
  ["bornHost", 56],
  ["storeTimestamp", 64],
  ["storeHost", 72],
  ["reconsumeTimes", 76],
  ["preparedTransactionOffset", 84],
];

/** Name of the field of the record at `at` that holds bytes[position]; undefined if there is no whole record, or it ends before. */
export function fieldAt(bytes: Buffer, at: number, end: number, position: number): string | undefined {
  const size = recordSizeAt(bytes, at, end);
  if (size < 0 || position < at || position >= at + size) return undefined;
  const sysFlag = bytes.readInt32BE(at + SYS_FLAG_OFFSET);
  const bodySizeAt = bodySizeOffset(sysFlag);
  const bornShift = bornHostShift(sysFlag);
  const storeShift = bodySizeAt - 84 - bornShift;
  const offset = position - at;
  for (const [name, ipv4End] of FIELD_ENDS) {
    if (offset < ipv4End + (ipv4End >= 56 ? bornShift : 0) + (ipv4End >= 72 ? storeShift : 0)) return name;
  }
  const parts = new RecordParts();
  parts.locate(bytes, at);
  if (offset < bodySizeAt + 4) return "body size";
  if (position < parts.bodyEnd) return "body";
  if (position < parts.bodyEnd + (bytes.readUInt32BE(at + MAGIC_OFFSET) === MAGIC_V1 ? 1 : 2)) return "topic size";
  if (position < parts.topicEnd) return "topic";
  return position < parts.propertiesStart ? "properties size" : "properties";
}
