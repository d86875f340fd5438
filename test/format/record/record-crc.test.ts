import test from "ava";
import { crc32 } from "../../../src/base/crc32.ts";
import { encodeMessage, RecordParts, recordSizeAt } from "../../../src/format/record/message.ts";
import {
  fillRecordCrc,
  RECORD_CRC_NONE,
  RECORD_CRC_RIGHT,
  RECORD_CRC_SIZE,
  RECORD_CRC_WRONG,
  recordCrcState,
  reserveRecordCrc,
  withoutRecordCrc,
} from "../../../src/format/record/record-crc.ts";

function record(properties: string): Buffer {
  const body = Buffer.from("hello");
  const hosts = { bornHost: "10.0.0.1:50000", storeHost: "10.0.0.2:10911" };
  const numbers = { queueId: 2, flag: 7, sysFlag: 0, bornTimestamp: 1, reconsumeTimes: 0, preparedTransactionOffset: 0 };
  return encodeMessage({ topic: "TopicA", body, bodyCrc: crc32(body, 0, 5), properties, ...hosts, ...numbers });
}

function sealed(properties: string): { bytes: Buffer; propertiesStart: number } {
  const plain = record(properties);
  const bytes = Buffer.concat([plain, Buffer.alloc(RECORD_CRC_SIZE)]);
  reserveRecordCrc(bytes, plain.length);
  const parts = new RecordParts();
  parts.locate(plain, 0);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt16BE(parts.propertiesEnd - parts.propertiesStart + RECORD_CRC_SIZE, parts.propertiesStart - 2);
  fillRecordCrc(bytes, 0, bytes.length);
  return { bytes, propertiesStart: parts.propertiesStart };
}

test("the checksum is the record's last property: ten digits, the least significant one first", (t) => {
  const { bytes } = sealed("KEYS\u0001k\u0002");
  const crc = crc32(bytes, 0, bytes.length - RECORD_CRC_SIZE) & 0x7fff_ffff;
  const digits = [...String(crc).padStart(10, "0")].toReversed().join("");
  t.is(bytes.toString("latin1", bytes.length - RECORD_CRC_SIZE), `__CRC32#\u0001${digits}\u0002`);
  t.is(recordSizeAt(bytes, 0, bytes.length), bytes.length);
});

test("each flipped bit is noticed, also one of the checksum itself", (t) => {
  const { bytes, propertiesStart } = sealed("KEYS\u0001k\u0002");
  t.is(recordCrcState(bytes, 0, bytes.length, propertiesStart), RECORD_CRC_RIGHT);
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 1; bit < 256; bit <<= 1) {
      bytes[at]! ^= bit;
      if (recordCrcState(bytes, 0, bytes.length, propertiesStart) !== RECORD_CRC_WRONG) t.fail(`bit ${bit} of byte ${at}`);
      bytes[at]! ^= bit;
    }
  }
  t.is(recordCrcState(bytes, 0, bytes.length, propertiesStart), RECORD_CRC_RIGHT);
});

test("other last properties are no checksum", (t) => {
  for (const properties of ["", "a\u0001b\u0002", `KEYS\u0001${"0".repeat(40)}\u0002`, "__CRC\u00011234567890\u0002"]) {
    const bytes = record(properties);
    const parts = new RecordParts();
    parts.locate(bytes, 0);
    t.is(recordCrcState(bytes, 0, bytes.length, parts.propertiesStart), RECORD_CRC_NONE);
  }
});

test("a message that is stored anew does not bring the old record's checksum", (t) => {
  t.is(withoutRecordCrc("a\u0001b\u0002__CRC32#\u00011234567890\u0002"), "a\u0001b\u0002");
  t.is(withoutRecordCrc("__CRC32#\u00011\u0002a\u0001b\u0002"), "a\u0001b\u0002");
  t.is(withoutRecordCrc("a\u0001__CRC32#\u0002"), "a\u0001__CRC32#\u0002");
  t.is(record("a\u0001b\u0002__CRC32#\u00011234567890\u0002").length, record("a\u0001b\u0002").length);
});
