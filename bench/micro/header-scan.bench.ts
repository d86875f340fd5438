// Header of a SEND_MESSAGE_V2 request: JSON as the Java client writes it, and binary; beside decodeCommand.
import { FIELD_BORN_TIMESTAMP, FIELD_PROPERTIES, FIELD_QUEUE_ID, FIELD_TOPIC, HeaderScan } from "../../src/format/header-scan.ts";
import { decodeCommand, encodeCommand } from "../../src/format/remoting-command.ts";
import { HEADER_OFFSET, SERIALIZE_ROCKETMQ } from "../../src/format/remoting-frame.ts";
import { runBench } from "./harness.ts";

const HEADER =
  '{"code":310,"extFields":{"a":"please_rename_unique_group_name","b":"TopicTest","c":"TBW102","d":"4","e":"3","f":"0",' +
  '"g":"1795103125571","h":"0","i":"KEYS\\u0001order-000001234567\\u0002UNIQ_KEY\\u0001FD0000000000000000000000000000019C2D4E0E2F2A67B00000' +
  '\\u0002WAIT\\u0001true\\u0002TAGS\\u0001TagA\\u0002","j":"0","k":"false","m":"false","n":"broker-a"},"flag":0,"language":"JAVA","opaque":123456,' +
  '"serializeTypeCurrentRPC":"JSON","version":513}';

function jsonFrame(): Buffer {
  const frame = Buffer.alloc(HEADER_OFFSET + HEADER.length + 1024, "x");
  frame.writeUInt32BE(frame.length - 4, 0);
  frame.writeUInt32BE(HEADER.length, 4);
  frame.write(HEADER, HEADER_OFFSET);
  return frame;
}

const json = jsonFrame();
const binary = encodeCommand(decodeCommand(json), SERIALIZE_ROCKETMQ);
const scan = new HeaderScan();
const target = Buffer.alloc(1024);
let work = 0;

/** What a send handler asks for. */
function readFields(): void {
  work += scan.rawEnd(FIELD_TOPIC) + scan.integer(FIELD_QUEUE_ID) + scan.integer(FIELD_BORN_TIMESTAMP) + scan.opaque;
}

await runBench(
  `header scan, ${HEADER.length} B JSON`,
  {
    "scan JSON": () => {
      if (!scan.scan(json, 0)) throw new Error("scan refused the header");
      work += scan.opaque;
    },
    "scan JSON, read 3 fields, unescape the properties": () => {
      scan.scan(json, 0);
      readFields();
      work += scan.copyText(FIELD_PROPERTIES, target, 0);
    },
    "scan binary": () => {
      if (!scan.scan(binary, 0)) throw new Error("scan refused the header");
      work += scan.opaque;
    },
    "scan binary, read 3 fields, copy the properties": () => {
      scan.scan(binary, 0);
      readFields();
      work += scan.copyText(FIELD_PROPERTIES, target, 0);
    },
    "decodeCommand JSON": () => {
      work += decodeCommand(json).opaque;
    },
    "decodeCommand binary": () => {
      work += decodeCommand(binary).opaque;
    },
  },
  () => work,
);
